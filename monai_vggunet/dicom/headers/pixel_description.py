"""What a header says about its pixels, checked against the file's size before memory is allocated for them."""

from __future__ import annotations

import math
from typing import Any

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from monai_vggunet.dicom.headers.stored_pixels import PixelElement
from monai_vggunet.names import counted

__all__ = ["LONGEST_START", "LONGEST_TAIL", "contradiction_in_pixels", "promised_pixel_bytes"]

# What may follow the pixels: padding, digital signatures.
LONGEST_TAIL = 1 << 24
# What may precede them, where it is not known: private values, of which no more is ever skipped.
LONGEST_START = 1 << 28
# Codecs hardly make noise longer than it is.
_MOST_TIMES_LONGER = 2

_UNCOMPRESSED = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian})
# A file cut short is found, and named as such, when its pixels are read; one that promises several times its own size
# was never whole, and what it promises must not be allocated.
_MOST_TIMES_UNCOMPRESSED = 4
# Deflate cannot do better (RFC 1951: 258 bytes in 2 bits).
_MOST_TIMES_DEFLATED = 1040
# An empty 1024 x 1024 slice, 2 MB, takes some 700 bytes in JPEG 2000 with its header: 3,000 times. Nothing real does.
_MOST_TIMES_ENCODED = 10_000
# PS3.5 A.4: each frame is an item of its own, with a tag and a length.
_ITEM_BYTES = 8

# The longest series in one object, of perfusion or diffusion, have some ten thousand; each becomes a record in memory.
_MOST_FRAMES = 1 << 17
# Some software pads pixels to whole blocks of this size; a tiny frame is no longer. PS3.5 8.1.1 asks for even lengths.
_LONGEST_PADDING = 512
_EVEN_BYTES = 1

_LARGEST_BITS = 64


def contradiction_in_pixels(
    header: Any,
    frame_count: int,
    transfer_syntax: str,
    file_bytes: int,
    start: int = LONGEST_START,
    element: PixelElement | None = None,
) -> str:
    """Return how a header's description of its pixels contradicts itself or the file's size; empty if it does not.

    Args:
        header: data set, or an object that behaves like one; elements that it lacks are not judged.
        frame_count: NumberOfFrames.
        transfer_syntax: UID; empty if the file names none.
        file_bytes: size of the whole file.
        start: where the pixels begin in it, or may begin at most.
        element: that holds the pixels, if that is known.

    Example:
        >>> import pydicom
        >>> header = pydicom.Dataset()
        >>> header.Rows, header.Columns, header.BitsAllocated = 30000, 30000, 16
        >>> contradiction_in_pixels(header, 1, "1.2.840.10008.1.2.1", 530_000)
        '1 frame of 30000 x 30000 x 16 bits, 1,800,000,000 bytes, in a file of 530,000: a damaged header'
    """
    rows, columns = _word(header, "Rows") or 0, _word(header, "Columns") or 0
    allocated, samples = _word(header, "BitsAllocated"), _word(header, "SamplesPerPixel") or 1
    contradiction = _contradictory_bits(header, allocated)
    if contradiction:
        return contradiction
    size = _bytes_of(rows * columns * samples * (allocated or 1) * frame_count)
    most, least = file_bytes * _MOST_TIMES_ENCODED, frame_count * _ITEM_BYTES
    if transfer_syntax in _UNCOMPRESSED:
        most, least = file_bytes * _MOST_TIMES_UNCOMPRESSED, 0
    elif transfer_syntax == DeflatedExplicitVRLittleEndian:
        most, least = file_bytes * _MOST_TIMES_DEFLATED, 0
    frames = (
        f"{counted(frame_count, 'frame')} of {columns} x {rows} x {samples * (allocated or 1)} bits, {size:,} bytes"
    )
    if size > most or least > file_bytes:
        return f"{frames}, in a file of {file_bytes:,}: a damaged header"
    longest = start + size * (1 if transfer_syntax in _UNCOMPRESSED else _MOST_TIMES_LONGER) + LONGEST_TAIL
    if size and allocated and file_bytes > longest:
        return f"{frames}, in a file of {file_bytes:,}, expected up to {longest:,}: a damaged header or file"
    is_native = transfer_syntax in _UNCOMPRESSED or transfer_syntax == DeflatedExplicitVRLittleEndian
    if element and allocated and samples == 1 and is_native:
        contradiction = _contradictory_length(element.length, size, frame_count, f"{columns} x {rows}")
    if contradiction:
        return contradiction
    if frame_count > _MOST_FRAMES:
        return f"NumberOfFrames is {frame_count:,}, expected up to {_MOST_FRAMES:,}: a damaged header"
    return ""


def promised_pixel_bytes(header: Any) -> int:
    """Return how many bytes the pixels take uncompressed, as a header describes them; 0 if it describes none.

    Raises:
        ValueError: if one of these elements is not a number.
    """
    numbers = [_word(header, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    samples, frames = _word(header, "SamplesPerPixel") or 1, int(header.get("NumberOfFrames") or 1)
    return _bytes_of(math.prod(number or 0 for number in numbers) * samples * frames)


def _contradictory_length(length: int | None, size: int, frame_count: int, pixels: str) -> str:
    """Return how the length of uncompressed pixels contradicts their size."""
    if length is None:
        return "the pixels have no length, as compressed ones, but the transfer syntax is an uncompressed one"
    if length < size:
        return f"the pixels have {length:,} bytes, expected {size:,}: cut short, or a damaged header"
    if not _holds_more_frames(length, size, frame_count):
        return ""
    more = f"{length:,} bytes, {length / size * frame_count:.4g} frames of {pixels} pixels"
    return f"the pixels have {more}, but NumberOfFrames says {frame_count}: a damaged header"


def _holds_more_frames(length: int, size: int, frame_count: int) -> bool:
    """Whether pixels of so many bytes go on by a whole frame or more, which is no padding of their end."""
    frame, excess = size / max(1, frame_count), length - size
    if not frame or excess < frame:
        return False
    whole = min(excess % frame, (excess - _EVEN_BYTES) % frame) < 1
    return whole or excess > _LONGEST_PADDING


def _bytes_of(bits: int) -> int:
    return -(-bits // 8)


def _contradictory_bits(header: Any, allocated: int | None) -> str:
    """PS3.5 8.1.1: a value stands in BitsStored bits that end at HighBit, within BitsAllocated."""
    stored, high, representation = (_word(header, k) for k in ("BitsStored", "HighBit", "PixelRepresentation"))
    if representation not in (None, 0, 1):
        return f"PixelRepresentation is {representation}, expected 0 or 1: a damaged header"
    if allocated is None or stored is None:
        return ""
    high = stored - 1 if high is None else high
    if 0 < stored <= high + 1 <= allocated <= _LARGEST_BITS:
        return ""
    return f"BitsStored {stored} up to HighBit {high} in BitsAllocated {allocated}: a damaged header"


def _word(header: Any, keyword: str) -> int | None:
    """Return an unsigned number, None when it is absent.

    Raises:
        ValueError: if it is something else.
    """
    value = header.get(keyword)
    if value is None or value == "":
        return None
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{keyword} is not an unsigned number")
    return value
