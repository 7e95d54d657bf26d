"""DICOM SEG as label maps: against highdicom's reader and pixel by pixel, on every grid."""

from __future__ import annotations

import logging
import zlib
from itertools import product
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from annotation_phantoms import blobs, grid_of, series, write_seg
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, stored_values
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from segment_drawings import LARGE, MAP, case, drawn, on_axes

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.errors import (
    ConfigurationError,
    LabelContentError,
)

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
@pytest.mark.parametrize("shear_mm", [0.0, 0.9])
def test_a_segmentation_lands_on_its_series(tmp_path: Path, kind: str, orientation: str, shear_mm: float) -> None:
    """Frames of 5 x 6 pixels are no whole bytes; slice 1 is empty and left out; tilted, flipped, sorted otherwise."""
    files, grid, classes = case(tmp_path, orientation=ORIENTATIONS[orientation], shear_mm=shear_mm)
    shuffled = [2, 0, 3, 1]
    write_seg(tmp_path / "seg.dcm", [files[k] for k in shuffled], classes[shuffled], kind)
    array = drawn(tmp_path, grid)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, on_axes(classes))


def test_slices_written_from_top_to_bottom_land_in_the_reader_s_order(tmp_path: Path) -> None:
    files, grid, classes = case(tmp_path, step_mm=-2.5)
    write_seg(tmp_path / "seg.dcm", files, classes)
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(classes, flipped=True))


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", JPEG2000Lossless),
        *product(("FRACTIONAL", "LABELMAP"), (RLELossless, JPEG2000Lossless, JPEGLSLossless)),
    ],
)
def test_compressed_segmentations_are_read(tmp_path: Path, kind: str, syntax: str) -> None:
    files, classes = series(tmp_path / "ct", stored_values(*LARGE)), blobs(*LARGE)
    write_seg(tmp_path / "seg.dcm", files, classes, kind, transfer_syntax=syntax)
    np.testing.assert_array_equal(drawn(tmp_path, grid_of(tmp_path / "ct")), on_axes(classes))


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_deflated_frames_and_deflated_files_are_read(tmp_path: Path, kind: str) -> None:
    files, grid, classes = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, classes, kind)
    seg.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    seg.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(classes))
    frames = hd.image.Image.from_dataset(seg).get_stored_frames() if kind == "LABELMAP" else None
    stored = pydicom.pixels.pixel_array(seg, raw=True) if frames is None else np.asarray(frames)
    packed = [np.packbits(frame.ravel(), bitorder="little") if kind == "BINARY" else frame for frame in stored]
    seg.PixelData = encapsulate([_deflate(frame.tobytes()) for frame in packed])
    seg["PixelData"].VR = "OB"
    seg["PixelData"].is_undefined_length = True
    seg.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
    pydicom.dcmwrite(tmp_path / "seg.dcm", seg, implicit_vr=False, little_endian=True, force_encoding=True)
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(classes))


def _deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stream = squeezer.compress(data) + squeezer.flush()
    return stream + b"\0" * (len(stream) % 2)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_highdicom_reads_the_same_voxels(tmp_path: Path, kind: str, orientation: str) -> None:
    """An independent reader and placement: highdicom's volume, its own affine, compared point by point in space."""
    files, grid, classes = case(tmp_path, orientation=ORIENTATIONS[orientation])
    write_seg(tmp_path / "seg.dcm", [files[k] for k in (3, 1, 0, 2)], classes[[3, 1, 0, 2]], kind)
    ours = drawn(tmp_path, grid)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True, skip_overlap_checks=True)
    index = np.argwhere(volume.array > 0)
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    there = np.round(grid.index_of(points)).astype(int)
    assert len(index) == np.count_nonzero(ours)
    np.testing.assert_array_equal(ours[tuple(there.T)], volume.array[volume.array > 0])


def test_a_label_map_of_sixteen_bits_is_read(tmp_path: Path) -> None:
    files, grid, classes = case(tmp_path)
    names = tuple(f"Instance {number}" for number in range(1, 301))
    wide = np.where(classes == 3, 300, classes.astype(np.uint16)).astype(np.uint16)
    seg = write_seg(tmp_path / "seg.dcm", files, wide, "LABELMAP", names)
    assert seg.BitsAllocated == 16
    array = drawn(tmp_path, grid, class_map={"Instance 1": 4, "Instance 2": 5, "300": 6})
    np.testing.assert_array_equal(array, np.array([0, 4, 5, 6], np.uint8)[on_axes(classes)])


