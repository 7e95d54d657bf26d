"""DICOM SEG -> class numbers on an image's grid: every frame is placed by its own geometry, and must fit exactly.

BINARY, FRACTIONAL (PS3.3 A.51) and Label Map Segmentation Storage (A.51 as of Supplement 243), in any transfer syntax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from monai_vggunet.dicom.annotations.label_grid import ImageGrid, LabelCanvas
from monai_vggunet.dicom.annotations.segment_names import Segment
from monai_vggunet.dicom.annotations.segment_pixels import decode_segments
from monai_vggunet.dicom.headers.frames import frames_of
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.errors import DicomGeometryError, DicomPixelError, DicomReadError, GridMismatchError
from monai_vggunet.privacy import clean_text, quoted

__all__ = ["SEGMENTATION_CLASSES", "paint_segments", "segments_of"]

SEGMENTATION_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
}
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
# A fractional voxel belongs to its segment from half of MaximumFractionalValue on, probability and occupancy alike.
FRACTION = 0.5
_LARGEST_NUMBER = 0xFFFF  # of a segment, and of the value that stands for none: PS3.3 C.8.20.2, US


def segments_of(dataset: Dataset, path: Path) -> list[Segment]:
    """Return the segments that the object describes; a label map's background is not one.

    Raises:
        DicomReadError: if it is damaged: unknown SegmentationType, no SegmentSequence, a number twice.
    """
    kind = dataset.get("SegmentationType")
    if kind not in _TYPES:
        raise DicomReadError(f"{path} has SegmentationType {quoted(kind or '')}; expected one of {', '.join(_TYPES)}")
    try:
        segments = [
            Segment(int(item.SegmentNumber), str(item.get("SegmentLabel") or ""))
            for item in dataset.get("SegmentSequence") or ()
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise DicomReadError(
            f"{path} describes a segment without a readable SegmentNumber: a damaged object; export it again"
        ) from error
    if kind == "LABELMAP":
        segments = [segment for segment in segments if segment.number not in _background_values(dataset)]
    if not segments:
        raise DicomReadError(f"{path} describes no segment (SegmentSequence): a damaged object; export it again")
    numbers = {segment.number for segment in segments}
    if len(numbers) != len(segments):
        raise DicomReadError(f"{path} describes a SegmentNumber twice: a damaged object; export it again")
    if not 0 <= min(numbers) <= max(numbers) <= _LARGEST_NUMBER:
        raise DicomReadError(
            f"{path} describes SegmentNumbers from {min(numbers)} to {max(numbers)}; expected 0 to "
            f"{_LARGEST_NUMBER}: a damaged object; export it again"
        )
    return segments


def paint_segments(dataset: Dataset, path: Path, canvas: LabelCanvas, classes: Mapping[int, int]) -> None:
    """Draw the segments that have a class onto the image's grid.

    A frame may be a part of the image or reach beyond it, and may be flipped or transposed against it; frames come in
    any order, and empty ones may be missing. The voxels must coincide with the image's: nothing is resampled.

    Args:
        dataset: the object, pixel data included.
        path: its file, for messages.
        canvas: of the image.
        classes: segment number -> class number.

    Raises:
        DicomReadError: no functional groups, a number of frames that is wrong, frames of unknown segments.
        DicomGeometryError: tiles of a slide, or frames of unknown place.
        DicomPixelError: pixel data that are missing or cannot be decoded.
        GridMismatchError: a frame off the image's voxels, or foreground outside of the image.
    """
    frames = _frames(dataset, path)
    numbers = _segment_numbers(dataset, path, len(frames))
    table, limit = _class_table(dataset, path, classes), _threshold(dataset, path)
    wanted = [k for k, number in enumerate(numbers) if number is None or number in classes]
    placements: dict[tuple[object, ...], _Placement] = {}

    def paint(index: int, pixels: np.ndarray) -> None:
        frame, number = frames[index], numbers[index]
        what = f"frame {index + 1} of {path}" + ("" if number is None else f" (segment {number})")
        place = (frame.position_lps_mm, frame.orientation_lps, frame.pixel_spacing_mm)
        if place not in placements:
            placements[place] = _placement(frame, canvas.grid, what)
        if pixels.shape != (frame.rows, frame.columns):
            raise DicomPixelError(f"{what} decodes to {pixels.shape}, expected {frame.rows} rows x {frame.columns}")
        drawn = _looked_up(table, pixels, what) if number is None else (pixels >= limit) * np.uint8(classes[number])
        canvas.paint(placements[place].oriented(drawn), placements[place].corner, what)

    decode_segments(dataset, path, [frames[index] for index in wanted], paint)


def _frames(dataset: Dataset, path: Path) -> tuple[FrameRecord, ...]:
    tiled = str(dataset.get("DimensionOrganizationType") or "").startswith("TILED")
    if tiled or "TotalPixelMatrixColumns" in dataset or "ImageOrientationSlide" in dataset:
        raise DicomGeometryError(
            f"{path} segments a tiled slide (microscopy, slide coordinates); expected a segmentation of a volume in "
            "patient coordinates"
        )
    if not dataset.get("PerFrameFunctionalGroupsSequence"):
        raise DicomReadError(
            f"{path} has no PerFrameFunctionalGroupsSequence, which places the frames: a damaged object, or one that "
            "holds no frame; export it again"
        )
    if not (dataset.get("Rows") and dataset.get("Columns")):
        raise DicomReadError(f"{path} has no Rows and Columns: a damaged object; export it again")
    frames = frames_of(path, dataset, "", path.stat().st_size)
    if isinstance(frames, str):
        raise DicomReadError(f"{path}: {frames}")
    for number, frame in enumerate(frames, start=1):
        known = {
            "ImagePositionPatient": frame.position_lps_mm,
            "ImageOrientationPatient": frame.orientation_lps,
            "PixelSpacing": frame.pixel_spacing_mm,
        }
        missing = [keyword for keyword, value in known.items() if value is None or not np.isfinite(value).all()]
        if missing or frame.pixel_spacing_mm is None or min(frame.pixel_spacing_mm) <= 0:
            raise DicomGeometryError(
                f"frame {number} of {path} has no usable {', '.join(missing) or 'PixelSpacing'} in its functional "
                "groups; without it the frame has no place in the image"
            )
    return frames


def _segment_numbers(dataset: Dataset, path: Path, count: int) -> list[int | None]:
    """Return each frame's segment; None for all in a label map, whose pixels say it themselves."""
    if dataset.SegmentationType == "LABELMAP":
        return [None] * count
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    described = {segment.number for segment in segments_of(dataset, path)}
    numbers: list[int | None] = []
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        items = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        number = items[0].get("ReferencedSegmentNumber") if items else None
        if number not in described:
            raise DicomReadError(
                f"frame {index} of {path} belongs to segment {clean_text(str(number))}, which SegmentSequence does not "
                f"describe ({sorted(described)}): a damaged object; export it again"
            )
        numbers.append(int(number))
    return numbers


