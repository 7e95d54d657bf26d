"""What can be said of an affine alone: its voxels' edges, and DICOM's coordinates against NIfTI's."""

from __future__ import annotations

import numpy as np

from monai_vggunet.dicom.records import Vector3

__all__ = ["edges_mm", "lps_to_ras"]


def edges_mm(affine: np.ndarray) -> Vector3:
    """Return the length of a voxel's three edges."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return float(edges[0]), float(edges[1]), float(edges[2])


def lps_to_ras(affine: np.ndarray) -> np.ndarray:
    """Turn an affine into DICOM's LPS coordinates to NIfTI's RAS, or back: x and y change sign. The one such place."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
