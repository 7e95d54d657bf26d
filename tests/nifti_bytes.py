"""Small NIfTI files as bytes, for requests that carry them."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel as nib
import numpy as np

__all__ = ["compressed_nifti_bytes", "nifti_bytes"]


def nifti_bytes(shape: tuple[int, ...] = (2, 3, 4), kind: Any = nib.Nifti1Image, dtype: str = "<i2") -> bytes:
    """Return a volume of noise, 1 mm apart."""
    voxels = np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)
    return kind(voxels, np.eye(4)).to_bytes()


def compressed_nifti_bytes(shape: tuple[int, ...] = (2, 3, 4)) -> bytes:
    """Return the same as `.nii.gz` has it."""
    return gzip.compress(nifti_bytes(shape), mtime=0)
