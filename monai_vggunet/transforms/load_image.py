"""MONAI's `LoadImaged` for untrusted folders: a pipe or a device is refused before any reader opens it."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

from monai.data import ImageReader
from monai.transforms import LoadImaged

from monai_vggunet.regular_files import refuse_irregular

__all__ = ["LoadImageFiled"]


class LoadImageFiled(LoadImaged):
    """`LoadImaged` for regular files and folders only; arguments are those of `LoadImaged`.

    Its readers open whatever path they are given, and reading a pipe or a device may never end.

    Raises:
        IrregularFileError: names the path.
    """

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """Load every key."""
        for key in self.key_iterator(dict(data)):
            paths = data[key]
            for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
                refuse_irregular(path)
        return super().__call__(data, reader)


LoadImageFileD = LoadImageFileDict = LoadImageFiled
