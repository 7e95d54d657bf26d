"""The folder of a data set as a user names it, or why there is none."""

from __future__ import annotations

import os
from pathlib import Path

from monai_vggunet.errors import DatasetError
from monai_vggunet.regular_files import IRREGULAR, is_irregular

__all__ = ["existing_folder", "expanded", "rewritten_path"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` as the home folder, unless something of that very name is there."""
    return Path(path) if os.path.lexists(path) else Path(os.path.expanduser(path))


def existing_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder that holds something, without links in its path.

    Raises:
        DatasetError: it is missing, empty, no folder, or cannot be listed.
    """
    root = Path(os.path.realpath(expanded(folder)))
    if "::" in str(root) and not root.exists() and os.path.exists(str(root).replace("::", "#")):
        raise rewritten_path(root)
    if is_irregular(root):
        raise DatasetError(f"{root} is {IRREGULAR}; expected a folder, or an image file")
    if root.is_file():
        raise DatasetError(f"{root} is a file; expected a folder with images/ and labels/, or with a dataset.json")
    if not root.is_dir():
        raise DatasetError(f"{root} does not exist: correct the path (--dataset_dir in the bundle)")
    try:
        empty = not any(root.iterdir())
    except OSError as error:
        raise DatasetError(f"the folder {root} cannot be listed: {error.strerror}") from error
    if empty:
        raise DatasetError(f"the folder {root} is empty; expected images, or folders of DICOM files")
    return root


def rewritten_path(root: Path) -> DatasetError:
    """Return the refusal of a path that MONAI's config language changes."""
    return DatasetError(
        f"the path {str(root).replace('::', '#')} holds a '#', which MONAI's config language rewrites: rename the "
        "folder, or link to it"
    )
