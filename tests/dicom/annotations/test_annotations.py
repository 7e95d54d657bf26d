"""DICOM SEG as label maps: against highdicom's reader and pixel by pixel, on every grid; and what is refused."""

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
from annotation_phantoms import NAMES, blobs, contour, grid_of, series, write_rtstruct, write_seg
from dicom_phantoms import AXIAL, CORONAL, PATIENT_ID, PATIENT_NAME, SAGITTAL, oblique, stored_values
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from monai_vggunet.dicom.annotations.annotation import annotation_file, read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.errors import (
    ConfigurationError,
    DicomGeometryError,
    DicomPixelError,
    DicomReadError,
    GridMismatchError,
    LabelContentError,
    SeriesSelectionError,
)

MAP = {"Liver": 1, "Tumor": 2, "Spleen": 3}
ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}
LARGE = (3, 40, 36)  # JPEG 2000 encoders want 32 pixels and more; GDCM's RLE encoder wants an even number of columns


def on_axes(classes: np.ndarray, flipped: bool = False) -> np.ndarray:
    """Return (slices, rows, columns) as (columns, rows, slices); slices reversed when they were written backward."""
    array = classes.transpose(2, 1, 0)
    return array[..., ::-1] if flipped else array


def case(tmp_path: Path, **options: object) -> tuple[list[Path], ImageGrid, np.ndarray]:
    """Write a small series; return its files, its grid and classes to draw."""
    files = series(tmp_path / "ct", **options)  # type: ignore[arg-type]
    return files, grid_of(tmp_path / "ct"), blobs()


def drawn(tmp_path: Path, grid: ImageGrid, **options: object) -> np.ndarray:
    return read_annotation(tmp_path / "seg.dcm", grid, **{"class_map": MAP, **options}).array  # type: ignore[arg-type]


# What is read


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


# Names


@pytest.mark.parametrize(
    ("class_map", "classes"),
    [
        ({"Liver": 1, "Tumor": 2, "Spleen": 3}, (1, 2, 3)),
        ({" LIVER ": 2, "tumor": 2}, (2, 2, 0)),
        ({"1": 5, "3": 7}, (5, 0, 7)),
        ({"Liver": 0, "Spleen": 1}, (0, 0, 1)),
        ({"Spleen": 1, "Kidney": 2}, (0, 0, 1)),
        ({"Liver": 1, "1": 9}, (1, 0, 0)),
    ],
    ids=["names", "any case", "numbers", "zero", "absent one", "name before number"],
)
def test_segments_become_the_classes_of_the_map(
    tmp_path: Path, class_map: dict[str, int], classes: tuple[int, ...]
) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    expected = np.array([0, *classes], np.uint8)[on_axes(pixels)]
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map=class_map), expected)


def test_a_segment_called_like_another_s_number_goes_by_its_name(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels, names=("2", "b", "c"))
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map={"2": 9}), on_axes((pixels == 1) * np.uint8(9)))


def test_segments_that_the_map_does_not_name_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with caplog.at_level(logging.INFO):
        drawn(tmp_path, grid, class_map={"Tumor": 1, "Kidney": 2})
    assert "background, as the class map does not name them: 1 'Liver', 3 'Spleen'" in caplog.text
    assert "not in this object: Kidney" in caplog.text
    assert PATIENT_NAME not in caplog.text
    assert PATIENT_ID not in caplog.text


def test_a_map_that_names_no_segment_is_an_error_with_the_names(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(LabelContentError, match=r"none of .* \(Kidney\); it holds 1 'Liver', 2 'Tumor', 3 'Spleen'"):
        drawn(tmp_path, grid, class_map={"Kidney": 1})


def test_several_segments_without_a_map_are_an_error_with_the_json_to_write(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(LabelContentError, match=r'write "segments": \{"Liver": 1, "Tumor": 2, "Spleen": 3\} into'):
        drawn(tmp_path, grid, class_map=None)


def test_a_single_segment_without_a_map_is_class_1(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, (pixels == 2).astype(np.uint8), names=("Anything",))
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map=None), on_axes((pixels == 2).astype(np.uint8)))


@pytest.mark.parametrize("number", [256, -1, 1.0, True])
def test_a_class_number_that_is_none_is_refused(tmp_path: Path, number: object) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(ConfigurationError, match="not a whole number from 0 to 255"):
        drawn(tmp_path, grid, class_map={"Liver": number})


# Another grid, another patient


