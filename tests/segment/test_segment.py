"""Archives from start to end, and the command line around it, with an untrained model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantoms import PATIENT_ID, PATIENT_NAME, oblique, write_series
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from monai_vggunet.case_record import CaseRecord
from monai_vggunet.cli.main import app, main
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.privacy import shown_case
from monai_vggunet.segment.archive import Segmenter, segment


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two studies: an oblique CT, and one whose series lacks a slice."""
    folder = tmp_path / "archive"
    write_series(folder / "patient_a" / "ct", orientation=oblique())
    gap = write_series(folder / "patient_b" / "ct", series_uid="1.2.3.4")
    gap[1].unlink()
    return folder


def test_an_archive_is_segmented_and_a_bad_study_does_not_stop_the_others(
    model: Path, archive: Path, tmp_path: Path
) -> None:
    results = segment([archive], tmp_path / "out", Segmenter(model), show_progress=False)
    assert {result.case: bool(result.error) for result in results} == {"patient_a_ct": False, "patient_b_ct": True}
    record = json.loads((tmp_path / "out" / "patient_a_ct" / "record.json").read_text())
    failed = json.loads((tmp_path / "out" / "patient_b_ct" / "record.json").read_text())
    assert record["status"] == "done"
    assert set(record["volumes_ml"]) == {"liver", "spleen"}
    assert failed["status"] == "failed"
    assert (failed["kind"], failed["refusal"]) == ("DicomGeometryError", "missing-slices")
    assert not (tmp_path / "out" / "patient_b_ct" / "mask.nii.gz").exists()


def test_the_mask_lies_in_the_world_where_the_headers_say(model: Path, archive: Path, tmp_path: Path) -> None:
    """Every slice's first and last pixel, from ImagePositionPatient and ImageOrientationPatient alone."""
    segment([archive / "patient_a"], tmp_path / "out", Segmenter(model), show_progress=False)
    mask = nib.load(tmp_path / "out" / "ct" / "mask.nii.gz")
    corners = {
        tuple(np.round(mask.affine @ [i, j, k, 1], 2)[:3])
        for i in (0, mask.shape[0] - 1)
        for j in (0, mask.shape[1] - 1)
        for k in range(mask.shape[2])
    }
    for file in (archive / "patient_a" / "ct").iterdir():
        header = pydicom.dcmread(file)
        origin = np.array(header.ImagePositionPatient, float)
        along_row, along_column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, header.PixelSpacing)
        for i in (0, header.Columns - 1):
            for j in (0, header.Rows - 1):
                lps = origin + i * between_columns * along_row + j * between_rows * along_column
                ras = lps * [-1, -1, 1]
                assert min(np.linalg.norm(np.array(corner) - ras) for corner in corners) < 0.02


def test_volumes_are_in_milliliters(model: Path, archive: Path, tmp_path: Path) -> None:
    segment([archive / "patient_a"], tmp_path / "out", Segmenter(model), show_progress=False)
    mask = nib.load(tmp_path / "out" / "ct" / "mask.nii.gz")
    record = json.loads((tmp_path / "out" / "ct" / "record.json").read_text())
    voxel_ml = 0.8 * 0.6 * 2.5 / 1000
    assert record["volumes_ml"]["liver"] == pytest.approx((np.asarray(mask.dataobj) == 1).sum() * voxel_ml, abs=1e-4)


def test_a_failure_leaves_no_mask_of_an_earlier_run(model: Path, archive: Path, tmp_path: Path) -> None:
    stale = tmp_path / "out" / "patient_b_ct" / "mask.nii.gz"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"from an earlier run")
    segment([archive], tmp_path / "out", Segmenter(model), show_progress=False)
    assert not stale.exists()
    assert stale.with_name("mask_of_earlier_run.nii.gz").read_bytes() == b"from an earlier run"


