"""Only regular files are opened: a pipe or a device in a folder would keep its reader waiting forever."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from monai_vggunet.errors import ImageReadError, IrregularFileError
from monai_vggunet.names import readable

__all__ = [
    "IRREGULAR",
    "is_irregular",
    "open_regular",
    "read_start",
    "read_text",
    "refuse_irregular",
    "require_regular",
]

IRREGULAR = "not a regular file (a pipe, a device, ...)"
# Opening a pipe then does not wait for a writer; for a regular file it changes nothing.
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)
_WITHOUT_FOLLOWING = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: str | os.PathLike[str], follow_link: bool = True) -> io.FileIO:
    """Open a regular file, or a link to one, for reading bytes, without a buffer.

    The path is checked before it is opened, because opening some devices is using them, and once more afterwards,
    because it may have been replaced.

    Args:
        path: the file.
        follow_link: whether a link may lead to it.

    Raises:
        IrregularFileError: it is not a regular file.
        OSError: it cannot be opened.
    """
    require_regular(path)
    more_flags = _WITHOUT_WAITING | (0 if follow_link else _WITHOUT_FOLLOWING)
    file = io.FileIO(os.fspath(path), opener=lambda name, flags: os.open(name, flags | more_flags))
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise _irregular(path)


def read_start(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return the first bytes of a regular file: all of them if it has no more than `most_bytes`.

    Raises:
        IrregularFileError, OSError: see `open_regular`.
    """
    with open_regular(path) as file:
        data = file.read(most_bytes) or b""  # None: a system file that has no data now
        while len(data) < most_bytes and (more := file.read(most_bytes - len(data))):
            data += more
    return data


def read_text(path: str | os.PathLike[str]) -> str:
    """Return a regular file's content, which is UTF-8.

    Raises:
        IrregularFileError, OSError: see `open_regular`.
        UnicodeDecodeError: it is not UTF-8.
    """
    with open_regular(path) as file:
        return (file.readall() or b"").decode("utf-8")  # None: a system file that has no data now


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a path to anything but a regular file, before a library opens it.

    Raises:
        IrregularFileError: a pipe, a socket, a device or a folder.
        OSError: nothing is there.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _irregular(path)


def is_irregular(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to something that is neither a file nor a folder; a missing path is not irregular."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_irregular(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is neither a file with content nor a folder; a missing path is left to whoever opens it.

    Raises:
        IrregularFileError: it is a pipe, a socket or a device.
        ImageReadError: it is empty (so are system files by their size, and some never end), or a broken link.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            raise ImageReadError(f"{readable(path)} is a broken link: restore the file that it leads to") from error
        return
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise IrregularFileError(f"{readable(path)} is {IRREGULAR}; expected a file, or a folder of DICOM files")
    if not status.st_size:
        raise ImageReadError(f"{readable(path)} is empty (0 bytes); expected a file with content: restore it")


def _irregular(path: str | os.PathLike[str]) -> IrregularFileError:
    return IrregularFileError(f"{readable(Path(path).name)} is {IRREGULAR}; expected a file: remove it from the input")
