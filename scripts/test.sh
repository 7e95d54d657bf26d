#!/usr/bin/env bash
# Format, types and tests, in the project's own environment. Says at the end what was skipped, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
source scripts/label_environment.sh
source scripts/system_packages.sh
install_system_packages
install_cornerstone3d
make_environment dev
make_label_environment beside || echo "MONAI Label could not be installed: its tests will skip"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest "$@"
