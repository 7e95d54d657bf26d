"""Names that old archives and strangers give: none stops a run, and every screen and page can show them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import write_series
from strange_names import STRANGE_NAMES
from tiny_model import write_tiny_model

from monai_vggunet.atomic_files import atomic_path, write_json
from monai_vggunet.cli.main import main
from monai_vggunet.data.datalist import Datalist, load_datalist
from monai_vggunet.names import (
    ReadableFormatter,
    folder_name,
    listed,
    listed_by_reason,
    readable,
    readable_lines,
    shortened,
)
from monai_vggunet.segment.archive import Segmenter, segment

LATIN_1 = STRANGE_NAMES["latin_1"]
PLAIN_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture(autouse=True)
def _names_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is about names; `tests/test_privacy.py` sees to it that they are hidden."""
    monkeypatch.setenv("MONAI_VGGUNET_SHOW_PHI", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def segmenter(model: Path) -> Segmenter:
    return Segmenter(model, engine="torch")


def write_volume(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-500, 1000, (16, 16, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def records_of(folder: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/record.json")]
    return {record["case"]: record for record in found}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"Andr\xe9"), "Andr\\xe9"),
        ("a\nb\tc\r\x1b[31m", "a\\nb\\tc\\r\\x1b[31m"),
        ("x\u202egnp", "x\\u202egnp"),
        ("\ud800", "\\ud800"),
        ("été 中文 \u3000\xa0🧠", "été 中文 \u3000\xa0🧠"),
        ("[red] <b> %s", "[red] <b> %s"),
        (Path("/a/b"), "/a/b"),
    ],
)
def test_what_no_screen_can_show_is_escaped(name: str | Path, shown: str) -> None:
    assert readable(name) == shown
    readable(name).encode("utf-8")


def test_a_message_keeps_its_lines() -> None:
    assert readable_lines("several series:\n  CT \x1b[2J\n  MR") == "several series:\n  CT \\x1b[2J\n  MR"


def test_no_name_forges_a_record_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s: left out", ("a\nfailed: b\x1b[31m",), None)
    assert ReadableFormatter("%(message)s").format(record) == "a\n  failed: b\\x1b[31m: left out"


@pytest.mark.parametrize("name", STRANGE_NAMES.values(), ids=STRANGE_NAMES)
def test_every_name_becomes_one_of_a_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / folder_name(name)).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [folder_name(name)]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "中" * 300, os.fsdecode(b"\xff" * 255)], ids=range(6))
def test_no_name_leads_elsewhere_or_is_too_long(name: str, tmp_path: Path) -> None:
    folder = tmp_path / folder_name(name)
    folder.mkdir()
    assert folder.parent == tmp_path
    assert folder.resolve().parent == tmp_path.resolve()


def test_long_names_that_differ_at_their_end_stay_different() -> None:
    assert folder_name("中" * 300 + "a") != folder_name("中" * 300 + "b")


@pytest.mark.parametrize("value", ["x" * 10**6, 10**4000, ["x" * 100] * 9, [[[[["x" * 100] * 9] * 9] * 9] * 9]])
def test_a_value_is_quoted_on_one_short_line(value: object) -> None:
    assert len(shortened(value)) <= 203


