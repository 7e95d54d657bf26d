"""Pipes, devices and links in folders of strangers: they are named, nothing waits for them, and the others go on."""

from __future__ import annotations

import json
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
from irregular import IRREGULAR_FILES, make_irregular
from tiny_model import write_tiny_model

from monai_vggunet.atomic_files import write_json
from monai_vggunet.data import annotated_cases, image_cases, load_datalist
from monai_vggunet.dicom import scan_folder
from monai_vggunet.errors import DatasetError, ImageReadError, IrregularFileError, ModelMismatchError
from monai_vggunet.outputs import content_digest, is_done
from monai_vggunet.regular_files import is_irregular, open_regular, read_text, refuse_irregular, require_regular
from monai_vggunet.report.report import report
from monai_vggunet.segment.archive import Segmenter, segment
from monai_vggunet.transforms import loading

LIMIT_SEC = 240  # of a command, for machines that do much else; without what is tested here it would never end
NO_FILE = ("pipe", "socket", "device", "terminal", "link_to_pipe")


@pytest.fixture(autouse=True)
def _names_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is about names; `tests/test_privacy.py` sees to it that they are hidden."""
    monkeypatch.setenv("MONAI_VGGUNET_SHOW_PHI", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=NO_FILE)
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "x.nii.gz"
    IRREGULAR_FILES[request.param](path)
    return path


def write_volume(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(-500, 1000, (16, 16, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "monai_vggunet", *map(str, words)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_SEC, check=False)


def test_what_is_no_regular_file_is_not_opened(irregular: Path) -> None:
    assert is_irregular(irregular)
    for opening in (open_regular, read_text, require_regular):
        with pytest.raises(IrregularFileError, match=r"x\.nii\.gz is not a regular file \(a pipe, a device, \.\.\.\)"):
            opening(irregular)


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at before, and then is another: what counts is what was opened."""
    os.mkfifo(tmp_path / "x")
    monkeypatch.setattr("monai_vggunet.regular_files.require_regular", lambda path: None)
    with pytest.raises(IrregularFileError, match="x is not a regular file"):
        open_regular(tmp_path / "x")


def test_regular_files_and_links_to_them_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 9)
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"x" * 9
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_regular(tmp_path / "link", follow_link=False)


@pytest.mark.parametrize("kind", [*IRREGULAR_FILES, "empty"])
@pytest.mark.parametrize("ending", [".nii.gz", ".png", ".dcm", ""])
def test_every_reader_refuses_what_is_no_file(kind: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    IRREGULAR_FILES.get(kind, Path.touch)(path)
    with pytest.raises((ImageReadError, IrregularFileError), match=r"not a regular file|is empty|is a broken link"):
        refuse_irregular(path)
    with pytest.raises(RuntimeError, match="applying transform"):
        loading(with_label=False)({"image": str(path), "case": "x"})
    image = write_volume(tmp_path / "image.nii.gz")
    with pytest.raises(RuntimeError, match="applying transform"):
        loading()({"image": str(image), "label": str(path), "case": "x"})


def test_a_series_among_pipes_is_indexed(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct")
    make_irregular(tmp_path / "ct", "")
    index = scan_folder(tmp_path / "ct")
    assert len(index.series[0].instances) == len(files)
    assert len(index.skipped) == len(IRREGULAR_FILES) + 1  # the pipe a link leads to
    assert content_digest(tmp_path / "ct")


def test_commands_go_on_among_pipes_and_devices(model: Path, tmp_path: Path) -> None:
    """Once each, `inspect` and `segment` waited here for ever."""
    write_series(tmp_path / "in" / "ct")
    write_series(tmp_path / "in" / "folder.nii.gz")  # a folder may bear any name
    make_irregular(tmp_path / "in" / "ct", "")
    make_irregular(tmp_path / "in", ".nii.gz")
    make_irregular(tmp_path / "in", ".dcm")
    looked = command("inspect", tmp_path / "in", "--json")
    assert looked.returncode == 0, looked.stderr
    assert len(json.loads(looked.stdout)["series"]) == 2
    done = command("segment", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--engine", "torch")
    assert done.returncode == 1, done.stderr
    assert f"2 of {2 + len(IRREGULAR_FILES)} cases done" in done.stdout
    assert "failed: pipe: " in done.stdout
    assert "Traceback" not in done.stderr


def test_a_pipe_as_the_input_is_wrong_usage(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="is not a regular file"):
        image_cases(tmp_path / "pipe")
    looked = command("inspect", tmp_path / "pipe")
    assert "not a regular file" in " ".join(looked.stdout.split())


@pytest.mark.parametrize("name", ["model.pt", "model.json"])
def test_a_pipe_as_the_model_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    for file in model.parent.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelMismatchError, match=r"there is no model at|is missing"):
        Segmenter(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["record.json", "mask.nii.gz", "mask.json", ".record-x.json", ".mask-x.nii.gz"])
def test_pipes_among_results_are_not_waited_for(model: Path, tmp_path: Path, name: str) -> None:
    source = write_volume(tmp_path / "in" / "a.nii.gz")
    segmenter = Segmenter(model, engine="torch")

    def run() -> bool:
        (result,) = segment([source], tmp_path / "out", segmenter, show_progress=False, resume=True)
        assert not result.error
        return result.skipped

    assert not run()
    (tmp_path / "out" / "a" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "out" / "a" / name)
    assert run() == name.startswith("."), "what is no file is no result"
    assert run()


@pytest.mark.parametrize("name", ["record.json", "mask.nii.gz"])
def test_pages_of_results_with_pipes_say_what_is_wrong(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "out" / "a" / "record.json", {"case": "a", "status": "done"})
    (tmp_path / "out" / "a" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "out" / "a" / name)
    assert not is_done(tmp_path / "out" / "a", {})
    assert "not a regular file" in report([tmp_path / "out"])[0].error


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_listed_pipe_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    entry = {name: str(write_volume(tmp_path / f"{name}.nii.gz").name) for name in ("image", "label")}
    (tmp_path / entry[key]).unlink()
    os.mkfifo(tmp_path / entry[key])
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry]}))
    (case,) = load_datalist(tmp_path).training
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading()(case)
    assert f"{key}.nii.gz is not a regular file" in str(caught.value.__cause__)


def test_a_pipe_as_the_list_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.json")
    with pytest.raises(DatasetError, match="has no folder 'images'"):
        annotated_cases(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct")
    files[0].chmod(0)
    index = scan_folder(tmp_path / "ct")
    assert [file.path for file in index.skipped] == [files[0]]
    assert content_digest(tmp_path / "ct")


@pytest.mark.parametrize("depth", [1500, 2500], ids=["deeper_than_python", "deeper_than_the_system"])
def test_folders_are_walked_however_deep_they_lie(tmp_path: Path, depth: int, caplog: pytest.LogCaptureFixture) -> None:
    """Python's own walk is recursive, and its limit is lower than the system's, which is the length of a path."""
    here = os.getcwd()
    make: Callable[[str], None] = os.mkdir
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            make("a")
            os.chdir("a")
        make("b")
    finally:
        os.chdir(here)
    write_series(tmp_path / "ct")
    try:
        assert [case["case"] for case in image_cases(tmp_path)] == ["ct"]
        assert ("cannot be listed: 1 folder (" in caplog.text) == (depth > 2000)
        assert scan_folder(tmp_path).series
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "a")], check=False)