def test_another_modality_is_refused(model: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "mr", Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    result = segment([tmp_path / "mr"], tmp_path / "out", Segmenter(model), show_progress=False)[0]
    assert "is of modality MR, the model was trained on CT" in result.error


def test_what_values_are_stands_in_the_record(model: Path, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 1500, (4, 6, 5)).astype(np.uint16)
    stored[:, :, 0] = 63536
    odd = {"PixelPaddingValue": 63536, "LossyImageCompression": "01", "LossyImageCompressionRatio": "15"}
    write_series(tmp_path / "ct", stored, RescaleSlope=None, RescaleIntercept=None, **odd)
    segment([tmp_path / "ct"], tmp_path / "out", Segmenter(model), show_progress=False)
    (record,) = (read_record(folder) for folder in (tmp_path / "out").iterdir() if folder.is_dir())
    found = {finding["kind"]: finding["count"] for finding in record["source"]["findings"]}
    assert found == {"not-rescaled": 4, "lossy": 4, "padding": 24}


def test_a_map_of_another_quantity_is_segmented_only_if_it_is_asked_for(model: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", RescaleType="Z_EFF", SeriesNumber="7")
    (result,) = segment([tmp_path / "ct"], tmp_path / "out", Segmenter(model), show_progress=False)
    assert "Z_EFF by their RescaleType, expected HU" in result.error
    asked = Segmenter(model, reader_options={"series_uid": "7"})
    (result,) = segment([tmp_path / "ct"], tmp_path / "out", asked, show_progress=False)
    assert not result.error


def read_record(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def test_resume_skips_what_is_done_with_the_same_content_model_and_settings(
    model: Path, archive: Path, tmp_path: Path
) -> None:
    def run(**options: object) -> dict[str, bool]:
        results = segment([archive], tmp_path / "out", Segmenter(model, **options), False, resume=True)  # type: ignore[arg-type]
        return {result.case: result.skipped for result in results if not result.error}

    folder = tmp_path / "out" / "patient_a_ct"
    assert run() == {"patient_a_ct": False}
    first = read_record(folder)
    assert run() == {"patient_a_ct": True}
    assert read_record(folder) == first
    file = next((archive / "patient_a" / "ct").iterdir())
    file.rename(file.with_name("renamed"))
    assert run() == {"patient_a_ct": True}, "names are not content"
    assert run(tta="flip") == {"patient_a_ct": False}
    assert run() == {"patient_a_ct": False}
    (folder / "mask.nii.gz").write_bytes(b"damaged")
    assert run() == {"patient_a_ct": False}
    dataset = pydicom.dcmread(archive / "patient_a" / "ct" / "renamed")
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(archive / "patient_a" / "ct" / "renamed")
    assert run() == {"patient_a_ct": False}


def test_without_resume_everything_is_done_again(model: Path, archive: Path, tmp_path: Path) -> None:
    for _ in range(2):
        results = segment([archive], tmp_path / "out", Segmenter(model), show_progress=False)
        assert not any(result.skipped for result in results)


def test_processes_share_the_cases(model: Path, archive: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_series(archive / f"more_{number}")
    done = [
        {r.case for r in segment([archive], tmp_path / "out", Segmenter(model), False, rank=rank, n_ranks=2)}
        for rank in range(2)
    ]
    assert not done[0] & done[1]
    assert len(done[0] | done[1]) == 5
    assert abs(len(done[0]) - len(done[1])) == 1


def test_torchrun_does_every_study_once_and_one_process_tells(model: Path, archive: Path, tmp_path: Path) -> None:
    write_series(archive / "more")
    program = "import sys; from monai_vggunet.cli.main import main; sys.exit(main())"
    words = ["segment", str(archive), "-o", str(tmp_path / "out"), "--model", str(model), "--device", "cpu"]
    (tmp_path / "run.py").write_text(program)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29611"]
    done = subprocess.run([*launcher, str(tmp_path / "run.py"), *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr[-2000:]  # one study lacks a slice
    assert done.stdout.count("2 of 3 cases done") == 1
    assert read_record(tmp_path / "out" / "more")["status"] == "done"
    assert read_record(tmp_path / "out" / "patient_a_ct")["status"] == "done"


def test_the_record_says_how_sure_the_model_was(model: Path, archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "patient_a_ct"
    segment([archive], tmp_path / "out", Segmenter(model), show_progress=False)
    confidence = read_record(folder)["confidence"]
    assert 0 < confidence["mean_entropy"] <= 1
    assert (confidence["mean_disagreement"], confidence["views"]) == (None, 1)
    assert not (folder / "disagreement.nii.gz").exists()
    segment([archive], tmp_path / "out", Segmenter(model, tta="flip"), show_progress=False)
    assert read_record(folder)["confidence"]["views"] == 2
    assert (folder / "disagreement.nii.gz").is_file()
    segment([archive], tmp_path / "out", Segmenter(model), show_progress=False)
    assert not (folder / "disagreement.nii.gz").exists(), "it belongs to another result"


def test_a_run_that_is_stopped_between_mask_and_record_leaves_no_record(
    model: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(model)
    segment([archive], tmp_path / "out", segmenter, show_progress=False)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CaseRecord, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        segment([archive / "patient_a" / "ct"], tmp_path / "out" / "x" / "..", segmenter, show_progress=False)
    assert not (tmp_path / "out" / "ct" / "record.json").exists()


@pytest.mark.parametrize("step", ["load", "compute", "finish"])
def test_an_unforeseen_error_in_one_study_does_not_stop_the_others(
    model: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_series(archive / "more")
    own, seen = getattr(Segmenter, step), []

    def breaks_once(self: Segmenter, argument: dict) -> object:
        seen.append(1)
        if len(seen) == 1:
            raise KeyError(PATIENT_NAME)
        return own(self, argument)

    monkeypatch.setattr(Segmenter, step, breaks_once)
    inputs = [archive / "more", archive / "patient_a" / "ct"]
    first, second = segment(inputs, tmp_path / "out", Segmenter(model), show_progress=False)
    assert "nobody foresaw (KeyError at test_segment.py" in first.error
    assert PATIENT_NAME not in (first.folder / "record.json").read_text()
    assert not second.error


def test_two_inputs_of_one_name_are_called_by_their_folders(model: Path, tmp_path: Path) -> None:
    for patient in ("a", "b"):
        write_series(tmp_path / patient / "ct")
    results = segment([tmp_path / "a", tmp_path / "b"], tmp_path / "out", Segmenter(model), show_progress=False)
    assert [(result.case, result.error) for result in results] == [("a_ct", ""), ("b_ct", "")]
    assert (tmp_path / "out" / "b_ct" / "mask.nii.gz").is_file()


def test_an_input_that_is_given_twice_is_segmented_once(model: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    (tmp_path / "more").mkdir()
    inputs = [tmp_path / "ct", tmp_path / "more" / ".." / "ct"]
    results = segment(inputs, tmp_path / "out", Segmenter(model), show_progress=False)
    assert [(result.case, result.error) for result in results] == [("ct", "")]


def test_a_model_without_its_description_is_refused(model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "model.pt")
    with pytest.raises(ModelMismatchError, match=r"is missing: a model\.pt is used together with the model\.json"):
        Segmenter(tmp_path / "model.pt")


def test_flipped_views_change_scores_but_not_the_grid(model: Path, archive: Path) -> None:
    case = {"image": str(archive / "patient_a" / "ct"), "case": "ct"}
    plain, flipped = Segmenter(model)(case), Segmenter(model, tta="flip")(case)
    assert plain.labels.shape == flipped.labels.shape
    np.testing.assert_array_equal(plain.affine, flipped.affine)
    assert (plain.labels != flipped.labels).any()
    assert plain.disagreement is None
    assert flipped.disagreement is not None
    assert flipped.disagreement.shape == flipped.labels.shape
    assert set(np.unique(flipped.disagreement)) == {0, 50}  # of two views, one or none is against the result


def test_the_command_ends_with_status_1_when_a_study_failed(model: Path, archive: Path, tmp_path: Path) -> None:
    words = ["segment", str(archive), "-o", str(tmp_path / "out"), "--model", str(model)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "1 of 2 cases done" in result.output
    assert f"failed: {shown_case('patient_b_ct')}: slice gap" in result.output
    assert "names.json says which cases these are" in result.output
    for secret in (PATIENT_NAME, PATIENT_ID):
        assert secret not in result.output


def test_the_command_ends_with_status_0_when_all_is_done(model: Path, archive: Path, tmp_path: Path) -> None:
    words = ["segment", str(archive / "patient_a"), "-o", str(tmp_path / "out"), "--model", str(model)]
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize("words", ["segment", "segment x -o y --tta rotate", "inspect /nowhere"])
def test_wrong_usage_ends_with_status_2(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["monai-vggunet", *words.split()])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 2


def test_inspect_lists_series_and_names_no_patient(archive: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(archive / "patient_a"), "--json"])
    content = json.loads(result.stdout)
    assert [series["chosen"] for series in content["series"]] == [True]
    for secret in (PATIENT_NAME, PATIENT_ID):
        assert secret not in result.output
