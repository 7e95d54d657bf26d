"""Files that a request may carry: volumes that hold their voxels themselves, under a name of our own.

A client's name for a file is a path of its machine (3D Slicer sends it whole) and may name a patient; of it the ending
alone is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from monai_vggunet.annotation.front.values import BAD_VALUE
from monai_vggunet.annotation.shown import shown
from monai_vggunet.data.nrrd_header import LONGEST_HEADER, begins_as_nrrd, header_in, names_other_files
from monai_vggunet.errors import RequestRefusedError

__all__ = ["UPLOADED", "safe_file_name"]

UPLOADED = "upload"  # the name under which MONAI Label gets to know every file
GZIP = b"\x1f\x8b"  # RFC 1952
NIFTI_HEADER_SIZES = (348, 540)  # NIfTI-1 and NIfTI-2: the first four bytes, in either order of bytes


def safe_file_name(file_name: str | None, content: BinaryIO) -> str:
    """Return the name under which an upload is passed on.

    Args:
        file_name: the client's.
        content: of the file; read from its beginning, and set back to it.

    Raises:
        RequestRefusedError: it is no NIfTI or NRRD file, or one whose voxels lie in another file.
    """
    lower = (file_name or "").lower()
    ending = next((ending for ending in _BEGINNINGS if lower.endswith(ending)), None)
    if ending is None:
        expected = ", ".join(_BEGINNINGS)
        end = re.split(r"[/\\]", file_name or "")[-1].rpartition(".")[2]
        raise RequestRefusedError(f"the file's name ends with {shown(end)}; expected one of {expected}", BAD_VALUE)
    content.seek(0)
    fault = _BEGINNINGS[ending](content)
    content.seek(0)
    if fault:
        raise RequestRefusedError(f"the file is called {ending}, but {fault}", BAD_VALUE)
    return f"{UPLOADED}{ending}"


def _gzip_fault(content: BinaryIO) -> str:
    return "" if content.read(len(GZIP)) == GZIP else "does not begin as a gzip file does"


def _nifti_fault(content: BinaryIO) -> str:
    size = content.read(4)
    known = any(int.from_bytes(size, order) in NIFTI_HEADER_SIZES for order in ("little", "big"))
    return "" if known else "does not begin as a NIfTI file does"


def _nrrd_fault(content: BinaryIO) -> str:
    start = content.read(LONGEST_HEADER)
    if not begins_as_nrrd(start):
        return "does not begin as an NRRD file does"
    header = header_in(start)
    if not header:
        return "its header has no end"
    return "its voxels lie in another file, which its header names" if names_other_files(header) else ""


# The longer endings first: one file has several.
_BEGINNINGS: dict[str, Callable[[BinaryIO], str]] = {
    ".seg.nrrd": _nrrd_fault,
    ".nii.gz": _gzip_fault,
    ".nii": _nifti_fault,
    ".nrrd": _nrrd_fault,
}
