"""A volume with gaps or a tilted gantry -> an evenly spaced, orthogonal one, on request.

The readers' default is to refuse a gap and to keep a tilt as the exact, sheared affine. Resampling changes values: a
resampled slice is no longer an instance of the series, and a mask of it lies on the new grid, not on the source's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from monai_vggunet.dicom.affine import edges_mm
from monai_vggunet.dicom.findings import FindingKind, warning
from monai_vggunet.dicom.geometry import VolumeGeometry
from monai_vggunet.errors import DicomGeometryError
from monai_vggunet.memory import lack_of_memory

__all__ = ["resample_volume"]

# Steps within this factor of the smallest one count as the regular step.
REGULAR_STEP = 1.1
# At least this share of the new slices must have a slice of the series within half a step, or gaps prevail.
LEAST_SHARE_MEASURED = 0.5
# A gantry tilts by 30 degrees at most; even a stack that is longer than its slices are wide then grows less than this.
MOST_TIMES_WIDER = 4
VOXEL_BYTES = 4  # float32
# Shifts and weights below this (in voxels) leave a slice as it is, so that measured values stay as they were.
NEGLIGIBLE = 1e-3


def resample_volume(array: np.ndarray, geometry: VolumeGeometry) -> tuple[np.ndarray, VolumeGeometry]:
    """Interpolate linearly onto the grid that `geometry.to_resample` asks for.

    `gap`: slices at even steps of the series' regular step, from the first slice on; missing ones are interpolated
    between their neighbors. `tilt`: every slice is shifted in its plane until the stack is orthogonal; the matrix
    grows so that whole pixels are never cut off; voxels that are not between measured ones get the volume's smallest
    value.

    Args:
        array: (columns, rows, slices), as read in the order of `geometry.frames`.
        geometry: of the volume as it was acquired.

    Returns:
        The array (columns, rows, slices), float32, and its geometry without frames: its slices are no longer instances.

    Raises:
        DicomGeometryError: if most of the new slices, or of their pixels, would be interpolated; or for lack of memory.
    """
    frames = geometry.frames
    basis = np.array(geometry.affine_lps[:3, :3])
    normal = np.cross(basis[:, 0], basis[:, 1])
    basis[:, 2] = normal / np.linalg.norm(normal)
    placed = np.linalg.solve(basis, np.array([frame.position_lps_mm for frame in frames], dtype=float).T).T
    in_plane, along = placed[:, :2], placed[:, 2]  # in pixels, in mm
    target = _even_steps(along) if "gap" in geometry.to_resample else along
    line = _line_through(in_plane, along, straight="tilt" in geometry.to_resample)
    shifts = in_plane - line(along)
    low = np.floor(shifts.min(axis=0) + NEGLIGIBLE).astype(int)
    high = np.ceil(shifts.max(axis=0) - NEGLIGIBLE).astype(int)
    size = np.array(array.shape[:2]) + high - low
    _require_one_volume(array.shape, size, len(target))

    smallest = float(array.min())
    result = np.empty((len(target), size[1], size[0]), dtype=np.float32)
    for index, place in enumerate(target):
        after = int(np.clip(np.searchsorted(along, place), 1, len(along) - 1))
        weight = float(np.clip((place - along[after - 1]) / (along[after] - along[after - 1]), 0.0, 1.0))
        weight = round(weight) if min(weight, 1 - weight) < NEGLIGIBLE else weight
        result[index] = 0.0
        for source, share in ((after - 1, 1 - weight), (after, weight)):
            if share > 0:
                result[index] += np.float32(share) * _shifted(array[..., source], shifts[source] - low, size).T
        np.nan_to_num(result[index], copy=False, nan=smallest)

    affine = np.eye(4)
    affine[:3, :2] = basis[:, :2]
    ends = [basis @ np.append(line(target[[end]])[0] + low, target[end]) for end in (0, -1)]
    affine[:3, 2] = (ends[1] - ends[0]) / (len(target) - 1)
    affine[:3, 3] = ends[0]
    edges = edges_mm(affine)
    text = f"resampled to {size[0]} x {size[1]} x {len(target)} voxels, {edges[2]:.4g} mm between slices"
    return result.transpose(2, 1, 0), replace(
        geometry,
        frames=(),
        affine_lps=affine,
        spacing_mm=edges,
        gantry_tilt_deg=0.0 if "tilt" in geometry.to_resample else geometry.gantry_tilt_deg,
        findings=(*geometry.findings, warning(FindingKind.RESAMPLED, text)),
        to_resample=(),
    )


def _require_one_volume(shape: tuple[int, ...], size: np.ndarray, count: int) -> None:
    """Refuse slices so far to the side of each other that the new matrix would be mostly empty, or fill memory."""
    described = f"resampling slices of {shape[0]} x {shape[1]} voxels would make {count} of {size[0]} x {size[1]}"
    if (size > MOST_TIMES_WIDER * np.array(shape[:2])).any():
        raise DicomGeometryError(
            f"{described}: they lie too far to the side of each other for a tilted gantry; pass on_tilt='keep' "
            "(--on-tilt keep), or give the parts one by one",
            FindingKind.MOSTLY_INTERPOLATED,
        )
    lacking = lack_of_memory(VOXEL_BYTES * int(size[0]) * int(size[1]) * count)
    if lacking:
        raise DicomGeometryError(f"{described}: {lacking}", FindingKind.TOO_LARGE)


def _even_steps(along: np.ndarray) -> np.ndarray:
    """Return places at the regular step over the extent of the slices, in mm along the normal."""
    steps = np.diff(along)
    step = float(np.median(steps[steps <= REGULAR_STEP * steps.min()]))
    count = int(np.floor((along[-1] - along[0]) / step + 0.1)) + 1
    if count * LEAST_SHARE_MEASURED > len(along):
        raise DicomGeometryError(
            f"resampling {len(along)} slices at even steps of {step:.4g} mm would make {count} slices, most of them "
            "without a measured one: this is not one volume; give its parts one by one",
            FindingKind.MOSTLY_INTERPOLATED,
        )
    return along[0] + step * np.arange(count)


def _line_through(in_plane: np.ndarray, along: np.ndarray, straight: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return where in the plane (pixels) the first voxel of a slice at a given place (mm) shall lie."""
    if straight:
        middle = in_plane[len(in_plane) // 2]
        return lambda places: np.tile(middle, (len(places), 1))
    slope, start = np.polyfit(along, in_plane, 1)
    return lambda places: np.outer(places, slope) + start


def _shifted(plane: np.ndarray, shift: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Place a slice (columns, rows) into a larger one, moved by a fraction of pixels, linearly; NaN outside it."""
    for axis in (0, 1):
        whole = int(np.floor(shift[axis] + NEGLIGIBLE))
        part = float(shift[axis] - whole)
        spare = int(size[axis]) - plane.shape[axis]
        if part < NEGLIGIBLE:
            plane = _padded(plane, axis, whole, spare - whole)
        else:
            one = _padded(plane, axis, whole, spare - whole)
            other = _padded(plane, axis, whole + 1, spare - whole - 1)
            plane = np.float32(1 - part) * one + np.float32(part) * other
    return plane


def _padded(plane: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    widths = [(0, 0), (0, 0)]
    widths[axis] = (before, after)
    return np.pad(plane, widths, constant_values=np.nan)
