"""The server's own temporary folder: what lies in it, the server put there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["is_own_file", "use_own_folder"]

# Removed when the process ends, `kill -9` apart.
_folder: tempfile.TemporaryDirectory[str] | None = None


def use_own_folder() -> None:
    """Let this process make its temporary files, uploads among them, in a folder that its user alone may enter.

    MONAI Label picks names for uploads and opens them later: in a folder that all may write, another could be there
    first.
    """
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="monai-label-")  # 0700
        tempfile.tempdir = _folder.name


def is_own_file(path: str | os.PathLike[str]) -> bool:
    """Whether the server itself put a file into its folder."""
    place = Path(path)
    return _folder is not None and place.parent == Path(_folder.name) and place.is_file() and not place.is_symlink()