def test_the_background_of_a_label_map_is_its_padding_value(tmp_path: Path) -> None:
    files, grid, classes = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, classes, "LABELMAP")
    seg.PixelPaddingValue = 3
    seg.save_as(tmp_path / "seg.dcm")
    array = read_annotation(tmp_path / "seg.dcm", grid, {"Background": 5, "Liver": 1, "Tumor": 2}).array
    written = np.array([5, 1, 2, 0], np.uint8)[on_axes(classes)]
    written[..., 1] = array[..., 1]  # highdicom left this slice out: there is nothing to say of it
    np.testing.assert_array_equal(array, written)
    assert not array[..., 1].any() or (array[..., 1] == 5).all()


@pytest.mark.parametrize(("largest", "kind"), [(255, "PROBABILITY"), (100, "OCCUPANCY"), (7, "PROBABILITY")])
def test_a_fraction_of_one_half_and_more_belongs_to_the_segment(tmp_path: Path, largest: int, kind: str) -> None:
    files, grid, _ = case(tmp_path)
    fractions = np.random.default_rng(0).random((4, 6, 5, 1)).astype(np.float32)
    options = {"fractional_type": kind, "max_fractional_value": largest}
    seg = write_seg(tmp_path / "seg.dcm", files, fractions, "FRACTIONAL", ("Liver",), **options)
    stored = pydicom.pixels.pixel_array(seg, raw=True).astype(int)
    heights = [float(g.PlanePositionSequence[0].ImagePositionPatient[2]) for g in seg.PerFrameFunctionalGroupsSequence]
    expected = on_axes((2 * stored[np.argsort(heights)] >= largest).astype(np.uint8))
    np.testing.assert_array_equal(drawn(tmp_path, grid), expected)
    assert 0 < drawn(tmp_path, grid).mean() < 1


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flips", [(False, True), (True, False), (True, True)])
def test_frames_with_turned_rows_and_columns_are_turned_back(
    tmp_path: Path, transpose: bool, flips: tuple[bool, bool]
) -> None:
    """The same voxels in space, written from another corner and along the other axis."""
    files, grid, classes = case(tmp_path, orientation=oblique())
    write_seg(tmp_path / "seg.dcm", files, classes)
    turned = pydicom.dcmread(tmp_path / "seg.dcm")
    frames = pydicom.pixels.pixel_array(turned, raw=True)
    along, down = np.array(turned.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient,
                           dtype=float).reshape(2, 3)  # fmt: skip
    rows_mm, columns_mm = (
        float(v) for v in turned.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    )
    shift = flips[0] * (frames.shape[1] - 1) * rows_mm * down + flips[1] * (frames.shape[2] - 1) * columns_mm * along
    for group in turned.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{v:.8g}" for v in np.array(place.ImagePositionPatient, dtype=float) + shift]
    frames = frames[:, :: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    directions = [-along if flips[1] else along, -down if flips[0] else down]
    shared = turned.SharedFunctionalGroupsSequence[0]
    if transpose:
        frames, directions = frames.transpose(0, 2, 1), directions[::-1]
        shared.PixelMeasuresSequence[0].PixelSpacing = [columns_mm, rows_mm]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [f"{v:.12g}" for v in np.ravel(directions)]
    _, turned.Rows, turned.Columns = frames.shape
    packed = np.packbits(np.ascontiguousarray(frames).ravel(), bitorder="little").tobytes()
    turned.PixelData = packed + b"\0" * (len(packed) % 2)
    turned.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(classes))