def moved(grid: ImageGrid, shift_voxels: tuple[float, float, float] = (0, 0, 0), zoom: float = 1.0) -> ImageGrid:
    affine = grid.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ shift_voxels
    affine[:3, :2] *= zoom
    return ImageGrid(affine, grid.shape, grid.name, grid.frame_of_reference_uid, grid.study_uid, grid.series_uid)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize(
    ("shift", "zoom", "text"),
    [
        ((0, 0, 0.5), 1.0, r"lies 1\.25 mm off the nearest slice, between slices"),
        ((0.5, 0, 0), 1.0, r"lies up to 0\.3 and .* mm beside the image's voxels"),
        ((0, 0, 0), 1.3, r"pixels of 0\.8 x 0\.6 mm \(rows x columns\), the image has 1\.04 x 0\.78 mm"),
    ],
    ids=["between slices", "half a pixel", "other pixels"],
)
def test_a_segmentation_of_another_grid_is_refused_with_millimeters(
    tmp_path: Path, kind: str, shift: tuple[float, float, float], zoom: float, text: str
) -> None:
    files, grid, pixels = case(tmp_path, orientation=oblique())
    write_seg(tmp_path / "seg.dcm", files, pixels, kind)
    with pytest.raises(GridMismatchError, match=text):
        drawn(tmp_path, moved(grid, shift, zoom))


def test_a_segmentation_of_another_plane_is_refused(tmp_path: Path) -> None:
    files, _, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    series(tmp_path / "other", orientation=SAGITTAL)
    with pytest.raises(GridMismatchError, match=r"another plane than the image's slices: its corners are .* mm apart"):
        drawn(tmp_path, grid_of(tmp_path / "other"))


def test_positions_rounded_by_the_writer_still_fit(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path, orientation=oblique())
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    for group in seg.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{float(value):.2f}" for value in place.ImagePositionPatient]
    seg.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))


@pytest.mark.parametrize("shift", [(0, 0, 2), (0, 0, -2), (2, 0, 0), (0, -3, 0), (100, 0, 0)])
def test_foreground_outside_of_the_image_is_an_error(tmp_path: Path, shift: tuple[float, float, float]) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(GridMismatchError, match=r"has \d+ voxels outside of the series, which has 5 columns, 6 rows"):
        drawn(tmp_path, moved(grid, shift))


def test_another_frame_of_reference_is_an_error(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels, attributes={"FrameOfReferenceUID": "9.8.7"})
    with pytest.raises(
        GridMismatchError, match=r"drawn in frame of reference 9\.8\.7, the series lies in …\S{8}: their"
    ):
        drawn(tmp_path, grid)


def test_another_study_is_an_error_unless_the_series_is_named(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels, attributes={"StudyInstanceUID": "9.8.7"})
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))  # a study of its own, drawn on this series
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "9.8.7.6"
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(GridMismatchError, match=r"belongs to study 9\.8\.7, the series to 1\.2\.3\.4\.5"):
        drawn(tmp_path, grid)


@pytest.mark.parametrize("side", ["image", "annotation"])
def test_what_cannot_be_compared_is_said_and_geometry_decides(
    tmp_path: Path, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    if side == "image":
        grid = ImageGrid(grid.affine_lps, grid.shape)
    else:
        del seg.FrameOfReferenceUID, seg.StudyInstanceUID
        seg.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))
    assert f"placed by geometry alone, without comparing FrameOfReferenceUID (the {side} states none)" in caplog.text
    assert f"study (the {side} states none)" in caplog.text


def test_a_segmentation_of_another_series_of_the_study_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    other = ImageGrid(grid.affine_lps, grid.shape, "x", grid.frame_of_reference_uid, grid.study_uid, "1.2.3")
    drawn(tmp_path, other)
    assert "drawn on another series of the study" in caplog.text
    caplog.clear()
    drawn(tmp_path, grid)
    assert caplog.text == ""


# Damage, and what is no segmentation


def broken(tmp_path: Path, change: object, kind: str = "BINARY") -> ImageGrid:
    """Write a segmentation, changed by a function; return the image's grid."""
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels, kind)
    change(seg)  # type: ignore[operator]
    seg.save_as(tmp_path / "seg.dcm")
    return grid


