"""Archives recognized by their first bytes: nothing in them is read, and the user is asked to unpack them."""

from __future__ import annotations

from pathlib import Path

from monai_vggunet.regular_files import open_regular

__all__ = ["archive_kind"]

_KINDS = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without any file in it
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
# A tar archive says what it is only behind the name and the numbers of its first file (POSIX ustar).
_TAR_AT, _TAR = 257, b"ustar"


def archive_kind(path: Path) -> str:
    """Return the kind of archive that a file is, such as `zip`; empty if it is not an archive.

    Args:
        path: a regular file.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    with open_regular(path) as file:
        start = file.read(_TAR_AT + len(_TAR)) or b""
    if start[_TAR_AT:] == _TAR:
        return "tar"
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), "")
