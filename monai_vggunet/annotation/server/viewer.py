"""The viewer's own files: OHIF comes with MONAI Label, and its pages are views of one page."""

from __future__ import annotations

from pathlib import Path

import monailabel.endpoints
from monailabel.utils.others.generic import get_mime_type
from starlette.responses import FileResponse

from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.layout import INDEX

__all__ = ["read_viewer"]

FOLDER = Path(monailabel.endpoints.__file__).parent / "static" / "ohif"
NOT_FOUND = 404  # RFC 9110


def read_viewer(path: str) -> FileResponse:
    """Return one of the viewer's files, its page for one of its views; MONAI Label fails on folders.

    Args:
        path: below `/ohif/`, of names that lead nowhere else.

    Raises:
        RequestRefusedError: 404 for a folder, and for a file that is not there.
    """
    file = FOLDER / (path or INDEX)
    if not file.exists() and not file.suffix:  # the page reads the address itself: `viewer`, `monai-label`, ...
        file = FOLDER / INDEX
    if not file.is_file():
        raise RequestRefusedError("the viewer has no such file", NOT_FOUND)
    return FileResponse(file, media_type=get_mime_type(str(file)))
