"""DICOM SEG: every frame where it belongs, every class declared and described, every source named once."""

from __future__ import annotations

import logging
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import AXIAL, CORONAL, PATIENT_ID, PATIENT_NAME, SAGITTAL, oblique, write_enhanced, write_series
from mask_phantoms import CODES, NAMES, labels_by_hand, mask_on
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.dicom.referenced_series import ReferencedSeries
from monai_vggunet.errors import GridMismatchError
from monai_vggunet.outputs import Classes, DicomSegWriter, write_dicom_seg
from monai_vggunet.outputs.dicom.seg import dicom_seg
from monai_vggunet.outputs.dicom.seg_padding import _is_exact

SHAPE = (4, 12, 9)  # slices, rows, columns
GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {"orientation": AXIAL},
    "sagittal": {"orientation": SAGITTAL},
    "coronal": {"orientation": CORONAL},
    "oblique": {"orientation": oblique()},
    "tilted": {"orientation": AXIAL, "shear_mm": 0.6},
    "downwards": {"orientation": AXIAL, "step_mm": -2.5},
}


def stored(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, shape).astype(np.int16)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_voxel_lies_where_it_did(tmp_path: Path, geometry: str, kind: str) -> None:
    write_series(tmp_path / "ct", stored(), **GEOMETRIES[geometry])
    mask = mask_on(tmp_path / "ct")
    if kind == "fractional":
        scores = np.stack([mask.labels == number for number in range(len(NAMES))]).astype(np.float32)
        mask = replace(mask, probabilities=0.2 + 0.6 * scores)
    write_dicom_seg(tmp_path / "seg.dcm", mask, kind)
    found = labels_by_hand(tmp_path / "seg.dcm", mask.affine, mask.labels.shape)
    np.testing.assert_array_equal(found, mask.labels)


def test_our_own_reader_gets_the_mask_back(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored(), orientation=oblique())
    mask = mask_on(tmp_path / "ct")
    write_dicom_seg(tmp_path / "seg.dcm", mask)
    chosen = scan_folder(tmp_path / "ct").choose_series()
    volume = read_volume(chosen)
    grid = ImageGrid(volume.geometry.affine_lps, volume.array.shape, "the series")  # type: ignore[arg-type]
    found = read_annotation(tmp_path / "seg.dcm", grid, {name: n for n, name in enumerate(NAMES) if n})
    np.testing.assert_array_equal(found.array, mask.labels)


