"""Inputs that people met: scripts in `shared/cases/dicom` beside the project make them; they are read in place."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "shared" / "cases" / "dicom"
CASES = sorted(script.stem for script in SCRIPTS.glob("[0-9]*.py"))


def make_case(name: str, folder: Path) -> Path:
    """Run the script of a case, named by its number or whole name, and return the folder of its files."""
    (script,) = [path for path in SCRIPTS.glob("[0-9]*.py") if path.stem == name or path.stem.startswith(f"{name}_")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder)])
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(str(SCRIPTS))
        runpy.run_path(str(script), run_name="__main__")
    return folder


needs_cases = pytest.mark.skipif(not CASES, reason=f"the scripts that make the inputs are not at {SCRIPTS}")
