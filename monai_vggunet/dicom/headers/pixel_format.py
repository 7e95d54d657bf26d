"""How a file's header says that its pixels are coded, and which stored values stand for nothing (padding)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

__all__ = ["FORMAT_KEYWORDS", "PixelElement", "PixelFormat", "pixel_format_of"]

FORMAT_KEYWORDS = (
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
)
_REQUIRED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation")
_PADDING_TAGS = tuple(tag_for_keyword(keyword) for keyword in FORMAT_KEYWORDS[:2])

# PS3.5 A.4: these lose information. (JPEG 2000 and HTJ2K may be lossless all the same; then only the attribute tells.)
_ALWAYS_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
_MAYBE_LOSSY = frozenset({JPEG2000, JPEG2000MC, HTJ2K})
_RATIO = re.compile(r"[0-9]{1,6}(\.[0-9]{0,12})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}(\.0*)?")
# PixelPaddingValue is US or SS; some software writes it as something else.
_TEXT_VRS = frozenset({"IS", "DS", "LO", "SH", "CS", "ST", "LT"})
_WORD_BITS, _BITS_OF = 16, {"UL": 32, "SL": 32}


class PixelElement(NamedTuple):
    """The element that holds a file's pixels.

    Attributes:
        tag: of PixelData, FloatPixelData or DoubleFloatPixelData.
        length: of its value in bytes as written; None if it is undefined, as of encapsulated frames.
        offset: where its value begins in the file; None if that is unknown, as in a deflated file.
    """

    tag: int
    length: int | None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a file are coded; files of one series share it.

    Attributes:
        element: tag of the element that holds them; None if the file has none.
        transfer_syntax: UID; empty if the file names none.
        frame_count: NumberOfFrames; 1 where it is absent.
        bits_allocated: of a stored word.
        bits_stored: how many of them are the value's.
        high_bit: the highest of those.
        is_signed: PixelRepresentation.
        padding: lowest and highest stored value that is padding (PS3.3 C.7.5.1.1.2); None without PixelPaddingValue.
        has_lut: whether a Modality LUT turns stored values into others.
        is_lossy: whether they were compressed with loss at any time (PS3.3 C.7.6.1.1.5); None if that may be.
        lossy_ratios: LossyImageCompressionRatio, one for each step.
        lacking: keywords of elements that say how pixels are to be read, and are not there.
    """

    element: int | None
    transfer_syntax: str
    frame_count: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    padding: tuple[int, int] | None
    has_lut: bool
    is_lossy: bool | None
    lossy_ratios: tuple[float, ...]
    lacking: tuple[str, ...]


def pixel_format_of(header: Any, transfer_syntax: str, element: PixelElement | None) -> PixelFormat:
    """Return the format that a header describes.

    Args:
        header: data set, or an object that behaves like one, with at least `FORMAT_KEYWORDS` as far as they are there.
        transfer_syntax: UID; empty if the file names none.
        element: that holds the pixels; None if there is none.

    Example:
        >>> import pydicom
        >>> header = pydicom.Dataset()
        >>> header.BitsAllocated, header.PixelRepresentation = 16, 1
        >>> header.add_new("PixelPaddingValue", "US", 63536)
        >>> pixel_format_of(header, "", None).padding
        (-2000, -2000)
    """
    allocated = int(header.get("BitsAllocated") or 0)
    stored = int(header.get("BitsStored") or allocated)
    high, is_signed = header.get("HighBit"), header.get("PixelRepresentation") == 1
    return _shared(
        element.tag if element else None,
        transfer_syntax,
        _frame_count(header),
        allocated,
        stored,
        stored - 1 if high is None or high == "" else int(high),
        is_signed,
        _padding(header, allocated, is_signed) if _PADDING_TAGS[0] in header else None,
        bool(header.get("ModalityLUTSequence")),
        _is_lossy(_texts(header, "LossyImageCompression"), transfer_syntax),
        tuple(float(ratio) for ratio in _texts(header, "LossyImageCompressionRatio") if _RATIO.fullmatch(ratio)),
        tuple(keyword for keyword in _REQUIRED if keyword not in header or header.get(keyword) in (None, "")),
    )


_shared = lru_cache(maxsize=256)(PixelFormat)  # one object for all files of a series: helpers then send it once


def _frame_count(header: Any) -> int:
    text = str(header.get("NumberOfFrames") or 1)
    return int(text) or 1 if text.isascii() and text.isdecimal() else 1


def _is_lossy(stated: list[str], transfer_syntax: str) -> bool | None:
    if "01" in stated or transfer_syntax in _ALWAYS_LOSSY:
        return True
    return None if transfer_syntax in _MAYBE_LOSSY and "00" not in stated else False


def _padding(header: Any, allocated: int, is_signed: bool) -> tuple[int, int] | None:
    """Return the range of padding values (PS3.3 C.7.5.1.1.2), either end of which PixelPaddingRangeLimit may be."""
    value, limit = (_stored_value(header, tag, allocated, is_signed) for tag in _PADDING_TAGS)
    if value is None:
        return None
    return (value, value) if limit is None else (min(value, limit), max(value, limit))


def _stored_value(header: Any, tag: Any, allocated: int, is_signed: bool) -> int | None:
    """Return a stored value that an element states, signed as the pixels are, however it is written.

    Writers give it as US where the pixels are signed, and the other way round: the bits are what counts.
    """
    if tag not in header or not allocated:
        return None
    element = header.get_item(tag)
    value, bits = element.value, _BITS_OF.get(element.VR, _WORD_BITS)
    if isinstance(value, bytes):
        value = _number_in(value, element, bits)
    if not isinstance(value, int):  # none, or several
        return None
    width = min(bits, allocated)
    value &= (1 << width) - 1
    return value - (1 << width) if is_signed and value >> (width - 1) else value


def _number_in(value: bytes, element: Any, bits: int) -> int | None:
    """Return the one number that an element's bytes hold, None if they hold another."""
    if element.VR in _TEXT_VRS:
        text = value.decode("latin-1").strip("\0 ")
        return int(float(text)) if _INTEGER.fullmatch(text) else None
    if 8 * len(value) != bits:
        return None
    return int.from_bytes(value, "little" if getattr(element, "is_little_endian", True) else "big")


def _texts(header: Any, keyword: str) -> list[str]:
    """Return the values of an element as texts without spaces; none if it is absent."""
    if keyword not in header:
        return []
    value = header.get(keyword)
    several = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return [str(one).strip() for one in several if one is not None]
