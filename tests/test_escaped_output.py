"""What a terminal of an ASCII-only locale lacks is escaped, in the log and in what is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PROGRAM = """
import logging, sys
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
from monai_vggunet.privacy import hide_names
hide_names({folder!r})
logging.info("größe %d", 1)
print("höhe → 2")
print("tiefe – 3", file=sys.stderr)
{ending}
"""


@pytest.mark.parametrize(("ending", "status"), [("", 0), ("raise ValueError('länge')", 1)])
def test_nothing_ends_in_an_error_of_encoding(tmp_path: Path, ending: str, status: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(tmp_path), ending=ending), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        env={**os.environ, **ASCII_ONLY},
        timeout=120,
    )
    said, complaints = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    assert done.returncode == status, complaints
    assert said.splitlines() == ["gr\\xf6\\xdfe 1", "h\\xf6he \\u2192 2"]
    assert "tiefe \\u2013 3" in complaints
    assert "UnicodeEncodeError" not in complaints
    assert ("Traceback" in complaints) == bool(ending)
