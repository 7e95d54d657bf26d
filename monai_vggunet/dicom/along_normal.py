"""Where planes of one orientation lie along their normal: how many places there are, and whether the steps are even."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_vggunet.dicom.headers.records import FrameRecord

__all__ = [
    "DISPLACEMENT_TOLERANCE_MM",
    "along_normal",
    "count_places",
    "displacement_tolerance_mm",
    "distinct_positions",
    "fit_even_steps",
    "has_even_steps",
    "new_places",
    "slice_normal",
]

# Two planes nearer than this along the normal lie at one position: far below any slice spacing, above rounding.
SAME_POSITION_MM = 0.01
# How far a voxel may lie from where it is expected: what rounding of positions to 0.1 mm can do.
DISPLACEMENT_TOLERANCE_MM = 0.1
# In thin-sliced volumes a voxel may be displaced by no more than a tenth of the slice spacing.
_DISPLACEMENT_TOLERANCE_OF_SPACING = 0.1


def slice_normal(frame: FrameRecord) -> np.ndarray | None:
    """Return the plane's unit normal in LPS (column direction x row direction), or None without a usable orientation.

    "Column direction" is the direction in which the column index grows, the first three values of
    ImageOrientationPatient.
    """
    if frame.orientation_lps is None:
        return None
    normal = np.cross(frame.orientation_lps[:3], frame.orientation_lps[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if np.isfinite(length) and length > 0 else None


def along_normal(frames: Sequence[FrameRecord]) -> np.ndarray | None:
    """Return the projections of the planes' positions onto the first plane's normal `(N,)`, mm; None if one is unknown.

    Args:
        frames: planes of about one orientation, in any order.
    """
    normal = slice_normal(frames[0])
    positions = [frame.position_lps_mm for frame in frames]
    if normal is None or any(position is None for position in positions):
        return None
    return np.array(positions, dtype=float) @ normal


def new_places(sorted_mm: np.ndarray) -> np.ndarray:
    """Return for each sorted projection `(N,)`, mm, whether another place begins there; the first always begins one."""
    return np.concatenate([[True], np.diff(sorted_mm) > SAME_POSITION_MM])


def count_places(along_mm: np.ndarray) -> int:
    """Return at how many different places projections onto the normal `(N,)`, mm, lie."""
    return int(np.count_nonzero(new_places(np.sort(along_mm))))


def distinct_positions(frames: Sequence[FrameRecord]) -> int:
    """Return how many different places along the slice normal the planes have; 0 if a position is unknown."""
    along = along_normal(frames)
    return 0 if along is None else count_places(along)


def has_even_steps(along_mm: np.ndarray) -> bool:
    """Whether projections onto the normal `(N,)`, mm, in any order, lie at even steps, each at a place of its own."""
    sorted_mm = np.sort(along_mm)
    steps = np.diff(sorted_mm)
    if len(steps) < 2:
        return bool((steps > SAME_POSITION_MM).all())
    start, step = fit_even_steps(sorted_mm)
    off = np.abs(sorted_mm - start - step * np.arange(len(sorted_mm))).max()
    return bool(steps.min() > SAME_POSITION_MM and off <= displacement_tolerance_mm(float(np.median(steps))))


def fit_even_steps(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit evenly spaced places to those given by least squares.

    Args:
        places: at least two, in order: `(N,)` along the normal, or `(N, 3)` in space; mm.

    Returns:
        The first of the evenly spaced places, and the step to the next, mm: numbers, or vectors `(3,)`.
    """
    index = np.arange(len(places)) - (len(places) - 1) / 2
    step = index @ places / (index @ index)
    return places.mean(axis=0) + index[0] * step, step


def displacement_tolerance_mm(step_mm: float) -> float:
    """Return how far a voxel may lie from where it is expected, in slices that are so far apart."""
    return min(DISPLACEMENT_TOLERANCE_MM, _DISPLACEMENT_TOLERANCE_OF_SPACING * step_mm)
