"""What an NRRD file's header promises, checked before a reader allocates it: clients send such files to our server.

Readers inflate all that a file holds, whatever its header promises, and differ in what they take for a field or for the
header's end: a header that they could understand in two ways is refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from monai_vggunet.data.promise import MOST_TIMES_DEFLATED, Promise
from monai_vggunet.regular_files import open_regular

__all__ = [
    "LONGEST_HEADER",
    "doubt_in_nrrd",
    "doubt_in_open_nrrd",
    "nrrd_header",
    "nrrd_promise",
]

LONGEST_HEADER = 1 << 20  # bytes; that of a segmentation by 3D Slicer describes each segment, in some kB

_MAGIC = b"NRRD000"
# A line without a printable character: readers drop blanks, and what is not ASCII.
_END = re.compile(rb"\n[^!-~\n]*\n")
_LINE_END = re.compile(r"\r?\n|\r")
_AFTER_NAME = re.compile(r":=?")
# http://teem.sourceforge.net/nrrd/format.html#detached: the voxels lie in other files, which the header names. Readers
# differ in the blanks they accept within the field's name and before its value: all forms are recognized.
_DETACHED = re.compile(rb"(?:^|[\r\n])\s*data\s*file\s*:", re.IGNORECASE)
# The voxels begin somewhere behind the header; no writer compresses such files.
_SKIPPING = re.compile(rb"(?:^|[\r\n])\s*(?:line|byte)\s*skip\s*:", re.IGNORECASE)
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
_COMPRESSED = ("gz", "gzip", "bz2", "bzip2")
_BLOCK = 1 << 20  # bytes inflated at once


def doubt_in_nrrd(path: Path, may_be_blank: bool) -> str:
    """Return why an NRRD file must not be read; empty if it may be.

    Args:
        path: the file.
        may_be_blank: see `Promise.doubt`.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return doubt_in_open_nrrd(file, path.stat().st_size, may_be_blank)


def doubt_in_open_nrrd(file: BinaryIO | io.FileIO, file_bytes: int, may_be_blank: bool) -> str:
    """Return why an NRRD file must not be read; empty if it may be.

    A compressed one is inflated, block by block and no further than its header promises, and nothing is kept.

    Args:
        file: at its beginning.
        file_bytes: its size.
        may_be_blank: see `Promise.doubt`.

    Raises:
        OSError: it cannot be read.
    """
    header = _header_in(file.read(LONGEST_HEADER) or b"")
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
    doubt = promise.doubt(file_bytes, most_times, may_be_blank, most_times_longer)
    if doubt or encoding not in _COMPRESSED:
        return doubt
    if _SKIPPING.search(header):
        return "says that compressed voxels begin elsewhere than behind its header: save it anew"
    file.seek(len(header))
    stream = gzip.GzipFile(fileobj=file) if encoding.startswith("g") else bz2.BZ2File(file)
    return _doubt_in_voxels(stream, promise.voxels * promise.value_bytes)


def _doubt_in_voxels(stream: gzip.GzipFile | bz2.BZ2File, promised_bytes: int) -> str:
    """Return why compressed voxels must not be read; empty if they inflate to what is promised."""
    found = 0
    try:
        while block := stream.read(min(_BLOCK, promised_bytes + 1 - found)):
            found += len(block)
            if found > promised_bytes:
                return f"inflates to more than the {promised_bytes:,} bytes that its header promises: restore the file"
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return "holds voxels that cannot be inflated: a truncated or damaged file; restore it"
    return ""


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
    """Return the fields of a header (`sizes: 5 6 7`) and its key/value pairs (`Segment0_Name:=liver`).

    Some readers take a pair for a field. What is there twice is left out: readers differ in which one they take.
    """
    found: dict[str, list[str]] = {}
    for line in _LINE_END.split(header.decode("latin-1")):
        name, *value = _AFTER_NAME.split(line, maxsplit=1)
        if value and not name.startswith("#"):
            found.setdefault(name.strip().lower(), []).append(value[0].strip())
    return {name: values[0] for name, values in found.items() if len(values) == 1}
