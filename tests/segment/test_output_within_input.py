"""Results that lie among studies are never taken as studies, and never written over what they are made from."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import SEGMENTATION_CLASS, write_object, write_series
from tiny_model import write_tiny_model

from monai_vggunet.atomic_files import write_json
from monai_vggunet.cli.main import main
from monai_vggunet.data import annotated_cases, image_cases
from monai_vggunet.dicom import patient_key, scan_folder
from monai_vggunet.dicom.annotations.annotation import annotation_file
from monai_vggunet.errors import ConfigurationError, DatasetError
from monai_vggunet.layout import require_output_apart, results_among
from monai_vggunet.outputs import content_digest

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def command(model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process: its exit status, and all it says in one line."""

    def run(*words: str | Path) -> tuple[int, str]:
        named = ["--model", model, "--engine", "torch"] if words[0] == "segment" else []
        monkeypatch.setattr("sys.argv", ["monai-vggunet", *map(str, words), *map(str, named)])
        with pytest.raises(SystemExit, match=r"\d") as ending:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        return int(str(ending.value.code)), " ".join((said.out + said.err).split())

    return run


def write_volume(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(-500, 1000, (16, 16, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A series, a volume, and a picture that no model here can segment."""
    write_series(tmp_path / "archive" / "ct")
    write_volume(tmp_path / "archive" / "a.nii.gz")
    return tmp_path / "archive"


@pytest.mark.parametrize("target", ["out", ".", "out/a"])
def test_an_output_that_links_lead_to_is_known(archive: Path, tmp_path: Path, target: str) -> None:
    """A killed run left a mask without a record; a link in the input leads to the output, above it or into it."""
    write_volume(tmp_path / "out" / "a" / "mask.nii.gz")
    (archive / "link").symlink_to(tmp_path / target, target_is_directory=True)
    assert [case["case"] for case in image_cases(archive, tmp_path / "out")] == ["a", "ct"]


def test_an_output_within_the_input_changes_nothing(command: Command, archive: Path) -> None:
    """Twice, with and without `--resume`, with all there is to write, and among the results of other runs."""
    words = ("segment", archive, "-o", archive / "out", "--report", "--output", "nifti,nifti_per_class")
    status, said = command(*words)
    assert status == 0
    assert "2 of 2 cases done," in said
    assert "2 of 2 cases done," in command(*words)[1]
    assert "2 of 2 cases done (2 of them by an earlier run)" in command(*words, "--resume")[1]
    other = ("segment", archive, "-o", archive / "ct" / "masks")
    assert "2 of 2 cases done," in command(*other)[1]
    assert "2 of 2 cases done (2 of them by an earlier run)" in command(*words, "--resume")[1]
    assert "2 of 2 cases done (2 of them by an earlier run)" in command(*other, "--resume")[1]
    assert [case["case"] for case in image_cases(archive)] == ["a", "ct"]


def test_an_output_within_a_series_changes_neither_it_nor_its_digest(command: Command, tmp_path: Path) -> None:
    series = tmp_path / "ct"
    write_series(series)
    before, patient, files = content_digest(series), patient_key(series), scan_folder(series)
    words = ("segment", series, "-o", series / "out", "--report", "--output", "nifti,dicom_seg,rtstruct")
    assert command(*words)[0] == 0
    assert {path.name for path in (series / "out" / "ct").iterdir()} >= {"seg.dcm", "rtstruct.dcm", "sheet.png"}
    assert content_digest(series) == before
    assert patient_key(series) == patient
    assert scan_folder(series) == files
    assert "(1 of them by an earlier run)" in command(*words, "--resume")[1]
    status, said = command("inspect", series, "--json")
    assert status == 0
    assert json.loads(said)["skipped"] == []


def test_failed_studies_leave_no_study_behind(command: Command, archive: Path) -> None:
    (archive / "a.nii.gz").write_bytes(b"damaged")
    words = ("segment", archive, "-o", archive / "out", "--report")
    for _ in range(2):
        status, said = command(*words)
        assert status == 1
        assert "1 of 2 cases done," in said


@pytest.mark.parametrize("how", ["itself", "slash", "dots", "link", "link_to_input", "images"])
def test_an_output_that_is_the_input_is_wrong_usage(command: Command, archive: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "link").symlink_to(archive)
    output = {
        "itself": str(archive),
        "slash": f"{archive}/",
        "dots": f"{archive}/ct/../../archive",
        "link": str(tmp_path / "link"),
        "link_to_input": str(archive),
        "images": str(archive / "images"),
    }[how]
    source: Path = tmp_path / "link" if how == "link_to_input" else archive
    if how == "images":
        write_series(archive / "images" / "ct")
    before = sorted(tmp_path.rglob("*"))
    status, said = command("segment", source, "-o", output)
    assert status == 2
    assert "is the input" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("output", [".", ".."], ids=["the input", "where its results would lie in it"])
def test_what_is_wrong_with_the_output_is_said_before_anything_is_loaded(
    tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "ct")
    words = ["segment", str(tmp_path / "ct"), "-o", str(tmp_path / "ct" / output), "--model", "nowhere/model.pt"]
    monkeypatch.setattr("sys.argv", ["monai-vggunet", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert "input" in said
    assert "nowhere" not in said


@pytest.mark.parametrize("output", ["a.nii.gz", "other.txt"])
def test_an_output_that_is_a_file_is_wrong_usage(command: Command, archive: Path, output: str) -> None:
    (archive / "other.txt").write_text("keep me")
    before = (archive / output).read_bytes()
    status, said = command("segment", archive / "a.nii.gz", "-o", archive / output)
    assert status == 2
    assert "is a file" in said
    assert (archive / output).read_bytes() == before


def test_no_result_is_written_over_or_beside_its_source(command: Command, tmp_path: Path) -> None:
    """`OUT/<case>` would be the study's own folder, or that of a volume that is called as a result is."""
    write_series(tmp_path / "ct")
    source = write_volume(tmp_path / "mask" / "mask.nii.gz")
    content = source.read_bytes()
    for given in (tmp_path / "ct", source):
        status, said = command("segment", given, "-o", tmp_path)
        assert status == 2
        assert "where an input lies" in said
    assert source.read_bytes() == content
    assert not list(tmp_path.rglob("record.json"))


def test_an_input_within_the_output_is_segmented(command: Command, tmp_path: Path) -> None:
    write_series(tmp_path / "out" / "studies" / "ct")
    status, said = command("segment", tmp_path / "out" / "studies", "-o", tmp_path / "out")
    assert status == 0
    assert "1 of 1 case done" in said


def test_what_a_killed_run_left_in_the_output_is_no_study(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_volume(tmp_path / "out" / "half" / "mask.nii.gz")  # before its record
    write_volume(tmp_path / "outer" / "b.nii.gz")
    assert [case["case"] for case in image_cases(tmp_path, tmp_path / "out")] == ["outer_b"]
    assert "named like results: 1 file (" in caplog.text
    assert [case["case"] for case in image_cases(tmp_path, tmp_path / "outer")] == ["out_half_mask", "outer_b"]


def test_studies_that_lie_in_the_output_are_segmented(command: Command, archive: Path) -> None:
    """Whatever was there before the first run is a study, in later runs too; what a run wrote never is."""
    write_series(archive / "out" / "older" / "ct")
    write_volume(archive / "out" / "b.nii.gz")
    words = ("segment", archive, "-o", archive / "out", "--report")
    for _ in range(2):
        status, said = command(*words)
        assert status == 0
        assert "4 of 4 cases done," in said
    results = {path.parent.name for path in (archive / "out").glob("*/record.json")}
    assert results == {"a", "ct", "out_b", "out_older_ct"}
    assert "4 of 4 cases done (4 of them by an earlier run)" in command(*words, "--resume")[1]


@pytest.mark.parametrize(
    ("name", "content", "ours"),
    [
        ("record.json", {"case": "a", "status": "done"}, True),
        ("record.json", {"case": "a", "status": "failed"}, True),
        ("record.json", {"case": 1}, False),
        ("record.json", ["a"], False),
        ("mask.json", {"GeneratedBy": [{"Name": "monai-vggunet"}]}, True),
        ("mask.json", {"GeneratedBy": [{"Name": "another program"}]}, False),
        ("mask.json", {"GeneratedBy": "monai-vggunet"}, False),
    ],
)
def test_results_are_known_by_what_says_that_we_wrote_them(
    tmp_path: Path, name: str, content: object, ours: bool
) -> None:
    write_json(tmp_path / name, content)
    names = {name, "mask.nii.gz", "mask_class_1_liver.nii.gz", "seg.dcm", "sheet.png", "report.html", "IM_1", "a.nii"}
    kept = {"IM_1", "a.nii"} if ours else names
    assert names - results_among(tmp_path, names) == kept


def test_a_study_beside_old_results_stays_a_study(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct")
    write_json(tmp_path / "ct" / "record.json", {"case": "ct", "status": "done"})
    write_volume(tmp_path / "ct" / "mask.nii.gz")
    assert [case["case"] for case in image_cases(tmp_path)] == ["ct"]
    assert len(scan_folder(tmp_path / "ct").series[0].instances) == len(files)


def test_a_result_may_be_a_label(tmp_path: Path) -> None:
    """Masks are corrected and learned from."""
    write_json(tmp_path / "label" / "record.json", {"case": "ct", "status": "done"})
    write_object(tmp_path / "label" / "seg.dcm", SEGMENTATION_CLASS, "SEG")
    assert annotation_file(tmp_path / "label").name == "seg.dcm"


def test_training_passes_over_results_among_its_images(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "images" / "ct")
    write_volume(tmp_path / "images" / "b.nii.gz")
    for name in ("ct", "b"):
        write_volume(tmp_path / "labels" / f"{name}.nii.gz")
    assert command("segment", tmp_path, "-o", tmp_path / "images" / "out", "--report")[0] == 0
    assert command("segment", tmp_path / "images" / "ct", "-o", tmp_path / "images" / "ct" / "out")[0] == 0
    with caplog.at_level(logging.WARNING):
        assert [case["case"] for case in annotated_cases(tmp_path)[0]] == ["b", "ct"]
    write_volume(tmp_path / "images" / "out" / "c.nii.gz")
    with pytest.raises(DatasetError, match=r"1 of 3 images in .* have no label of the same name"):
        annotated_cases(tmp_path)


def test_loops_of_links_are_borne(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    require_output_apart([tmp_path / "loop"], tmp_path / "out")
    with pytest.raises(ConfigurationError, match="is the input"):
        require_output_apart([tmp_path / "loop"], tmp_path / "loop")


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="root alone may mount")
def test_one_folder_mounted_twice_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "again").mkdir()
    if os.system(f"mount --bind {tmp_path / 'in'} {tmp_path / 'again'} 2>/dev/null"):
        pytest.skip("nothing may be mounted here")
    try:
        with pytest.raises(ConfigurationError, match="is the input"):
            require_output_apart([tmp_path / "in"], tmp_path / "again")
    finally:
        os.system(f"umount {tmp_path / 'again'}")
