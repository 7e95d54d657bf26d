"""A disk that is full, at whatever moment: exit status 1 with the reason, no traceback, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import write_series
from small_disk import small_disk
from tiny_model import write_tiny_model

from monai_vggunet.cli import main

LIMIT_SEC = 240
DISK_KIB = 64
FULL = os.strerror(errno.ENOSPC)
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.nii.gz"
    path.parent.mkdir()
    values = np.random.default_rng(0).integers(-500, 1000, (24, 24, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def command(model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: its exit status and what it says."""

    def run(*words: str | Path) -> tuple[int, str]:
        named = ["--model", model, "--engine", "torch", "--report"] if words[0] == "segment" else []
        monkeypatch.setattr("sys.argv", ["monai-vggunet", *map(str, words), *map(str, named)])
        with pytest.raises(SystemExit, match=r"\d") as ending:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(str(ending.value.code)), " ".join((said.out + said.err).split())

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of a few files."""
    with small_disk(tmp_path / "disk", DISK_KIB) as folder:
        yield folder


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("free_kib", [0, 4, 8, 12, 16, 40])
def test_a_disk_may_be_full_at_any_moment(command: Command, volume: Path, disk: Path, free_kib: int) -> None:
    (disk / "other").write_bytes(bytes(1024 * (DISK_KIB - free_kib)))
    status, said = command("segment", volume, "-o", disk / "out")
    assert status == 1
    assert FULL in said
    (disk / "other").unlink()
    assert not [name for name in files_below(disk) if name.startswith(".")]
    whole = {"mask.nii.gz", "mask.json", "record.json", "index.html", "names.json"}
    assert files_below(disk) <= whole
    for path in disk.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize(
    "name", ["mask.nii.gz", "mask.json", "record.json", "sheet.png", "report.html", "index.html", "seg.dcm"]
)
def test_whatever_file_does_not_fit_the_reason_is_said(
    command: Command, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "in" / "ct")
    own = os.replace

    def replace(source: str | Path, target: str | Path) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, FULL)
        own(source, target)

    monkeypatch.setattr("monai_vggunet.atomic_files.os.replace", replace)
    status, said = command("segment", tmp_path / "in", "-o", tmp_path / "out", "--output", "nifti,dicom_seg")
    assert status == 1
    assert f"{name}: {FULL}" in said
    assert name not in files_below(tmp_path / "out")
    assert not [file for file in files_below(tmp_path / "out") if file.startswith(".")]


@pytest.mark.parametrize("name", ["report.html", "index.html"])
def test_report_alone_says_so_too(
    command: Command, volume: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("segment", volume, "-o", tmp_path / "out")[0] == 0
    own = os.replace

    def replace(source: str | Path, target: str | Path) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, FULL)
        own(source, target)

    monkeypatch.setattr("monai_vggunet.atomic_files.os.replace", replace)
    status, said = command("report", tmp_path / "out", "--images", volume)
    assert status == 1
    assert f"{name}: {FULL}" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [("--json",), (), ("--help",)], ids=["json", "table", "help"])
def test_an_output_that_takes_nothing_is_exit_status_1(words: tuple[str, ...], tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "monai_vggunet", "inspect", str(tmp_path), *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_SEC,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"monai-vggunet: standard output cannot be written: {FULL}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_that_takes_nothing_stops_no_study(model: Path, volume: Path, tmp_path: Path) -> None:
    words = ["segment", str(volume), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "monai_vggunet", *words],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=LIMIT_SEC,
            check=False,
        )
    assert done.returncode == 0
    assert "1 of 1 case done" in done.stdout


def test_streams_that_are_closed_stop_nothing(tmp_path: Path) -> None:
    """As a service may start it."""
    write_series(tmp_path / "ct")
    program = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    words = [sys.executable, "-c", program, "-m", "monai_vggunet", "inspect", str(tmp_path)]
    assert subprocess.run(words, timeout=LIMIT_SEC, check=False).returncode == 0
