"""Small files that promise or inflate to gigabytes."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

SPARSE_BYTES = 10 << 40  # that a file may claim without holding them
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


def deflated(content: bytes, n_zeros: int) -> bytes:
    """Return a raw deflate stream of some bytes and so many zeros behind them, to whole members at least."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = compress.compress(content) + compress.flush(zlib.Z_FULL_FLUSH)
    compress.compress(bytes(MEMBER_BYTES))
    compress.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what came before: the same bytes may follow again and again.
    member = compress.compress(bytes(MEMBER_BYTES)) + compress.flush(zlib.Z_FULL_FLUSH)
    return start + member * -(-n_zeros // MEMBER_BYTES) + compress.flush(zlib.Z_FINISH)


def data_set_of(path: Path) -> tuple[bytes, bytes]:
    """Return what stands before the data set of a DICOM file with a whole meta group, and the data set."""
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    return content[:start], content[start:]


def deflate_series(folder: Path, before_pixels: bytes = b"", pixel_bytes: int | None = None) -> list[Path]:
    """Rewrite the files of an explicit little endian series as Deflated Explicit VR Little Endian.

    Args:
        folder: of the series.
        before_pixels: elements put before PixelData, as the data set holds them.
        pixel_bytes: length of PixelData, zeros, instead of the file's own.
    """
    files = sorted(folder.iterdir())
    for path in files:
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        pixels = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, len(dataset.PixelData))
        meta, data_set = data_set_of(path)
        header, pixel_data = data_set.split(pixels, 1)
        head = io.BytesIO()
        dataset.save_as(head)  # a meta group with the other transfer syntax
        meta = head.getvalue()[: 144 + int.from_bytes(head.getvalue()[140:144], "little")]
        n_zeros = 0
        if pixel_bytes is not None:
            pixels, pixel_data, n_zeros = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, pixel_bytes), b"", pixel_bytes
        path.write_bytes(meta + deflated(header + before_pixels + pixels + pixel_data, n_zeros))
    return files


def zeros_deflated(n_bytes: int) -> bytes:
    """Return a raw deflate stream of so many zeros, to whole members at least."""
    return deflated(b"", n_bytes)
