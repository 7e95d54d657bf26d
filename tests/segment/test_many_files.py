"""A folder with very many files that are of no use: ten are named, the rest is counted, in every place that tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_phantoms import write_object, write_series
from tiny_model import write_tiny_model

from monai_vggunet.cli import main
from monai_vggunet.data import image_cases
from monai_vggunet.dicom import scan_folder
from monai_vggunet.dicom.volume import read_volume
from monai_vggunet.errors import DicomReadError
from monai_vggunet.names import MOST_NAMED
from monai_vggunet.segment.alike_failures import MOST_LINES, failure_lines

MANY = 600
REASONS = 2  # for which the files here are left out
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.11"
Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def _names_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is about names; `tests/test_privacy.py` sees to it that they are hidden."""
    monkeypatch.setenv("MONAI_VGGUNET_SHOW_PHI", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def command(model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: its exit status, and all it says in one line."""

    def run(*words: str | Path) -> tuple[int, str]:
        named = ["--model", model, "--engine", "torch", "--report"] if words[0] == "segment" else []
        monkeypatch.setattr("sys.argv", ["monai-vggunet", *map(str, words), *map(str, named)])
        monkeypatch.setenv("COLUMNS", "10000")
        with pytest.raises(SystemExit, match=r"\d") as ending:
            main()
        said = capfd.readouterr()
        return int(str(ending.value.code)), said.out + said.err

    return run


def add_useless(folder: Path) -> None:
    """Empty files, and files that say that they are DICOM and hold nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MANY):
        (folder / f"useless_{number}").touch()
        (folder / f"useless_header_{number}").write_bytes(bytes(128) + b"DICM" + number.to_bytes(4, "big"))


def named(text: str) -> int:
    return len(set(re.findall(r"useless_(?:header_)?\d+", text)))


def test_a_study_among_very_many_useless_files(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "in" / "ct")
    add_useless(tmp_path / "in" / "ct")
    status, said = command("segment", tmp_path / "in", "-o", tmp_path / "out")
    assert status == 0
    record = (tmp_path / "out" / "ct" / "record.json").read_text()
    pages = [(tmp_path / "out" / name).read_text() for name in ("index.html", "ct/report.html")]
    for text in (said, caplog.text, record, *pages):
        assert named(text) <= REASONS * MOST_NAMED
    assert f"{MANY - MOST_NAMED} more: empty file (0 bytes)" in record
    status, said = command("inspect", tmp_path / "in")
    assert status == 0
    assert f"{MANY - MOST_NAMED} more: empty file (0 bytes)" in said
    assert named(said) <= REASONS * MOST_NAMED


def test_a_folder_of_useless_files_alone(command: Command, tmp_path: Path) -> None:
    add_useless(tmp_path / "in" / "ct")
    for words in (("inspect", tmp_path / "in"), ("segment", tmp_path / "in", "-o", tmp_path / "out")):
        status, said = command(*words)
        assert 0 < named(said) <= REASONS * MOST_NAMED
        assert f"{MANY - MOST_NAMED} more" in said
    assert status == 1
    with pytest.raises(DicomReadError, match=f"{2 * MANY} file") as caught:
        scan_folder(tmp_path / "in").choose_series()
    assert named(str(caught.value)) <= REASONS * MOST_NAMED


def test_programs_get_every_file(command: Command, tmp_path: Path) -> None:
    add_useless(tmp_path / "ct")
    assert len(json.loads(command("inspect", tmp_path, "--json")[1])["skipped"]) == 2 * MANY


def test_very_many_copies_and_objects_of_one_series_are_counted(tmp_path: Path) -> None:
    files = write_series(tmp_path, series_uid="1.2.3")
    for number in range(30):
        (tmp_path / f"copy_{number}").write_bytes(files[0].read_bytes())
        write_object(tmp_path / f"object_{number}", SR_CLASS, "SR")
    volume = read_volume(scan_folder(tmp_path).choose_series())
    told = "\n".join(map(str, volume.findings))
    assert "30 identical copies left out: " in told
    assert len(re.findall(r"copy_\d+", told)) == MOST_NAMED
    assert "30 other series left out: " in told
    assert told.count("... and 20 more") == 2


def test_very_many_folders_of_other_things_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "ct")
    for number in range(50):
        (tmp_path / f"folder_{number}").mkdir()
        (tmp_path / f"folder_{number}" / "VERSION").write_text("7")
    assert [case["case"] for case in image_cases(tmp_path)] == ["ct"]
    assert "neither image nor DICOM: 50 files (" in caplog.text
    assert "... and 40 more" in caplog.text


@pytest.mark.parametrize("shown", ["1", "0"])
def test_very_many_empty_volumes(
    command: Command, tmp_path: Path, shown: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a study that failed, and has its record; the log and the summary name ten and count the rest."""
    monkeypatch.setenv("MONAI_VGGUNET_SHOW_PHI", shown)
    (tmp_path / "in").mkdir()
    for number in range(50):
        (tmp_path / "in" / f"useless_{number}.nii.gz").touch()
    (tmp_path / "in" / "other.nii.gz").write_bytes(b"damaged")
    status, said = command("segment", tmp_path / "in", "-o", tmp_path / "out")
    assert status == 1
    assert "0 of 51 cases done" in said
    assert said.count(" is empty (0 bytes)") == caplog.text.count(" is empty (0 bytes)") == MOST_NAMED
    assert "failed: 40 more: see record.json of each" in said
    assert "40 more failed like those above" in caplog.text
    assert said.count("cannot be read as NIfTI (BadGzipFile)") == 1
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/record.json")]
    assert len(records) == 51
    assert all(record["status"] == "failed" for record in records)


def test_a_summary_has_an_end_whatever_the_reasons() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = failure_lines((f"case {one}{other}", f"odd {one}{other}") for one in letters for other in letters)
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == f"{len(letters) ** 2 - MOST_LINES} more: see record.json of each"
    assert failure_lines([]) == []
