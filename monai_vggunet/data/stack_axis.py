"""Along which axis a volume was stacked by the scanner, and which anatomical plane its slices lie in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation

__all__ = ["PLANES", "acquisition_plane", "spacing_of", "stack_axis"]

PLANES = ("sagittal", "coronal", "axial")  # of slices stacked along the patient axis R, A and S
ANISOTROPY = 1.2  # a spacing larger than the others by this factor marks the stack; less is rounding or zoom


def stack_axis(affine: np.ndarray, meta: Mapping[str, Any]) -> int:
    """Return the array axis along which slices are stacked.

    The DICOM reader knows it; a NIfTI header may say it (`dim_info`); else the axis with clearly the largest spacing
    is taken, and the last one of a volume with equal spacings (the convention of converters).
    """
    if meta.get("slice_axis") is not None:
        return int(meta["slice_axis"])
    declared = (int(np.asarray(meta.get("dim_info", 0)).ravel()[0]) >> 4) & 3  # NIfTI-1: bits 4 and 5
    if declared:
        return declared - 1
    spacing = spacing_of(affine)
    largest = int(np.argmax(spacing))
    return largest if spacing[largest] > ANISOTROPY * np.median(spacing) else 2


def acquisition_plane(affine: np.ndarray, meta: Mapping[str, Any]) -> str:
    """Return `axial`, `coronal` or `sagittal`: the plane nearest to the slices as they were acquired (RAS affine)."""
    return PLANES[int(io_orientation(affine)[stack_axis(affine, meta), 0])]


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Return the distance in mm between neighboring voxels along each of the three array axes."""
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