def frame_of(seg: Dataset) -> Dataset:
    return seg.PerFrameFunctionalGroupsSequence[0]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: delattr(s, "PixelData"), DicomPixelError, "holds no pixel data"),
        (lambda s: setattr(s, "PixelData", s.PixelData[:8]), DicomPixelError, "8 bytes of pixel data, expected 34"),
        (lambda s: delattr(s, "PerFrameFunctionalGroupsSequence"), DicomReadError, "no PerFrameFunctionalGroups"),
        (lambda s: setattr(s, "NumberOfFrames", 8), DicomReadError, "NumberOfFrames is 8, but 9 frames are described"),
        (lambda s: delattr(s, "SegmentSequence"), DicomReadError, "describes no segment"),
        (lambda s: setattr(s.SegmentSequence[1], "SegmentNumber", 1), DicomReadError, "a SegmentNumber twice"),
        (lambda s: s.SegmentSequence.pop(), DicomReadError, "segment 3, which SegmentSequence does not describe"),
        (lambda s: setattr(s, "SegmentationType", "SURFACE"), DicomReadError, "SegmentationType 'SURFACE'; expected"),
        (lambda s: delattr(s, "Rows"), DicomReadError, "no Rows and Columns"),
        (lambda s: delattr(frame_of(s), "SegmentIdentificationSequence"), DicomReadError, "belongs to segment None"),
        (lambda s: delattr(frame_of(s), "PlanePositionSequence"), DicomGeometryError, "no usable ImagePositionPatient"),
        (
            lambda s: delattr(s.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"),
            DicomGeometryError,
            "no usable PixelSpacing",
        ),
        (lambda s: setattr(s, "DimensionOrganizationType", "TILED_FULL"), DicomGeometryError, "segments a tiled slide"),
        (lambda s: setattr(s, "SamplesPerPixel", 3), DicomPixelError, "3 values per pixel"),
        (lambda s: setattr(s, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.5"), DicomReadError, "Surface Segmentation"),
    ],
)  # fmt: skip
def test_a_damaged_segmentation_is_refused(tmp_path: Path, change: object, error: type[Exception], text: str) -> None:
    grid = broken(tmp_path, change)
    with pytest.raises(error, match=text):
        drawn(tmp_path, grid)


def test_a_number_of_frames_that_lies_with_its_groups_is_refused(tmp_path: Path) -> None:
    def more_frames(seg: Dataset) -> None:
        seg.PerFrameFunctionalGroupsSequence.extend([frame_of(seg)] * 8)
        seg.NumberOfFrames = 17

    grid = broken(tmp_path, more_frames)
    with pytest.raises(DicomPixelError, match="34 bytes of pixel data, expected 64"):
        drawn(tmp_path, grid)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_frames_that_are_missing_or_do_not_decode_are_refused(tmp_path: Path, kind: str) -> None:
    files = series(tmp_path / "ct", stored_values(*LARGE))
    seg = write_seg(tmp_path / "seg.dcm", files, blobs(*LARGE), kind, transfer_syntax=RLELossless)
    grid, whole = grid_of(tmp_path / "ct"), seg.PixelData
    for content in (whole[: len(whole) // 2], encapsulate([b"\0" * 70])):
        seg.PixelData = content
        seg.save_as(tmp_path / "seg.dcm")
        with pytest.raises((DicomPixelError, DicomReadError), match=r"cannot be|damaged"):
            drawn(tmp_path, grid)


def test_fractions_without_their_maximum_are_refused(tmp_path: Path) -> None:
    grid = broken(tmp_path, lambda s: delattr(s, "MaximumFractionalValue"), "FRACTIONAL")
    with pytest.raises(DicomReadError, match="FRACTIONAL without a MaximumFractionalValue"):
        drawn(tmp_path, grid)


def test_label_map_values_that_nothing_describes_are_refused(tmp_path: Path) -> None:
    grid = broken(tmp_path, lambda s: s.SegmentSequence.pop(), "LABELMAP")
    with pytest.raises(DicomPixelError, match=r"holds the values \[3\], which SegmentSequence does not describe"):
        drawn(tmp_path, grid)


def test_no_cut_of_a_file_gives_a_wrong_label_or_a_crash(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    whole = (tmp_path / "seg.dcm").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "seg.dcm").write_bytes(whole[:length])
        with pytest.raises((DicomReadError, DicomPixelError, DicomGeometryError, LabelContentError)):
            drawn(tmp_path, grid)


def test_what_is_no_annotation_is_refused_by_its_kind(tmp_path: Path) -> None:
    files, grid, _ = case(tmp_path)
    with pytest.raises(DicomReadError, match="is of the kind 'CT Image Storage'; expected a label as DICOM SEG"):
        read_annotation(files[0], grid)
    (tmp_path / "text.dcm").write_text("no DICOM at all " * 20)
    with pytest.raises(DicomReadError, match="is not a DICOM file"):
        read_annotation(tmp_path / "text.dcm", grid)
    with pytest.raises(DicomReadError, match="does not exist"):
        read_annotation(tmp_path / "absent.dcm", grid)


def test_a_folder_is_searched_for_its_one_annotation(tmp_path: Path) -> None:
    files, _, pixels = case(tmp_path)
    with pytest.raises(DicomReadError, match="holds neither a DICOM SEG nor an RTSTRUCT"):
        annotation_file(tmp_path)
    write_seg(tmp_path / "ct" / "deep" / "seg", files, pixels)
    (tmp_path / "notes.txt").write_text("x")
    assert annotation_file(tmp_path) == tmp_path / "ct" / "deep" / "seg"
    write_rtstruct(tmp_path / "rs.dcm", {"a": [contour(np.eye(3))]})
    listed = r"holds 2 annotations: ct/deep/seg \(Segmentation Storage\), rs.dcm \(RT Structure Set Storage\); expected"
    with pytest.raises(
        SeriesSelectionError, match=listed + r" one: name the file as the case's 'label' in dataset\.json"
    ):
        annotation_file(tmp_path)


def test_an_annotation_without_file_meta_says_its_kind_in_its_data_set(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    del seg.file_meta.MediaStorageSOPClassUID
    pydicom.dcmwrite(tmp_path / "seg.dcm", seg, enforce_file_format=False)
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))
    assert seg.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert isinstance(seg.SegmentSequence, Sequence)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == list(NAMES)


# Real data


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
