"""Segmentations that are damaged or cut short are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotation_phantoms import blobs, grid_of, series, write_seg
from dicom_phantoms import stored_values
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    RLELossless,
)
from segment_drawings import LARGE, case, drawn

from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.errors import (
    DicomGeometryError,
    DicomPixelError,
    DicomReadError,
    LabelContentError,
)


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
