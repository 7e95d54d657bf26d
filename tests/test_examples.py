"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "monai_vggunet"
WITH_EXAMPLES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
NEEDS_MONAI_LABEL = PACKAGE / "annotation" / "server"


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_examples_give_what_they_say(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.is_relative_to(NEEDS_MONAI_LABEL):
        pytest.importorskip("monailabel", reason="MONAI Label is not installed in this environment")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    assert doctest.testmod(module).failed == 0