def test_many_things_are_counted() -> None:
    assert listed(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 ... and 2 more"
    lines = listed_by_reason((str(n), "empty" if n % 2 else f"reason {n}") for n in range(40))
    assert lines[1] == "1, 3, 5, 7, 9, 11, 13, 15, 17, 19 ... and 10 more: empty"
    assert lines[-1] == "11 more, for 11 other reasons"


def test_json_of_any_name_is_utf_8_and_gives_it_back(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {LATIN_1: ["\\" + LATIN_1, "\ud800", "é"]})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {LATIN_1: ["\\" + LATIN_1, "\ud800", "é"]}


@pytest.mark.parametrize("name", ["a" * 255, "中" * 83 + ".nii", "a." + "b" * 253], ids=["plain", "wide", "ending"])
def test_a_file_of_the_longest_name_is_written(name: str, tmp_path: Path) -> None:
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_every_name_is_segmented(segmenter: Segmenter, tmp_path: Path) -> None:
    for seed, name in enumerate(STRANGE_NAMES.values()):
        write_volume(tmp_path / "in" / f"{name}.nii.gz", seed)
    folder = tmp_path / "in" / "x" / LATIN_1
    files = write_series(folder)
    files[0].rename(files[0].with_name(LATIN_1))
    outcome = segment([tmp_path / "in"], tmp_path / "out", segmenter, show_progress=False)
    assert [result.error for result in outcome] == [""] * (len(STRANGE_NAMES) + 1)
    assert len(records_of(tmp_path / "out")) == len(outcome)
    assert {"M\\xfcller", "x_M\\xfcller"} <= set(records_of(tmp_path / "out"))
    again = segment([tmp_path / "in"], tmp_path / "out", segmenter, False, resume=True)
    assert all(result.skipped for result in again)


def test_a_model_in_a_folder_of_any_name_segments(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / LATIN_1
    shutil.copytree(model.parent, folder)
    source = write_volume(tmp_path / "a.nii.gz")
    (result,) = segment([source], tmp_path / "out", Segmenter(folder / "model.pt"), show_progress=False)
    assert not result.error


@pytest.mark.parametrize("name", [".nii.gz", "...nii.gz", "-x.nii", LATIN_1 + ".nii"])
def test_an_input_of_any_name_stays_within_the_output(segmenter: Segmenter, tmp_path: Path, name: str) -> None:
    source = write_volume(tmp_path / "in" / name)
    (result,) = segment([source], tmp_path / "out", segmenter, show_progress=False)
    assert not result.error
    assert result.folder.parent == tmp_path / "out"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_the_command_line_tells_of_any_name_on_any_terminal(model: Path, tmp_path: Path) -> None:
    """The whole run as a user starts it, where the locale knows no letters; pages and index included."""
    write_series(tmp_path / "in" / LATIN_1)
    damaged = tmp_path / "in" / (STRANGE_NAMES["newline_and_escape"] + ".nii.gz")
    damaged.write_bytes(b"no NIfTI")
    write_volume(tmp_path / "in" / (STRANGE_NAMES["script"] + ".nii.gz"))
    words = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    done = subprocess.run(
        [sys.executable, "-m", "monai_vggunet", *words, "--report"],
        capture_output=True,
        env={**os.environ, **PLAIN_LOCALE},
        timeout=300,
    )
    said = done.stdout.decode("ascii") + done.stderr.decode("ascii")
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "2 of 3 cases done" in said
    assert "failed: a\\nfailed: b\\x1b[31m\\tc\\r: " in said
    assert "\x1b[31m" not in said
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "M\\xfcller" in page
    assert "<script>alert" not in page
    assert set(records_of(tmp_path / "out")) == {"M\\xfcller", "a\\nfailed: b\\x1b[31m\\tc\\r", STRANGE_NAMES["script"]}


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_inspect_tells_of_any_name_on_any_terminal(options: list[str], tmp_path: Path) -> None:
    write_series(tmp_path / LATIN_1)
    (tmp_path / LATIN_1 / STRANGE_NAMES["newline_and_escape"]).touch()
    done = subprocess.run(
        [sys.executable, "-m", "monai_vggunet", "inspect", str(tmp_path), *options],
        capture_output=True,
        env={**os.environ, **PLAIN_LOCALE, "COLUMNS": "300"},
        timeout=300,
    )
    said = done.stdout.decode("ascii")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    if options:
        content = json.loads(said)
        assert Path(content["skipped"][0]["file"]).name == "a\\nfailed: b\\x1b[31m\\tc\\r"
        assert Path(content["series"][0]["case"]).name == "M\\xfcller"
    else:
        assert "\x1b[31m" not in said
        assert "M\\xfcller" in said


def test_cases_of_any_name_are_listed_for_training_and_found_again(tmp_path: Path) -> None:
    for name in STRANGE_NAMES.values():
        write_volume(tmp_path / "images" / f"{name}.nii.gz")
        write_volume(tmp_path / "labels" / f"{name}.nii.gz")
    cases = load_datalist(tmp_path)
    cases.write(tmp_path / "datalist.json")
    assert isinstance(Datalist.read(tmp_path / "datalist.json"), Datalist)
    assert Datalist.read(tmp_path / "datalist.json") == cases
    assert {Path(case["image"]).exists() for case in [*cases.training, *cases.validation]} == {True}
    for case in cases.training:
        case["case"].encode("utf-8")


@pytest.mark.parametrize("as_bytes", [True, False], ids=["latin_1", "escaped"])
def test_a_list_may_name_files_that_are_not_utf_8(as_bytes: bool, tmp_path: Path) -> None:
    for folder in ("i", "l"):
        write_volume(tmp_path / folder / f"{LATIN_1}.nii.gz")
    entry = {"image": f"i/{LATIN_1}.nii.gz", "label": f"l/{LATIN_1}.nii.gz"}
    text = json.dumps({"training": [entry]}, ensure_ascii=not as_bytes)
    (tmp_path / "dataset.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [case["case"] for case in load_datalist(tmp_path).training] == ["M\\xfcller"]


def _breaking(error: BaseException) -> Callable[..., object]:
    def breaks(*_: object, **__: object) -> object:
        raise error

    return breaks


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("load", SystemExit(0)),
        ("load", RecursionError()),
        ("load", FileNotFoundError()),
        ("compute", SystemExit(0)),
        ("compute", MemoryError()),
        ("finish", SystemExit(0)),
        ("finish", UnicodeEncodeError("utf-8", "x", 0, 1, "no")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_whatever_a_library_raises_is_the_failure_of_one_study(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    inputs = [write_volume(tmp_path / f"{name}.nii.gz") for name in ("first", "second")]
    own, seen = getattr(Segmenter, step), []

    def breaks_once(self: Segmenter, argument: dict) -> object:
        seen.append(1)
        if len(seen) == 1:
            raise error
        return own(self, argument)

    monkeypatch.setattr(Segmenter, step, breaks_once)
    first, second = segment(inputs, tmp_path / "out", segmenter, show_progress=False)
    assert first.error
    assert records_of(tmp_path / "out")["first"]["status"] == "failed"
    assert not second.error


@pytest.mark.parametrize("what", ["after_case", "report"])
def test_a_delivery_or_a_page_that_breaks_is_the_failure_of_its_study(
    segmenter: Segmenter, tmp_path: Path, what: str
) -> None:
    inputs = [write_volume(tmp_path / f"{name}.nii.gz") for name in ("first", "second")]
    outcome = segment(
        inputs,
        tmp_path / "out",
        segmenter,
        show_progress=False,
        **{what: _breaking(SystemExit("a library ends the program"))},
    )
    assert ["nobody foresaw (SystemExit" in result.error for result in outcome] == [True, True]


def test_the_command_ends_with_status_1_when_a_study_fails_in_an_unforeseen_way(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_volume(tmp_path / "in" / "a.nii.gz")
    monkeypatch.setattr(Segmenter, "load", _breaking(SystemExit(3)))
    words = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    monkeypatch.setattr("sys.argv", ["monai-vggunet", *words])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 1
    assert "failed: a: case a failed in a way nobody foresaw (SystemExit" in capsys.readouterr().out