# Placing a frame


@dataclass(frozen=True)
class _Placement:
    """How a frame's pixels (rows, columns) lie on the image's voxels (columns, rows) of one slice."""

    corner: tuple[int, int, int]
    transpose: bool
    flips: tuple[bool, bool]

    def oriented(self, pixels: np.ndarray) -> np.ndarray:
        """Return a frame (rows, columns) along the image's axes (columns, rows)."""
        array = pixels.T if self.transpose else pixels
        return array[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]


def _placement(frame: FrameRecord, grid: ImageGrid, what: str) -> _Placement:
    directions = np.array(frame.orientation_lps, dtype=float).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    # PS3.3 C.7.6.2.1.1: the first spacing, between rows, goes with the second direction.
    steps_mm = directions / np.where(lengths > 0, lengths, 1) * np.array(frame.pixel_spacing_mm)[::-1, None]
    size = np.array([frame.columns, frame.rows]) - 1
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * size
    index = grid.index_of(np.array(frame.position_lps_mm) + corners @ steps_mm)
    exact = (grid.inverse[:3, :3] @ steps_mm.T).T  # (2, 3): what a column and a row step are in voxels
    whole, start = np.round(exact).astype(int), np.round(index[0]).astype(int)
    off = np.abs(index - (start + corners @ whole)).max(axis=0)
    one_step_each = np.array_equal(np.abs(whole).sum(axis=0), [1, 1, 0]) and (np.abs(whole).sum(axis=1) == 1).all()
    if not one_step_each or (off > grid.tolerance_voxels).any():
        raise GridMismatchError(_mismatch(frame, grid, what, exact, index, off))
    far = start + size @ whole
    low = np.minimum(start, far)
    return _Placement(
        (int(low[0]), int(low[1]), int(start[2])),
        transpose=bool(whole[0, 0]),
        flips=(bool(whole[:, 0].sum() < 0), bool(whole[:, 1].sum() < 0)),
    )


