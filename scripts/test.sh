#!/usr/bin/env bash
# Checks format and types, and runs the tests, in the project's own environment. The end lists skipped tests with reasons.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
source scripts/label_environment.sh
source scripts/system_packages.sh
install_system_packages
install_cornerstone3d
make_environment dev
make_label_environment beside || echo "MONAI Label could not be installed: its tests will be skipped"

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# One process per core, each with one thread, so that they do not compete; a module's tests stay in one process, and
# modules are begun in the order of tests/conftest.py. A process that crashes ends the run, which would else hang.
export OMP_NUM_THREADS=1
.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope \
    --no-loadscope-reorder --max-worker-restart 0 "$@"
