"""What an NRRD file's header promises, checked before a reader allocates it: clients send such files to our server."""

from __future__ import annotations

import re
from pathlib import Path

from monai_vggunet.data.promise import MOST_TIMES_DEFLATED, Promise
from monai_vggunet.regular_files import open_regular

__all__ = [
    "LONGEST_HEADER",
    "doubt_in_nrrd",
    "doubt_in_nrrd_start",
    "nrrd_header",
    "nrrd_promise",
]

LONGEST_HEADER = 1 << 20  # bytes; that of a segmentation by 3D Slicer describes each segment, in some kB

_MAGIC = b"NRRD000"
_END = re.compile(rb"\n\r?\n")
# http://teem.sourceforge.net/nrrd/format.html#detached: the voxels lie in other files, which the header names. Readers
# differ in the blanks they accept within the field's name and before its value: all forms are recognized.
_DETACHED = re.compile(rb"(?:^|[\r\n])\s*data\s*file\s*:", re.IGNORECASE)
# The names of each type, by the bytes it takes (teem, "Definition of NRRD File Format", section 5).
_TYPES = {
    1: "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t",
    2: "short|short int|signed short|signed short int|int16|int16_t|ushort|unsigned short|unsigned short int|uint16|"
    "uint16_t",
    4: "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float",
    8: "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t|ulonglong|"
    "unsigned long long|unsigned long long int|uint64|uint64_t|double",
}
_VALUE_BYTES = {name: size for size, names in _TYPES.items() for name in names.split("|")}
# How much longer than itself what a file holds may be; None for texts, where a value takes two characters at least.
_ENCODINGS: dict[str, int | None] = {
    "raw": 1,
    "hex": 1,
    **dict.fromkeys(("txt", "text", "ascii"), None),
    **dict.fromkeys(("gz", "gzip"), MOST_TIMES_DEFLATED),
    **dict.fromkeys(("bz2", "bzip2"), 1 << 26),  # 45 bytes may stand for 45 MB
}
# Text takes up to five characters for one byte ("-128 "), and bzip2 makes noise a little longer.
_MOST_TIMES_LONGER = {"raw": 1, "gz": 1, "gzip": 1}
_OTHERS_LONGER = 8


def doubt_in_nrrd(path: Path, may_be_blank: bool) -> str:
    """Return why an NRRD file must not be read; empty if it may be.

    Args:
        path: the file.
        may_be_blank: see `Promise.doubt`.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return doubt_in_nrrd_start(file.read(LONGEST_HEADER) or b"", path.stat().st_size, may_be_blank)


def doubt_in_nrrd_start(start: bytes, file_bytes: int, may_be_blank: bool) -> str:
    """Return why an NRRD file must not be read; empty if it may be.

    Args:
        start: the file's first bytes, up to `LONGEST_HEADER`.
        file_bytes: its size.
        may_be_blank: see `Promise.doubt`.
    """
    header = _header_in(start)
    if not header:
        return "is not NRRD, or its header has no end: restore the file"
    if _names_other_files(header):
        return "names other files for its voxels; expected a file that holds its voxels itself: save it as one .nrrd"
    encoding = _fields(header).get("encoding", "").lower()
    promise = nrrd_promise(header)
    if promise is None or encoding not in _ENCODINGS:
        return "has no readable type, sizes and encoding: a damaged header; restore the file"
    most_times = _ENCODINGS[encoding]
    most_times = promise.value_bytes if most_times is None else most_times
    most_times_longer = _MOST_TIMES_LONGER.get(encoding, _OTHERS_LONGER)
    return promise.doubt(file_bytes, most_times, may_be_blank, most_times_longer)


def nrrd_promise(header: bytes) -> Promise | None:
    """Return what a header promises; None if it does not say."""
    fields = _fields(header)
    sizes = fields.get("sizes", "").split()
    value_bytes = _VALUE_BYTES.get(fields.get("type", "").lower())
    if value_bytes is None or not sizes or not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
        return None
    return Promise(tuple(map(int, sizes)), value_bytes, len(header))


def nrrd_header(path: Path) -> bytes:
    """Return the header of an NRRD file; empty if it has none, or one without an end.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return _header_in(file.read(LONGEST_HEADER) or b"")


def _header_in(start: bytes) -> bytes:
    """Return the header with which a file begins; empty if it has none, or one without an end.

    Args:
        start: the file's first bytes, up to `LONGEST_HEADER`.
    """
    end = _END.search(start)
    return start[: end.end()] if end and start.startswith(_MAGIC) else b""


def _names_other_files(header: bytes) -> bool:
    """Whether the voxels lie in other files than the header: it may name any on the machine."""
    return _DETACHED.search(header) is not None


def _fields(header: bytes) -> dict[str, str]:
    """Return the fields of a header (`sizes: 5 6 7`); key/value pairs (`Segment0_Name:=liver`) are none."""
    lines = [line.partition(": ") for line in header.decode("latin-1").splitlines() if ":=" not in line]
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon and not name.startswith("#")}
