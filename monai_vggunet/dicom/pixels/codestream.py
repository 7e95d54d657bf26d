"""What a compressed frame says it decodes to: no codec gets to see one that contradicts its header."""

from __future__ import annotations

from itertools import pairwise
from struct import Struct

__all__ = ["codestream_components", "codestream_size", "rle_length", "starts_codestream"]

# JPEG 2000 (ISO 15444-1 A.5.1): start of codestream, then the image and tile size marker.
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_SIZES = Struct(">8LH").unpack_from
_J2K_SIZES_OFFSET = 8  # behind both markers, segment length and capabilities
# The same wrapped in boxes (I.4, I.5.1), one of which holds the codestream. DICOM forbids this, but codecs read it.
_JP2_START = bytes.fromhex("0000000c 6a502020 0d0a870a")
_JP2_CODESTREAM = b"jp2c"
_BOX = Struct(">L4s").unpack_from
_LONG_BOX = Struct(">Q").unpack_from
_J2K_SIZES_BYTES, _BOX_BYTES, _LONG_BOX_BYTES = 34, 8, 8

# JPEG and JPEG-LS (ISO 10918-1 B.2.2, 14495-1 C.2.2): start of image, then segments; a frame header is one of them.
_JPEG_START = b"\xff\xd8"
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
_SEGMENT = Struct(">2sH").unpack_from
_HEIGHT_WIDTH_COMPONENTS = Struct(">2HB").unpack_from

# RLE (PS3.5 G.5): the number of segments, then where each begins.
_RLE_HEADER = Struct("<16L").unpack_from
_RLE_NO_OPERATION = 128


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) as a JPEG, JPEG-LS or JPEG 2000 codestream declares them, None if it declares nothing.

    Args:
        frame: one compressed frame.

    Example:
        >>> codestream_size(bytes.fromhex("ffd8 ffc3 000b 10 0002 0003 01 01 11 00"))
        (2, 3)
    """
    declared = _declared(frame)
    return None if declared is None else declared[:2]


def codestream_components(frame: bytes) -> int | None:
    """Return how many values per pixel the same codestreams declare, None if they declare nothing.

    Args:
        frame: one compressed frame.

    Example:
        >>> codestream_components(bytes.fromhex("ffd8 ffc3 000b 10 0002 0003 01 01 11 00"))
        1
    """
    declared = _declared(frame)
    return None if declared is None else declared[2]


def starts_codestream(fragment: bytes) -> bool:
    """Whether a fragment begins a JPEG, JPEG-LS or JPEG 2000 codestream, and so a frame.

    Args:
        fragment: its first bytes, at least 12.

    Example:
        >>> starts_codestream(bytes.fromhex("ff4f ff51 0029 0000 0000 0200"))
        True
    """
    return fragment.startswith((_JPEG_START, _J2K_START, _JP2_START))


def rle_length(frame: bytes, limit: int) -> int:
    """Return how many bytes an RLE frame decodes to, or a number beyond the limit as soon as it is reached.

    Args:
        frame: one compressed frame.
        limit: how far to count.

    Raises:
        struct.error: if it has no header.
    """
    header = _RLE_HEADER(frame)
    bounds = [*header[1 : header[0] + 1], len(frame)]
    length = 0
    for start, end in pairwise(bounds):
        place = start
        while place < end - 1 and length <= limit:
            count = frame[place]
            if count > _RLE_NO_OPERATION:  # the next byte, repeated
                length, place = length + 257 - count, place + 2
            elif count < _RLE_NO_OPERATION:  # the next bytes, as they are
                length, place = length + count + 1, place + count + 2
            else:
                place += 1
    return length


def _declared(frame: bytes) -> tuple[int, int, int] | None:
    """Return rows, columns and values per pixel."""
    if frame[:2] == _JPEG_START:
        return _jpeg_frame_header(frame)
    start = _codestream_start(frame)
    if start is None or len(frame) < start + _J2K_SIZES_OFFSET + _J2K_SIZES_BYTES:
        return None
    width, height, left, top, *_, components = _J2K_SIZES(frame, start + _J2K_SIZES_OFFSET)
    return height - top, width - left, components


def _codestream_start(frame: bytes) -> int | None:
    """Return where a JPEG 2000 codestream begins, within its boxes if it has any."""
    offset = 0
    if frame.startswith(_JP2_START):
        while offset + _BOX_BYTES + _LONG_BOX_BYTES <= len(frame):
            length, kind = _BOX(frame, offset)
            start = offset + _BOX_BYTES
            if length == 1:
                (length,) = _LONG_BOX(frame, start)
                start += _LONG_BOX_BYTES
            if kind == _JP2_CODESTREAM:
                offset = start
                break
            if length < start - offset:  # 0 stands for a box up to the end
                return None
            offset += length
    return offset if frame.startswith(_J2K_START, offset) else None


def _jpeg_frame_header(frame: bytes) -> tuple[int, int, int] | None:
    offset = len(_JPEG_START)
    while offset + 10 <= len(frame):
        marker, length = _SEGMENT(frame, offset)
        if marker[0] != 0xFF or marker[1] == _START_OF_SCAN:
            return None
        if marker[1] == 0xFF:  # fill bytes may stand before a marker
            offset += 1
        elif marker[1] in _ALONE:
            offset += 2
        elif marker[1] in _FRAME_MARKERS:
            return _HEIGHT_WIDTH_COMPONENTS(frame, offset + 5)
        else:
            offset += 2 + length
    return None
