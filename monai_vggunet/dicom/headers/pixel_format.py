"""A file's header -> how its pixels are coded, and which stored values stand for nothing (padding)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.pixels import apply_modality_lut
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from monai_vggunet.dicom.headers.stored_pixels import NativeLayout, PixelElement, PixelFormat

__all__ = ["FORMAT_KEYWORDS", "pixel_format_of"]

FORMAT_KEYWORDS = (
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
)
_PHOTOMETRIC = "PhotometricInterpretation"
_NUMBERS = ("SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
_PHOTOMETRIC_TAG = tag_for_keyword(_PHOTOMETRIC)
_PADDING_TAGS = tuple(tag_for_keyword(keyword) for keyword in FORMAT_KEYWORDS[:2])

# PS3.5 A.4: these lose information. (JPEG 2000 and HTJ2K may be lossless all the same; then only the attribute tells.)
_ALWAYS_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
_MAYBE_LOSSY = frozenset({JPEG2000, JPEG2000MC, HTJ2K})
_RATIO = re.compile(r"[0-9]{1,6}(\.[0-9]{0,12})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}(\.0*)?")
# PixelPaddingValue is US or SS; some software writes it as something else.
_TEXT_VRS = frozenset({"IS", "DS", "LO", "SH", "CS", "ST", "LT"})
_WORD_BITS, _BITS_OF = 16, {"UL": 32, "SL": 32}


def pixel_format_of(
    header: Any, transfer_syntax: str, element: PixelElement | None, layout: NativeLayout | None = None
) -> PixelFormat:
    """Return the format that a header describes.

    Args:
        header: data set, or an object that behaves like one, with at least `FORMAT_KEYWORDS` as far as they are there.
        transfer_syntax: UID; empty if the file names none.
        element: that holds the pixels; None if there is none.
        layout: of uncompressed pixels, if it is known already.

    Example:
        >>> import pydicom
        >>> header = pydicom.Dataset()
        >>> header.BitsAllocated, header.PixelRepresentation = 16, 1
        >>> header.add_new("PixelPaddingValue", "US", 63536)
        >>> pixel_format_of(header, "", None).padding
        (-2000, -2000)
    """
    coded = _coded_as(header) if layout is None else _laid_out_as(layout)
    lacking = [] if layout else [keyword for keyword in _NUMBERS if header.get(keyword) in (None, "")]
    if _PHOTOMETRIC_TAG not in header or not header.get_item(_PHOTOMETRIC_TAG).value:  # raw, which is fast
        lacking.append(_PHOTOMETRIC)
    has_lut = layout is None and bool(header.get("ModalityLUTSequence"))
    if has_lut and not _is_applicable(header):
        lacking.append("a ModalityLUTSequence that can be applied")
    return _shared(
        element.tag if element else None,
        transfer_syntax,
        *coded,
        _padding(header, coded[1], coded[4]) if _PADDING_TAGS[0] in header else None,
        has_lut,
        _is_lossy(_texts(header, "LossyImageCompression"), transfer_syntax),
        tuple(float(ratio) for ratio in _texts(header, "LossyImageCompressionRatio") if _RATIO.fullmatch(ratio)),
        tuple(lacking),
    )


_shared = lru_cache(maxsize=256)(PixelFormat)  # one object for all files of a series: helpers then send it once


def _is_applicable(header: Any) -> bool:
    """Whether a Modality LUT makes a value of the lowest stored one, and so of any."""
    try:
        return bool(np.isfinite(apply_modality_lut(np.zeros(1, np.int32), header)).all())
    except Exception:  # pydicom raises all kinds where a table is damaged
        return False


def _coded_as(header: Any) -> tuple[int, int, int, int, bool]:
    """Return frame count, BitsAllocated, BitsStored, HighBit and sign as a header states them, 0 for absent bits."""
    allocated, stored = (int(header.get(keyword) or 0) for keyword in ("BitsAllocated", "BitsStored"))
    high = header.get("HighBit")
    high = stored - 1 if high is None or high == "" else int(high)
    return _frame_count(header), allocated, stored, high, header.get("PixelRepresentation") == 1


def _laid_out_as(layout: NativeLayout) -> tuple[int, int, int, int, bool]:
    """Return the same of a layout, which was made of a header that states all of it."""
    sign, size = layout.dtype[1], layout.dtype[2:]
    return layout.frames, 8 * int(size), layout.bits_stored, layout.high_bit, sign == "i"


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
