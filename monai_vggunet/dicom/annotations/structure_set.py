"""RTSTRUCT -> class numbers on an image's grid: a voxel belongs to a structure when its center lies inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from monai_vggunet.dicom.annotations.contours import combine_even_odd, fill_contour, in_conflict
from monai_vggunet.dicom.annotations.label_grid import ImageGrid, LabelCanvas
from monai_vggunet.dicom.annotations.segment_names import Segment
from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.errors import DicomReadError, GridMismatchError
from monai_vggunet.names import counted
from monai_vggunet.privacy import clean_text

__all__ = ["RTSTRUCT_CLASS", "paint_structures", "structure_frames_of_reference", "structures_of"]

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
# PS3.3 C.8.8.6.3. Both are filled by the even-odd rule: an inner contour is a hole, and so is a keyhole's inner loop.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FEWEST_POINTS = 3
# Every point of a contour lies this near to one slice, in units of the slice distance: more than planning systems
# round positions (to 0.1 mm, in slices of 0.6 mm and more), less than contours of a series with other slices are off.
PLANE_TOLERANCE_SLICES = 0.2

_LONGEST_NUMBER = 64  # characters; PS3.5 6.2 allows 16, and some software writes all digits of a double
_MOST_CONTOURS = 4096  # of one structure in one slice: more pieces than a threshold leaves of trabecular bone
_MOST_TIMES_COVERED = 64  # that the boxes of its contours may cover the slice, one upon the other
# An outline that fills its box to the last pixel crosses no more rows than its pixels have edges.
_MOST_TIMES_FILLED, _HARMLESS_CROSSINGS = 2, 1 << 20


def structures_of(dataset: Dataset, path: Path) -> list[Segment]:
    """Return the structures that have at least one closed contour.

    Raises:
        DicomReadError: if there is none, or the object is damaged.
    """
    contours = _contour_items(dataset)
    listed = dataset.get("StructureSetROISequence") or ()
    try:
        rois = [Segment(int(item.ROINumber), str(item.get("ROIName") or "")) for item in listed]
    except (AttributeError, TypeError, ValueError) as error:
        raise DicomReadError(
            f"{path} describes a structure without a readable ROINumber: a damaged object; export it again"
        ) from error
    if len({roi.number for roi in rois}) != len(rois):
        raise DicomReadError(f"{path} describes a ROINumber twice: a damaged object; export it again")
    drawn = [roi for roi in rois if any(_is_closed(item) for item in contours.get(roi.number, ()))]
    if not drawn:
        what = f"{len(rois)} structures, none of which has a closed contour" if rois else "no structure"
        raise DicomReadError(f"{path} holds {what} (CLOSED_PLANAR in ROIContourSequence); expected drawn structures")
    return drawn


def structure_frames_of_reference(dataset: Dataset, numbers: set[int]) -> set[str]:
    """Return the frames of reference in which the given structures are drawn, as far as the object says."""
    own = {
        str(item.get("ReferencedFrameOfReferenceUID") or "")
        for item in dataset.get("StructureSetROISequence") or ()
        if item.get("ROINumber") in numbers
    } - {""}
    general = {str(item.get("FrameOfReferenceUID") or "") for item in _referenced_frames(dataset)} - {""}
    return own or (general if len(general) == 1 else set()) or {str(dataset.get("FrameOfReferenceUID") or "")} - {""}


def paint_structures(dataset: Dataset, path: Path, canvas: LabelCanvas, classes: Mapping[int, int]) -> list[Finding]:
    """Draw the structures that have a class onto the image's grid.

    A voxel belongs to a structure when its center lies inside an odd number of its contours in that slice; for
    centers exactly on a contour see `fill_contour`. Each contour belongs to the slice nearest to it, which must be
    near: nothing is interpolated between slices. Open contours and points enclose nothing and are left out.

    Args:
        dataset: the object.
        path: its file, for messages.
        canvas: of the image.
        classes: ROINumber -> class number.

    Returns:
        Findings.

    Raises:
        DicomReadError: contour data that are damaged.
        GridMismatchError: a contour in another plane than the slices, between two of them, or outside of the image.
    """
    findings: list[Finding] = []
    items = _contour_items(dataset)
    names = {roi.number: str(roi) for roi in structures_of(dataset, path)}
    for number, value in classes.items():
        what = f"structure {names[number]} of {path}"
        by_slice: dict[int, list[np.ndarray]] = {}
        for contour, item in enumerate(items[number], start=1):
            if not _is_closed(item):
                continue
            points = _points(item, f"contour {contour} of {what}")
            slice_index, index = _in_slice(points, canvas.grid, f"contour {contour} of {what}")
            by_slice.setdefault(slice_index, []).append(index)
        conflicts = 0
        for slice_index, contours in by_slice.items():
            _require_drawn(contours, canvas.grid.shape[0] * canvas.grid.shape[1], f"{what}, in slice {slice_index},")
            patches = [fill_contour(index) for index in contours]  # of one slice: a contour may cover all of it
            column, row, inside = combine_even_odd(patches)
            canvas.paint(inside * np.uint8(value), (column, row, slice_index), what)
            conflicts += in_conflict(patches)
        findings += _findings(names[number], items[number], sorted(by_slice), conflicts)
    return findings


def _contour_items(dataset: Dataset) -> dict[int, list[Dataset]]:
    """Return the contours of each ROINumber."""
    found: dict[int, list[Dataset]] = {}
    for roi in dataset.get("ROIContourSequence") or ():
        number = roi.get("ReferencedROINumber")
        if number is not None:
            found.setdefault(int(number), []).extend(roi.get("ContourSequence") or ())
    return found


def _is_closed(item: Dataset) -> bool:
    """Whether a contour encloses something: its type says so, and it has the points for it."""
    many = int(item.get("NumberOfContourPoints") or _FEWEST_POINTS) >= _FEWEST_POINTS
    return item.get("ContourGeometricType") in _CLOSED and many


def _points(item: Dataset, what: str) -> np.ndarray:
    """Return a contour's points (N, 3) in LPS mm, from the text as it stands in the file: it can be long."""
    element = item.get_item("ContourData")
    value = None if element is None else element.value
    try:
        if isinstance(element, RawDataElement) and isinstance(value, bytes):
            texts = value.rstrip(b"\0 ").split(b"\\")
            if max(map(len, texts)) > _LONGEST_NUMBER:  # an array of texts takes the longest one's length for each
                raise ValueError
            numbers = np.array(texts, dtype="S").astype(np.float64)
        else:
            numbers = np.array(item.ContourData, dtype=np.float64)
    except (ValueError, TypeError, AttributeError) as error:
        raise DicomReadError(
            f"{what} has ContourData that are not numbers: a damaged object; export it again"
        ) from error
    stated = int(item.get("NumberOfContourPoints") or len(numbers) // 3)
    if len(numbers) != 3 * stated or not np.isfinite(numbers).all():
        raise DicomReadError(
            f"{what} has {len(numbers)} coordinates, of which {int(np.isfinite(numbers).sum())} are finite; expected 3 "
            f"for each of its {stated} points: a damaged object; export it again"
        )
    return numbers.reshape(-1, 3)


def _in_slice(points_lps: np.ndarray, grid: ImageGrid, what: str) -> tuple[int, np.ndarray]:
    """Return the slice a contour lies in, and its points (N, 2) as column and row there."""
    index = grid.index_in_slices(points_lps)
    along, step_mm = index[:, 2], float(grid.spacing_mm[2])
    nearest = round(float(along.mean()))
    if np.ptp(along) > 2 * PLANE_TOLERANCE_SLICES:
        raise GridMismatchError(
            f"{what} runs through {np.ptp(along) * step_mm:.3g} mm across the slices of {grid.name}; expected it to "
            "lie in one slice: it was drawn in another plane, or on another series; give the series it was drawn on"
        )
    off = float(np.abs(along - nearest).max())
    if off > PLANE_TOLERANCE_SLICES:
        raise GridMismatchError(
            f"{what} lies {off * step_mm:.3g} mm off the nearest slice of {grid.name}, between slices "
            f"{int(np.floor(along.mean()))} and {int(np.floor(along.mean())) + 1} (counted from 0; allowed: "
            f"{PLANE_TOLERANCE_SLICES * step_mm:.2g} mm): give the series it was drawn on"
        )
    low, high = index[:, :2].min(axis=0), index[:, :2].max(axis=0)
    size = np.array(grid.shape[:2])
    if not 0 <= nearest < grid.shape[2] or (low < -1).any() or (high > size).any():
        beyond = max(-nearest, nearest - grid.shape[2] + 1, 0) * step_mm
        aside = max(0.0, float((np.maximum(-low, high - (size - 1)) * grid.spacing_mm[:2]).max()))
        raise GridMismatchError(
            f"{what} lies outside of {grid.name}, {beyond:.3g} mm beyond its first or last slice and {aside:.3g} mm "
            "beyond the edges of its slices: give the whole series it was drawn on, or leave the structure out"
        )
    return nearest, index[:, :2]


def _require_drawn(contours: list[np.ndarray], slice_pixels: int, what: str) -> None:
    """Refuse contours that nobody draws: each takes a mask of its box, and time for every row that it crosses."""
    sizes = np.array([np.ptp(index, axis=0) + 1 for index in contours])
    covered = float(sizes.prod(axis=1).sum())
    if len(contours) > _MOST_CONTOURS or covered > _MOST_TIMES_COVERED * slice_pixels:
        raise DicomReadError(
            f"{what} has {len(contours):,} contours, with boxes of {covered:,.0f} pixels; expected up to "
            f"{_MOST_CONTOURS:,}, and no more than {_MOST_TIMES_COVERED} times the slice: a damaged object; "
            "export it again"
        )
    for index, (columns, rows) in zip(contours, sizes):
        crossed = float(np.abs(np.diff(index[:, 1], append=index[:1, 1])).sum())
        if crossed > _HARMLESS_CROSSINGS + _MOST_TIMES_FILLED * columns * rows:
            raise DicomReadError(
                f"{what} has a contour of {len(index):,} points that goes up and down over {crossed:,.0f} rows in a "
                f"box of {columns:.0f} x {rows:.0f} pixels; expected an outline: a damaged object; export it again"
            )


def _findings(name: str, items: list[Dataset], slices: list[int], conflicts: int) -> list[Finding]:
    """Return findings about what of a structure could not be drawn as it may have been meant."""
    findings: list[Finding] = []
    ignored = [clean_text(str(item.get("ContourGeometricType") or "no type")) for item in items if not _is_closed(item)]
    if ignored:
        kinds = ", ".join(sorted(set(ignored)))
        what = counted(len(ignored), "contour encloses nothing", "contours enclose nothing")
        text = f"structure {name}: {what}, left out ({kinds})"
        findings.append(warning(FindingKind.OPEN_CONTOURS, text, count=len(ignored)))
    span = slices[-1] - slices[0] + 1
    if len(slices) < span:
        text = (
            f"structure {name}: no contour in {span - len(slices)} of the {span} slices from its first to its last, "
            "which stay empty; nothing is interpolated"
        )
        findings.append(warning(FindingKind.SLICES_WITHOUT_CONTOUR, text, count=span - len(slices)))
    if conflicts:
        text = (
            f"structure {name}: contours cross or occur twice in {counted(conflicts, 'slice')}: where they cross, the "
            "overlap counts as outside; one that occurs twice counts once"
        )
        findings.append(warning(FindingKind.CONTOURS_CROSS, text, count=conflicts))
    return findings


def _referenced_frames(dataset: Dataset) -> list[Dataset]:
    return list(dataset.get("ReferencedFrameOfReferenceSequence") or ())
