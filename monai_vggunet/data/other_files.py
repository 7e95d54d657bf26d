"""Files that are neither DICOM, NIfTI nor pictures: refused with a reason, before another reader guesses at them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from monai.data import ImageReader

from monai_vggunet.data.nrrd_header import doubt_in_nrrd
from monai_vggunet.dicom.headers.archives import archive_kind
from monai_vggunet.errors import ImageReadError
from monai_vggunet.file_kinds import NRRD_ENDING, ends_with

__all__ = ["OtherFileReader"]

EXPECTED = "expected a DICOM series, NIfTI (.nii, .nii.gz) or a picture (PNG, JPEG, BMP, TIFF)"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class _Refused:
    """Why a file is not read."""

    reason: str


class OtherFileReader(ImageReader):
    """Stands before MONAI's default readers, which take whatever they can open: only honest NRRD files pass.

    Args:
        may_be_blank: see `Promise.doubt`.

    Raises:
        ImageReadError: in `get_data`, for any file that is given.
    """

    def __init__(self, may_be_blank: bool = False) -> None:
        super().__init__()
        self.may_be_blank = may_be_blank

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Return True: any file is checked here."""
        return True

    def read(self, data: Any, **kwargs: Any) -> _Refused:
        """Return the refusal of a file.

        Raises:
            ImageReadError: for an NRRD file that may be read, so that `LoadImage` goes on to MONAI's readers.
        """
        paths = [Path(item) for item in ([data] if isinstance(data, (str, os.PathLike)) else data)]
        if len(paths) != 1:
            return _Refused(f"got {len(paths)} files; {EXPECTED}")
        try:
            reason = self._reason(paths[0])
        except OSError as error:
            reason = f"cannot be read: {error.strerror or type(error).__name__}"
        if reason:
            return _Refused(f"{paths[0]} {reason}")
        raise ImageReadError("left to MONAI's readers")

    def get_data(self, img: _Refused) -> NoReturn:
        """Refuse the file."""
        raise ImageReadError(img.reason)

    def _reason(self, path: Path) -> str:
        if not path.exists():
            return f"does not exist; {EXPECTED}"
        if ends_with(path, NRRD_ENDING):
            return doubt_in_nrrd(path, self.may_be_blank)
        kind = archive_kind(path)
        if kind:
            return f"is a {kind} archive: unpack it, and give the folder"
        return f"is of a kind that is not read; {EXPECTED}"
