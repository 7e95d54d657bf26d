"""Outputs by name: what each case's folder holds, what a resumed run takes for done, and what becomes of failures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from dicom_phantoms import PATIENT_ID, PATIENT_NAME, oblique, write_series
from mask_phantoms import labels_by_hand
from phantoms import write_case
from typer.testing import CliRunner
from volume_meta import instance_uids

from monai_vggunet import VGG16UNet
from monai_vggunet.cli.main import app, main
from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ConfigurationError, OutputWriteError
from monai_vggunet.inference import VolumeSliceInferer
from monai_vggunet.outputs import CaseOutputs
from monai_vggunet.segment.archive import Segmenter, segment
from monai_vggunet.training import save_model

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 3, "decoder_channels": [16, 16, 8, 8]}
SPEC = ModelSpec(
    network=NETWORK,
    preprocessing=Preprocessing(
        modality="CT", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(32, 32), windows=((-900.0, 1500.0),)
    ),
    class_names=["background", "liver", "spleen / left"],
    class_codes={"liver": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}},
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT model with random weights that finds a bit of everything."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(VGG16UNet(**NETWORK), SPEC, folder)
    return folder / "model.pt"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", np.random.default_rng(0).integers(-900, 1500, (4, 20, 17)).astype(np.int16),
                 orientation=oblique())  # fmt: skip
    return tmp_path / "ct"


def test_every_output_is_written_and_listed_with_its_hash(model: Path, study: Path, tmp_path: Path) -> None:
    outputs = CaseOutputs(["rtstruct", "dicom_seg", "nifti", "nifti_per_class"])
    (result,) = segment([study], tmp_path / "out", Segmenter(model), False, outputs=outputs)
    assert not result.error
    record = json.loads((result.folder / "record.json").read_text())
    expected = {"mask.nii.gz", "mask.json", "mask_class_1_liver.nii.gz", "mask_class_2_spleen_left.nii.gz", "seg.dcm"}
    assert set(record["files"]) == expected | {"rtstruct.dcm"}
    assert {file.name for file in result.folder.iterdir()} == {*record["files"], "record.json"}
    assert record["outputs"] == ["nifti", "nifti_per_class", "dicom_seg:binary", "rtstruct"]
    mask = nib.load(result.folder / "mask.nii.gz")
    labels = np.asarray(mask.dataobj)
    np.testing.assert_array_equal(labels_by_hand(result.folder / "seg.dcm", mask.affine, mask.shape), labels)
    liver = nib.load(result.folder / "mask_class_1_liver.nii.gz")
    np.testing.assert_array_equal(np.asarray(liver.dataobj), labels == 1)
    seg = pydicom.dcmread(result.folder / "seg.dcm")
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert seg.DeviceSerialNumber == record["model"]["weights_sha256"]


def test_the_sidecar_names_the_labels_and_no_patient(model: Path, study: Path, tmp_path: Path) -> None:
    (result,) = segment([study], tmp_path / "out", Segmenter(model), False)
    text = (result.folder / "mask.json").read_text()
    labels = json.loads(text)["Labels"]
    assert [(label["index"], label["name"]) for label in labels] == list(enumerate(SPEC.class_names))
    assert labels[1]["code"]["value"] == "10200004"
    assert "code" not in labels[2]
    assert labels[1]["color"] != labels[2]["color"]
    for secret in (PATIENT_NAME, PATIENT_ID):
        assert secret not in text


def test_resume_does_again_what_lacks_an_output(model: Path, study: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(model)

    def skipped(*names: str, seg_type: str = "binary") -> bool:
        outputs = CaseOutputs(names, seg_type)
        (result,) = segment([study], tmp_path / "out", segmenter, False, resume=True, outputs=outputs)
        assert not result.error
        return result.skipped

    assert not skipped("nifti")
    assert skipped("nifti")
    assert not skipped("nifti", "dicom_seg")
    assert skipped("nifti", "dicom_seg")
    assert skipped("nifti"), "more than what is asked for is there"
    assert not skipped("nifti", "dicom_seg", seg_type="labelmap")
    assert not skipped("rtstruct")
    folder = tmp_path / "out" / "ct"
    (folder / "rtstruct.dcm").write_bytes(b"damaged")
    assert not skipped("rtstruct")


def test_files_of_an_earlier_run_do_not_pass_for_this_ones(model: Path, study: Path, tmp_path: Path) -> None:
    segmenter, folder = Segmenter(model), tmp_path / "out" / "ct"
    segment([study], tmp_path / "out", segmenter, False, outputs=CaseOutputs(["nifti", "dicom_seg"]))
    segment([study], tmp_path / "out", segmenter, False)
    assert {file.name for file in folder.iterdir()} == {
        "mask.nii.gz",
        "mask.json",
        "record.json",
        "seg_of_earlier_run.dcm",
    }
    segment([study], tmp_path / "out", segmenter, False, outputs=CaseOutputs(["dicom_seg"]))
    assert {file.name for file in folder.iterdir()} == {
        "seg.dcm",
        "record.json",
        "mask_of_earlier_run.nii.gz",
        "mask_of_earlier_run.json",
    }


def test_probabilities_come_on_the_sources_grid_with_the_same_mask(model: Path, study: Path, tmp_path: Path) -> None:
    case = {"image": str(study), "case": "ct"}
    plain, both = Segmenter(model)(case), Segmenter(model, probabilities=True)(case)
    np.testing.assert_array_equal(plain.labels, both.labels)
    assert plain.probabilities is None
    assert both.probabilities is not None
    assert both.probabilities.shape == (3, *both.labels.shape)
    assert both.probabilities.dtype == np.uint8
    assert np.abs(both.probabilities.astype(int).sum(0) - 255).max() <= 4  # three roundings, twice
    outputs = CaseOutputs(["nifti", "dicom_seg"], "fractional")
    (result,) = segment([study], tmp_path / "out", Segmenter(model, probabilities=True), False, outputs=outputs)
    assert not result.error
    seg = pydicom.dcmread(result.folder / "seg.dcm")
    assert seg.SegmentationType == "FRACTIONAL"
    frames = {}
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array):
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        frames[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, uid] = frame
    for plane, uid in enumerate(instance_uids(both.meta)):
        np.testing.assert_array_equal(frames[1, uid], both.probabilities[1, :, :, plane].T)


def test_probabilities_belong_to_the_mask(model: Path, tmp_path: Path) -> None:
    """On the network's own grid nothing is interpolated: the mask is the most probable class."""
    stored = np.random.default_rng(0).integers(-900, 1500, (4, 32, 32)).astype(np.int16)
    write_series(tmp_path / "ct", stored, pixel_spacing=(1.0, 1.0))
    result = Segmenter(model, probabilities=True)({"image": str(tmp_path / "ct"), "case": "ct"})
    assert result.probabilities is not None
    second, first = np.sort(result.probabilities.astype(int), axis=0)[1:]
    clear = first - second > 1  # the others are decided by rounding
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(result.probabilities.argmax(0)[clear], result.labels[clear])