def _mismatch(
    frame: FrameRecord, grid: ImageGrid, what: str, exact: np.ndarray, index: np.ndarray, off: np.ndarray
) -> str:
    """Say how a frame misses the image's voxels, by how many mm, and what to do."""
    depth_mm = float(np.ptp(index[:, 2]) * grid.spacing_mm[2])
    spacing = " x ".join(f"{s:.4g}" for s in np.array(frame.pixel_spacing_mm))
    own = " x ".join(f"{s:.4g}" for s in grid.spacing_mm[[1, 0]])
    if np.ptp(index[:, 2]) > 2 * grid.tolerance_voxels[2]:
        how = f"lies in another plane than the image's slices: its corners are {depth_mm:.3g} mm apart across them"
    elif (np.abs(np.linalg.norm(exact, axis=1) - 1) * (frame.columns, frame.rows) > grid.tolerance_voxels[:2]).any():
        how = f"has another grid: pixels of {spacing} mm (rows x columns), the image has {own} mm"
    elif off[2] > grid.tolerance_voxels[2]:
        at = float(index[0, 2])
        how = (
            f"lies {abs(at - round(at)) * grid.spacing_mm[2]:.3g} mm off the nearest slice, between slices "
            f"{int(np.floor(at))} and {int(np.ceil(at))} (counted from 0)"
        )
    else:
        apart = " and ".join(f"{d:.3g}" for d in off[:2] * grid.spacing_mm[:2])
        how = f"lies up to {apart} mm beside the image's voxels, along columns and rows"
    allowed = " x ".join(f"{t:.2g}" for t in grid.tolerance_voxels * grid.spacing_mm)
    return (
        f"{what} {how} ({grid.name}; allowed: {allowed} mm): give the series it was drawn on, or resample the "
        "segmentation to this one with nearest-neighbor interpolation"
    )


# What pixels mean


def _threshold(dataset: Dataset, path: Path) -> float:
    if dataset.SegmentationType != "FRACTIONAL":
        return 1.0
    largest = dataset.get("MaximumFractionalValue")
    if not largest:
        raise DicomReadError(
            f"{path} is FRACTIONAL without a MaximumFractionalValue: a damaged object; export it again"
        )
    return FRACTION * float(largest)


def _background_values(dataset: Dataset) -> set[int]:
    padding = dataset.get("PixelPaddingValue")
    value = 0 if padding is None else int(padding)
    if not 0 <= value <= _LARGEST_NUMBER:
        raise DicomReadError(
            f"PixelPaddingValue is {value}; expected 0 to {_LARGEST_NUMBER}: a damaged object; export it again"
        )
    return {value}


def _class_table(dataset: Dataset, path: Path, classes: Mapping[int, int]) -> np.ndarray:
    """Return pixel value -> class for a label map; -1 for values that stand for nothing."""
    known = [segment.number for segment in segments_of(dataset, path)]
    background = _background_values(dataset)
    table = np.full(max(*known, *background) + 2, -1, dtype=np.int16)
    table[[*known, *background]] = 0
    for number, value in classes.items():
        table[number] = value
    return table


def _looked_up(table: np.ndarray, pixels: np.ndarray, what: str) -> np.ndarray:
    classes = table[np.clip(pixels.astype(np.int64), -1, len(table) - 1)]  # the last entry stands for nothing
    if (classes < 0).any():
        unknown = np.unique(pixels[classes < 0])[:5].tolist()
        raise DicomPixelError(f"{what} holds the values {unknown}, which SegmentSequence does not describe")
    return classes.astype(np.uint8)
