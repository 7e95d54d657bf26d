"""Files that a request may carry: volumes that hold their voxels themselves, under a name of our own.

A client's name for a file is a path of its machine (3D Slicer sends it whole) and may name a patient; of it the ending
alone is kept. What a header promises is checked here, because MONAI Label's own app inflates whatever it is sent.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from monai_vggunet.annotation.front.values import BAD_VALUE
from monai_vggunet.data.nifti_file import START_BYTES, doubt_in_nifti
from monai_vggunet.data.nrrd_header import doubt_in_open_nrrd
from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, SLICER_ENDING
from monai_vggunet.names import shortened

__all__ = ["UPLOADED", "safe_file_name"]

UPLOADED = "upload"  # the name under which MONAI Label gets to know every file


def safe_file_name(file_name: str | None, content: BinaryIO, may_be_blank: bool = False) -> str:
    """Return the name under which an upload is passed on.

    Args:
        file_name: the client's.
        content: of the file; read from its beginning, and set back to it.
        may_be_blank: whether nearly empty content is plausible, as that of a label.

    Raises:
        RequestRefusedError: it is no NIfTI or NRRD file, one whose voxels lie in another file, or one that promises
            more voxels than it can hold, than fit into memory, or than is plausible.
    """
    lower = (file_name or "").lower()
    ending = next((ending for ending in _DOUBTS if lower.endswith(ending)), None)
    if ending is None:
        expected = ", ".join(_DOUBTS)
        end = re.split(r"[/\\]", file_name or "")[-1].rpartition(".")[2]
        raise RequestRefusedError(f"the file's name ends with {shortened(end)}; expected one of {expected}", BAD_VALUE)
    file_bytes = content.seek(0, io.SEEK_END)
    content.seek(0)
    doubt = _DOUBTS[ending](content, file_bytes, may_be_blank=may_be_blank)
    content.seek(0)
    if doubt:
        raise RequestRefusedError(f"the file is called {ending}, but {doubt}", BAD_VALUE)
    return f"{UPLOADED}{ending}"


def _doubt_in_nifti(content: BinaryIO, file_bytes: int, may_be_blank: bool, compressed: bool) -> str:
    return doubt_in_nifti(content.read(START_BYTES), file_bytes, compressed, may_be_blank)


# The longer endings first: one file has several.
_DOUBTS: dict[str, Callable[..., str]] = {
    SLICER_ENDING: doubt_in_open_nrrd,
    **{ending: partial(_doubt_in_nifti, compressed=ending.endswith(".gz")) for ending in NIFTI_ENDINGS},
    NRRD_ENDING: doubt_in_open_nrrd,
}
