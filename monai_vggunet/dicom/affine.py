"""Facts of an affine alone: the edges of its voxels, plausible scales, and DICOM's coordinates turned into NIfTI's."""

from __future__ import annotations

import numpy as np

from monai_vggunet.dicom.headers.records import Vector3

__all__ = ["MOST_POSITION_MM", "doubt_in_scale", "edges_mm", "lps_to_ras", "ras_to_lps"]

# What images can have: from a nanometer (electron microscopy) to several times the coarsest pixels in use, some 10 mm
# (nuclear medicine). Slices of a scout lie further apart, but all within a body. Scanners' coordinates begin in the
# scanner, or where the patient lies.
LEAST_EDGE_MM = 1e-6
MOST_PIXEL_MM = 50.0
MOST_STEP_MM = 1000.0
MOST_POSITION_MM = 1e6

# Left becomes right, posterior anterior; doing it twice changes nothing.
_X_AND_Y_TURNED = np.diag([-1.0, -1.0, 1.0, 1.0])


def edges_mm(affine: np.ndarray) -> Vector3:
    """Return the length of a voxel's three edges."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return float(edges[0]), float(edges[1]), float(edges[2])


def lps_to_ras(affine: np.ndarray) -> np.ndarray:
    """Convert an affine to DICOM's patient coordinates (LPS, PS3.3 C.7.6.2.1.1) into one to NIfTI's (RAS).

    x and y change sign. Only this function and its inverse `ras_to_lps` do so; a test looks for others.

    Args:
        affine: `(4, 4)`, voxel index to LPS mm.
    """
    return _X_AND_Y_TURNED @ affine


def ras_to_lps(affine: np.ndarray) -> np.ndarray:
    """Convert an affine to NIfTI's coordinates (RAS) into one to DICOM's (LPS): see `lps_to_ras`.

    Args:
        affine: `(4, 4)`, voxel index to RAS mm.
    """
    return _X_AND_Y_TURNED @ affine


def doubt_in_scale(affine: np.ndarray, stack_axis: int = 2) -> str:
    """Return why no image can have such voxels or such a position; empty if one can.

    Args:
        affine: 4x4, voxel to mm.
        stack_axis: the array axis along which slices follow each other.

    Example:
        >>> doubt_in_scale(np.diag([70.0, 70.0, 5.0, 1.0]))
        'voxels of 70 x 70 x 5 mm; expected 1e-06 to 50 mm in a slice and up to 1000 mm from slice to slice'
    """
    edges = edges_mm(affine)
    most = [MOST_STEP_MM if axis == stack_axis else MOST_PIXEL_MM for axis in range(3)]
    if not all(LEAST_EDGE_MM <= edge <= limit for edge, limit in zip(edges, most)):
        found = " x ".join(f"{edge:.4g}" for edge in edges)
        return (
            f"voxels of {found} mm; expected {LEAST_EDGE_MM:g} to {MOST_PIXEL_MM:g} mm in a slice and up to "
            f"{MOST_STEP_MM:g} mm from slice to slice"
        )
    if not np.abs(affine[:3, 3]).max() <= MOST_POSITION_MM:
        return f"its first voxel at {affine[:3, 3].tolist()} mm; expected up to {MOST_POSITION_MM:g} mm from the origin"
    return ""
