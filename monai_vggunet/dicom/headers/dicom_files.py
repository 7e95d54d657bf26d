"""Which files are DICOM: by their first bytes, and by what they are meant to be."""

from __future__ import annotations

from pathlib import Path

from monai_vggunet.file_kinds import DICOM_ENDINGS, ends_with
from monai_vggunet.regular_files import open_regular

__all__ = ["META_START", "has_prefix", "is_dicom_file", "is_meant_as_dicom", "opens_as_dicom"]

# PS3.10 7.1: 128 bytes of preamble, then the prefix, then group 0002 in explicit VR little endian.
_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
META_START = _PREAMBLE_BYTES + len(_PREFIX)
# A file written without preamble begins with group 0002 or 0008, little endian, and a small element number.
_HEADLESS_GROUPS = (b"\x02\x00", b"\x08\x00")
_HEADLESS_LARGEST_ELEMENT = 0x18


def has_prefix(start: bytes) -> bool:
    """Whether a file that begins so has preamble and prefix."""
    return start[_PREAMBLE_BYTES:META_START] == _PREFIX


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does: with preamble and prefix, or at once with group 0002 or 0008.

    Args:
        path: an existing file.

    Raises:
        OSError: if it cannot be opened, or is not a regular file.
    """
    with open_regular(path) as stream:
        start = stream.read(META_START) or b""
    if has_prefix(start):
        return True
    return (
        len(start) == META_START
        and start[:2] in _HEADLESS_GROUPS
        and int.from_bytes(start[2:4], "little") <= _HEADLESS_LARGEST_ELEMENT
    )


def opens_as_dicom(path: Path) -> bool:
    """Whether a file can be opened and is DICOM, see `is_dicom_file`."""
    try:
        return is_dicom_file(path)
    except OSError:
        return False


def is_meant_as_dicom(path: Path) -> bool:
    """Whether a path is to be read as DICOM: a folder, a file with a DICOM ending, or a DICOM file of any name.

    A file that cannot be opened counts if its name has no ending: other kinds are recognized by theirs.
    """
    if path.is_dir() or ends_with(path, DICOM_ENDINGS):
        return True
    try:
        return is_dicom_file(path)
    except OSError:
        return not path.suffix