def test_fractional_without_probabilities_is_refused_at_once(model: Path, study: Path, tmp_path: Path) -> None:
    outputs = CaseOutputs(["dicom_seg"], "fractional")
    with pytest.raises(ConfigurationError, match="make the Segmenter with probabilities=True"):
        segment([study], tmp_path / "out", Segmenter(model), False, outputs=outputs)


def test_nifti_input_is_refused_before_anything_is_computed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path / "data", "volume")
    monkeypatch.setattr(Segmenter, "compute", None)
    outputs = CaseOutputs(["nifti", "dicom_seg"])
    (result,) = segment([tmp_path / "data" / "images"], tmp_path / "out", Segmenter(model), False, outputs=outputs)
    assert "a DICOM SEG needs a DICOM series to refer to, and this input is none" in result.error


def test_what_was_written_before_a_failure_stays_and_is_recorded(
    model: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Segmenter.compute

    def sources_vanish(self: Segmenter, batch: dict) -> dict:
        for file in study.iterdir():
            file.unlink()
        return own(self, batch)

    monkeypatch.setattr(Segmenter, "compute", sources_vanish)
    outputs = CaseOutputs(["nifti", "dicom_seg"])
    (result,) = segment([study], tmp_path / "out", Segmenter(model), False, outputs=outputs)
    assert "4 of the 4 source instances are gone" in result.error
    record = json.loads((result.folder / "record.json").read_text())
    assert record["status"] == "failed"
    assert set(record["files"]) == {"mask.nii.gz", "mask.json"}
    assert (result.folder / "mask.nii.gz").is_file()
    assert not (result.folder / "seg.dcm").exists()


def test_a_full_disk_leaves_no_part_of_a_file(
    model: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OutputWriteError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("monai_vggunet.outputs.case_files.write_dicom_seg", full)
    outputs = CaseOutputs(["nifti", "dicom_seg"])
    (result,) = segment([study], tmp_path / "out", Segmenter(model), False, outputs=outputs)
    assert "No space left on device" in result.error
    assert {file.name for file in result.folder.iterdir()} == {"mask.nii.gz", "mask.json", "record.json"}


def test_the_command_writes_what_is_asked_for(model: Path, study: Path, tmp_path: Path) -> None:
    words = ["segment", str(study), "-o", str(tmp_path / "out"), "--model", str(model), "--engine", "torch"]
    result = CliRunner().invoke(app, [*words, "--output", "nifti, dicom_seg", "--seg-type", "fractional"])
    assert result.exit_code == 0, result.output
    assert pydicom.dcmread(tmp_path / "out" / "ct" / "seg.dcm").SegmentationType == "FRACTIONAL"
    assert (tmp_path / "out" / "ct" / "mask.nii.gz").is_file()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "--output nifti,dicom",
            r"outputs \(--output\) are \['nifti', 'dicom'\]; expected one or more of nifti, nifti_per_class",
        ),
        ("--output dicom_seg --seg-type soft", "'soft'; expected one of binary, labelmap, fractional"),
    ],
)
def test_an_unknown_output_is_wrong_usage(
    words: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["monai-vggunet", "segment", "x", "-o", "y", *words.split()])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 2
    assert re.search(text, " ".join(capsys.readouterr().err.split()))


def test_more_classes_than_labels_can_number_are_refused() -> None:
    names = [f"class {n}" for n in range(257)]
    with pytest.raises(ConfigurationError, match="257 classes, but a label is a number from 0 to 255"):
        VolumeSliceInferer(replace(SPEC, class_names=names))
