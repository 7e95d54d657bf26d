#!/usr/bin/env bash
# Annotation with the model in the loop: a MONAI Label server for 3D Slicer or OHIF, on this machine alone unless it has
# a token. Installs into .label-venv, places the model in an app's folder, and runs until Ctrl-C; see --help.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
(
    cd "$here"
    source scripts/label_environment.sh
    make_label_environment full
)
exec "$here/.label-venv/bin/python" -P -m monai_vggunet.annotation.serve \
    --model "$here/quickstart/models/model.pt" --app "$here/label_app" "$@"
