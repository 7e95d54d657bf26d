"""On a terminal nothing is written behind a progress bar."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
import termios
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from phantoms import affine_of, ct_array, label_array, write_nifti
from tiny_model import write_tiny_model
from tqdm import tqdm

from monai_vggunet.progress_bars import keep_lines_above_bars

LIMIT_SEC = 240
BEHIND_BAR = re.compile(r"\d+%\|[^\r\n]*\][^\r\n]*[^\r\n ]")  # the last bracket of a bar, and something on its line


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A terminal to which a logger writes."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("third_party")
    logger.addHandler(handler)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    yield stream
    logger.removeHandler(handler)


def written_beside_a_bar(stream: io.StringIO) -> str:
    with tqdm(total=3, file=stream, mininterval=0) as bar:
        bar.update()
        logging.getLogger("third_party").error("first\nsecond")
        bar.update()
    return stream.getvalue()


def test_lines_stand_above_a_bar(log: io.StringIO) -> None:
    keep_lines_above_bars()
    keep_lines_above_bars()
    written = written_beside_a_bar(log)
    assert not BEHIND_BAR.search(written)
    assert "\rfirst\nsecond\n\r" in written


def test_without_it_they_stand_behind(log: io.StringIO) -> None:
    """The search above must not pass because it sees nothing."""
    assert BEHIND_BAR.search(written_beside_a_bar(log))


def test_warnings_stand_above_a_bar(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(warnings, "showwarning", _plain)
    keep_lines_above_bars()
    with tqdm(total=3, file=log, mininterval=0) as bar:
        bar.update()
        warnings.showwarning("odd", UserWarning, "x.py", 1)
    assert not BEHIND_BAR.search(log.getvalue())
    assert "odd\n" in log.getvalue()  # a library may have set how the rest looks


def _plain(message: str, category: type[Warning], filename: str, lineno: int) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


_plain.__module__ = warnings.__name__


def _on_a_terminal(words: list[str], folder: Path) -> str:
    """Run a program on a terminal; return what it shows there."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))  # one without a size shows no bar
    with subprocess.Popen(words, cwd=folder, stdout=terminal, stderr=terminal, stdin=terminal) as program:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(screen, 1 << 16):
                shown += part
        except OSError:  # how Linux says that nobody has the terminal open any more
            pass
        program.wait(LIMIT_SEC)
    os.close(screen)
    return shown.decode()


@pytest.mark.parametrize("how", ["command", pytest.param("bundle", marks=pytest.mark.slow)])
def test_what_fails_is_told_above_the_bar(how: str, tmp_path: Path, repository: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    (tmp_path / "in").mkdir()
    affine = affine_of()
    for name in "abc":
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", ct_array(label_array()), affine)
    if how == "command":
        (tmp_path / "in" / "b.nii.gz").write_bytes(b"damaged")
        write_nifti(tmp_path / "in" / "d.nii.gz", np.zeros((8, 8, 3), np.int16), np.diag([1.0, 1.0, 5.0, 1.0]))
        words = [
            "-m",
            "monai_vggunet",
            "segment",
            str(tmp_path / "in"),
            "-o",
            str(tmp_path / "out"),
            "--model",
            str(model),
        ]
        words += ["--engine", "torch"]
    else:
        words = ["-m", "monai.bundle", "run", "--config_file", "configs/inference.json", "--engine", "torch"]
        words += ["--logging_file", "configs/logging.conf", "--dataset_dir", str(tmp_path / "in")]
        words += ["--ckpt_dir", str(model.parent), "--output_dir", str(tmp_path / "out")]
    shown = _on_a_terminal([sys.executable, *words], repository / "bundle")
    assert "segmenting" in shown
    assert ("b.nii.gz cannot be read" in shown or "cannot be read as NIfTI" in shown) is (how == "command")
    assert not BEHIND_BAR.search(shown), shown
