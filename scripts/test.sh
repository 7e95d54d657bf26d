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
# A process per core, a module of tests in one of them, each with one thread: the cores are not shared.
export OMP_NUM_THREADS=1
.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope "$@"
