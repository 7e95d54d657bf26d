"""Small files that promise or inflate to gigabytes."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

MEMBER_BYTES = 1 << 24  # of zeros, 16 kB compressed: a gzip file may be many of them one after the other


def nifti_header(shape: tuple[int, ...], dtype: str = "int16", **fields: Any) -> bytes:
    """Return the header of a `.nii` file and the four bytes behind it; `fields` overwrite what it says."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.diag([1.0, 1.0, 1.0, 1.0]), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4)


def zeros_in_gzip(n_bytes: int) -> bytes:
    """Return gzip members that inflate to so many zeros, to whole members at least."""
    return gzip.compress(bytes(MEMBER_BYTES)) * -(-n_bytes // MEMBER_BYTES)


def nifti_bomb(path: Path, shape: tuple[int, ...], inflated_bytes: int, dtype: str = "int16", **fields: Any) -> Path:
    """Write a `.nii.gz` file: a header that promises a shape, and so many zeros behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(nifti_header(shape, dtype, **fields)) + zeros_in_gzip(inflated_bytes))
    return path


def extension(esize: int) -> bytes:
    """Return the head of a NIfTI header extension that says it is so long."""
    return struct.pack("<ii", esize, 4)
