"""The matrix size that a compressed frame itself declares, so that no codec is let loose on one that contradicts it."""

from __future__ import annotations

from struct import Struct

__all__ = ["codestream_size"]

# JPEG 2000 (ISO 15444-1 A.5.1): start of codestream, then the image and tile size marker.
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_SIZES = Struct(">4L").unpack_from
_J2K_SIZES_OFFSET = 8  # behind both markers, segment length and capabilities

# JPEG and JPEG-LS (ISO 10918-1 B.2.2, 14495-1 C.2.2): start of image, then segments; a frame header is one of them.
_JPEG_START = b"\xff\xd8"
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment
_SEGMENT = Struct(">2sH").unpack_from
_HEIGHT_AND_WIDTH = Struct(">2H").unpack_from


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) as a JPEG, JPEG-LS or JPEG 2000 codestream declares them, None if it declares nothing.

    Args:
        frame: one compressed frame.

    Example:
        >>> codestream_size(bytes.fromhex("ffd8 ffc3 000b 10 0002 0003 01 01 11 00"))
        (2, 3)
    """
    start = frame.find(_J2K_START)
    if start >= 0:
        sizes = frame[start + _J2K_SIZES_OFFSET :][:16]
        if len(sizes) < 16:
            return None
        width, height, left, top = _J2K_SIZES(sizes)
        return height - top, width - left
    return _jpeg_size(frame) if frame[:2] == _JPEG_START else None


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    offset = len(_JPEG_START)
    while offset + 9 <= len(frame):
        marker, length = _SEGMENT(frame, offset)
        if marker[0] != 0xFF or marker[1] == _START_OF_SCAN:
            return None
        if marker[1] == 0xFF:  # fill bytes may stand before a marker
            offset += 1
        elif marker[1] in _ALONE:
            offset += 2
        elif marker[1] in _FRAME_MARKERS:
            height, width = _HEIGHT_AND_WIDTH(frame, offset + 5)
            return height, width
        else:
            offset += 2 + length
    return None