def test_a_crop_and_a_superset_of_the_image_land_in_place(tmp_path: Path) -> None:
    whole = stored_values(6, 10, 8)
    files = series(tmp_path / "ct", whole)
    classes = np.zeros(whole.shape, np.uint8)
    classes[2:4, 3:6, 2:5] = 1
    write_seg(tmp_path / "seg.dcm", files, classes, names=("Liver",), omit_empty_frames=False)
    part = [pydicom.dcmread(file) for file in files[1:5]]
    (tmp_path / "part").mkdir()
    for k, image in enumerate(part):  # rows 2 to 6, columns 1 to 6
        position = np.array(image.ImagePositionPatient, dtype=float) + np.array([1 * 0.6, 2 * 0.8, 0])
        image.ImagePositionPatient = [f"{v:.8g}" for v in position]
        image.PixelData = np.ascontiguousarray(whole[k + 1, 2:7, 1:7]).tobytes()
        image.Rows, image.Columns = 5, 6
        image.save_as(tmp_path / "part" / f"{k}.dcm")
    small = on_axes(classes[1:5, 2:7, 1:7])
    np.testing.assert_array_equal(drawn(tmp_path, grid_of(tmp_path / "part")), small)
    crop = write_seg(
        tmp_path / "crop.dcm", sorted((tmp_path / "part").iterdir()), classes[1:5, 2:7, 1:7], names=("Liver",)
    )
    assert (crop.Rows, crop.Columns) == (5, 6)
    array = read_annotation(tmp_path / "crop.dcm", grid_of(tmp_path / "ct"), MAP).array
    np.testing.assert_array_equal(array, on_axes(classes))


def test_where_classes_overlap_the_higher_number_wins_and_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid, _ = case(tmp_path)
    segments = np.random.default_rng(5).integers(0, 2, (4, 6, 5, 3)).astype(np.uint8)
    write_seg(tmp_path / "seg.dcm", files, segments)
    expected = on_axes((segments * np.array([3, 1, 2], np.uint8)).max(axis=-1))
    count = int((segments.sum(axis=-1) > 1).sum())
    with caplog.at_level(logging.WARNING):
        array = drawn(tmp_path, grid, class_map={"Liver": 3, "Tumor": 1, "Spleen": 2})
    np.testing.assert_array_equal(array, expected)
    assert f"{count} voxels belong to several of the classes 1, 2, 3: the higher class number wins" in caplog.text
    with pytest.raises(LabelContentError, match=f"{count} voxels belong to several .* pass on_overlap='higher'"):
        drawn(tmp_path, grid, on_overlap="error")
    drawn(tmp_path, grid, class_map={"Liver": 1, "Tumor": 1, "Spleen": 1}, on_overlap="error")  # one class: no conflict
    with pytest.raises(ConfigurationError, match="on_overlap is 'lower'"):
        drawn(tmp_path, grid, on_overlap="lower")


def nrrd(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(path)).transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("name", "seg", "expected"),
    [("d15_ct_nonsquare_seg", "label.seg", "label.nrrd"), ("d17_ct_seg_multi", "liver.dcm", "liver_seg.nrrd")],
)
def test_real_segmentations_equal_what_dcmqi_made_them_from(
    shared_data: Path, name: str, seg: str, expected: str
) -> None:
    folder = shared_data / "dicom" / name
    array = read_annotation(folder / "seg" / seg, grid_of(folder / "dicom")).array
    np.testing.assert_array_equal(array, nrrd(folder / "seg" / expected))
    assert array.any()


def test_real_overlapping_segments_are_drawn_over_each_other(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """dcmqi wrote five segments from three label maps; the empty frames of each are left out."""
    folder = shared_data / "dicom" / "d17_ct_seg_multi"
    sources = [nrrd(folder / "seg" / f"partial_overlaps-{number}.nrrd") for number in (1, 2, 3)]
    names = {"GREEN": 1, "ORANGE": 2, "PURPLE": 3, "LIGHT_BLUE": 4, "DARK_BLUE": 5}
    array = read_annotation(folder / "seg" / "partial_overlaps.dcm", grid_of(folder / "dicom"), names).array
    np.testing.assert_array_equal(array, np.max(sources, axis=0))
    several = np.sum([source > 0 for source in sources], axis=0) > 1
    assert f"{several.sum()} voxels belong to several of the classes" in caplog.text
    for name, number in names.items():
        one = read_annotation(folder / "seg" / "partial_overlaps.dcm", grid_of(folder / "dicom"), {name: 1}).array
        np.testing.assert_array_equal(one > 0, np.any([source == number for source in sources], axis=0))