def test_frames_of_an_enhanced_object_are_named_by_their_number(tmp_path: Path) -> None:
    positions = [[-30.0, 12.5, 10.0 + 3.0 * k] for k in (2, 0, 3, 1)]  # the frames stand in another order than in space
    (tmp_path / "mr").mkdir()
    write_enhanced(tmp_path / "mr" / "enhanced.dcm", stored(), positions)
    mask = mask_on(tmp_path / "mr")
    seg = dicom_seg(mask)
    np.testing.assert_array_equal(labels_by_hand(seg, mask.affine, mask.labels.shape), mask.labels)
    (reference,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    source = pydicom.dcmread(tmp_path / "mr" / "enhanced.dcm")
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    for group in seg.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        own = source.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        assert group.PlanePositionSequence[0].ImagePositionPatient == own.ImagePositionPatient
        assert image.ReferencedSOPClassUID == source.SOPClassUID


def test_every_source_is_named_once_and_every_frame_names_the_image_it_lies_on(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored())
    sources = {header.SOPInstanceUID: header for header in map(pydicom.dcmread, files)}
    seg = dicom_seg(mask_on(tmp_path / "ct"))
    (series,) = seg.ReferencedSeriesSequence
    named = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert sorted(named) == sorted(sources)
    header = next(iter(sources.values()))
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientBirthDate"):
        assert seg[keyword].value == header[keyword].value
    for group in seg.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        own = sources[image.ReferencedSOPInstanceUID]
        assert group.PlanePositionSequence[0].ImagePositionPatient == own.ImagePositionPatient


def test_segments_are_numbered_as_the_mask_and_described(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored())
    codes = {
        **CODES,
        "tumor": {
            **{"scheme": "SCT", "value": "108369006", "meaning": "Neoplasm"},
            "category": {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically Abnormal Structure"},
            "modifier": {"scheme": "SCT", "value": "7771000", "meaning": "Left"},
        },
    }
    seg = dicom_seg(mask_on(tmp_path / "ct", classes=Classes(NAMES, codes)))
    assert [(item.SegmentNumber, item.SegmentLabel) for item in seg.SegmentSequence] == list(enumerate(NAMES))[1:]
    liver, kidney, absent, tumor = seg.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert liver.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99VGGUNET"
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "left kidney"
    assert tumor.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    kind = tumor.SegmentedPropertyTypeCodeSequence[0]
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    colors = [tuple(item.RecommendedDisplayCIELabValue) for item in seg.SegmentSequence]
    assert len(set(colors)) == 4
    assert len({item.TrackingUID for item in seg.SegmentSequence}) == 4
    algorithm = absent.SegmentationAlgorithmIdentificationSequence[0]
    assert "ab" * 32 in algorithm.AlgorithmParameters
    assert seg.DeviceSerialNumber == "ab" * 32
    assert absent.SegmentNumber not in {
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in seg.PerFrameFunctionalGroupsSequence
    }


@pytest.mark.parametrize(("kind", "frames"), [("binary", 4), ("labelmap", 1), ("fractional", 4)])
def test_an_empty_mask_declares_its_segments_and_has_few_frames(tmp_path: Path, kind: str, frames: int) -> None:
    write_series(tmp_path / "ct", stored((6, 16, 16)))
    empty = np.zeros((16, 16, 6), np.uint8)
    mask = mask_on(tmp_path / "ct", empty, probabilities=np.zeros((5, 16, 16, 6), np.uint8))
    write_dicom_seg(tmp_path / "seg.dcm", mask, kind)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert seg.NumberOfFrames == frames
    assert not seg.pixel_array.any()
    assert {item.SegmentNumber for item in seg.SegmentSequence} >= {1, 2, 3, 4}
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6


@pytest.mark.parametrize("size", [(12, 9), (7, 5), (23, 38), (3, 8), (5, 3)])
@pytest.mark.parametrize("empty", [False, True])
def test_packed_bits_need_no_padding(tmp_path: Path, size: tuple[int, int], empty: bool) -> None:
    """Cornerstone3D refuses a padding byte, and misreads frames whose packed and byte-aligned lengths are the same."""
    write_series(tmp_path / "ct", stored((8, *size)))
    labels = np.zeros((size[1], size[0], 8), np.uint8)
    if not empty:
        labels[1, 1, 2:5], labels[-1, -1, 4] = 1, 4
    mask = mask_on(tmp_path / "ct", labels)
    write_dicom_seg(tmp_path / "seg.dcm", mask)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    bits = seg.Rows * seg.Columns * int(seg.NumberOfFrames)
    assert len(seg.PixelData) == -(-bits // 8)
    assert _is_exact(int(seg.NumberOfFrames), seg.Rows * seg.Columns)
    np.testing.assert_array_equal(labels_by_hand(seg, mask.affine, mask.labels.shape), mask.labels)


def test_where_no_frame_is_empty_the_length_is_padded(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored((1, 3, 3)))
    seg = dicom_seg(mask_on(tmp_path / "ct", np.ones((3, 3, 1), np.uint8), classes=Classes(["background", "all"])))
    assert seg.NumberOfFrames == 1
    assert len(seg.PixelData) == 2
    assert seg.pixel_array.all()


@pytest.mark.parametrize("odd", [(7, 5), (8, 5)])
def test_probabilities_and_label_maps_of_any_size_are_compressed(tmp_path: Path, odd: tuple[int, int]) -> None:
    """GDCM's RLE ends the process at an odd number of pixels."""
    write_series(tmp_path / "ct", stored((3, *odd)))
    scores = np.random.default_rng(0).integers(0, 256, (5, odd[1], odd[0], 3)).astype(np.uint8)
    mask = mask_on(tmp_path / "ct", probabilities=scores)
    labelmap, fractional = dicom_seg(mask, "labelmap"), dicom_seg(mask, "fractional")
    np.testing.assert_array_equal(labels_by_hand(labelmap, mask.affine, mask.labels.shape), mask.labels)
    lowest = mask.affine[2, 3]
    for group, frame in zip(fractional.PerFrameFunctionalGroupsSequence, fractional.pixel_array):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        plane = round((float(group.PlanePositionSequence[0].ImagePositionPatient[2]) - lowest) / 2.5)
        np.testing.assert_array_equal(frame, scores[number, :, :, plane].T)
    assert fractional.SegmentationFractionalType == "PROBABILITY"
    assert fractional.MaximumFractionalValue == 255


def test_more_classes_than_a_byte_can_number(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored((2, 8, 8)))
    labels = np.zeros((8, 8, 2), np.uint16)
    labels[1, 2, 1] = 300
    classes = Classes(["background", *(f"class {n}" for n in range(1, 301))])
    for kind in ("binary", "labelmap"):
        seg = dicom_seg(mask_on(tmp_path / "ct", labels, classes=classes), kind)
        assert seg.SegmentSequence[-1].SegmentNumber == 300
        assert seg.pixel_array.max() == (1 if kind == "binary" else 300)


@pytest.mark.parametrize("flip", ["slices", "rows", "columns"])
def test_a_flipped_mask_cannot_pass(tmp_path: Path, flip: str) -> None:
    write_series(tmp_path / "ct", stored())
    mask = mask_on(tmp_path / "ct")
    axis = ("columns", "rows", "slices").index(flip)
    flipped = mask.affine @ np.diag([-1.0 if k == axis else 1.0 for k in range(3)] + [1.0])
    flipped[:3, 3] += mask.affine[:3, axis] * (mask.labels.shape[axis] - 1)
    with pytest.raises(GridMismatchError, match="does not lie where its source"):
        dicom_seg(replace(mask, affine=flipped))


def test_a_moved_mask_cannot_pass(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored())
    mask = mask_on(tmp_path / "ct")
    moved = mask.affine.copy()
    moved[:3, 3] += moved[:3, 2]  # by one slice
    with pytest.raises(GridMismatchError, match="the whole volume lies 1 voxels away"):
        dicom_seg(replace(mask, affine=moved))


def test_shuffled_uids_cannot_pass(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored())
    mask = mask_on(tmp_path / "ct")
    source = ReferencedSeries.from_meta(mask.meta)
    assert source is not None
    first, second, *rest = source.slices
    meta = {**mask.meta, **replace(source, slices=(second, first, *rest)).to_meta()}
    with pytest.raises(GridMismatchError, match="the slices are in another order"):
        dicom_seg(replace(mask, meta=meta))


def test_slices_with_gaps_that_were_kept_lie_where_they_are(tmp_path: Path) -> None:
    offsets = [0.0, 2.5, 5.0, 12.5]
    write_series(tmp_path / "ct", stored(), offsets_mm=offsets)
    mask = mask_on(tmp_path / "ct", on_gap="keep")
    seg = dicom_seg(mask, "labelmap")
    groups = seg.PerFrameFunctionalGroupsSequence
    heights = sorted(float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in groups)
    np.testing.assert_allclose(np.subtract(heights, heights[0]), offsets)


def test_saved_by_monai_as_the_bundle_does(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored())
    mask = mask_on(tmp_path / "ct")
    image = MetaTensor(mask.labels[None], affine=mask.affine, meta=dict(mask.meta))
    SaveImaged("pred", output_dir=tmp_path / "out", output_ext=".dcm", separate_folder=False)({"pred": image})
    (file,) = (tmp_path / "out").glob("*.dcm")
    seg = pydicom.dcmread(file)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["class 1", "class 2", "class 3", "class 4"]
    np.testing.assert_array_equal(labels_by_hand(seg, mask.affine, mask.labels.shape), mask.labels)


def test_the_writer_takes_probabilities_for_the_fractional_type_alone(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored())
    mask = mask_on(tmp_path / "ct")
    scores = np.stack([mask.labels == number for number in range(len(NAMES))]).astype(np.float32)
    writer = DicomSegWriter(NAMES, seg_type="fractional")
    writer.set_data_array(scores)
    writer.set_metadata({**mask.meta, "affine": mask.affine})
    writer.write(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(labels_by_hand(tmp_path / "seg.dcm", mask.affine, mask.labels.shape), mask.labels)
    with pytest.raises(GridMismatchError, match=r"of type binary is made of labels, one channel, got shape \(5, "):
        DicomSegWriter(NAMES).set_data_array(scores)


def test_nothing_logged_names_the_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "ct", stored(), PatientName="NoCaret Secret", FrameOfReferenceUID=None)
    with caplog.at_level(logging.DEBUG):
        dicom_seg(mask_on(tmp_path / "ct"))
    assert "has no FrameOfReferenceUID" in caplog.text
    for secret in ("NoCaret", PATIENT_ID, PATIENT_NAME):
        assert secret not in caplog.text


@pytest.mark.parametrize("kind", ["binary", "fractional"])
def test_dciodvfy_finds_no_error(tmp_path: Path, kind: str) -> None:
    try:
        subprocess.run(["dciodvfy", "-version"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    write_series(tmp_path / "ct", stored(), PatientSex="", StudyDate="20200101", StudyTime="101010")
    mask = mask_on(tmp_path / "ct")
    scores = np.stack([mask.labels == number for number in range(len(NAMES))]).astype(np.uint8) * 200
    write_dicom_seg(tmp_path / "seg.dcm", replace(mask, probabilities=scores), kind)
    done = subprocess.run(["dciodvfy", tmp_path / "seg.dcm"], capture_output=True, text=True, errors="replace")
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    assert "Segmentation" in done.stderr + done.stdout
    syntax = pydicom.dcmread(tmp_path / "seg.dcm").file_meta.TransferSyntaxUID
    assert syntax == {"binary": ExplicitVRLittleEndian, "fractional": RLELossless}[kind]
