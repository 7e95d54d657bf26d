"""Stored words -> values, in place: cut to the bits in use, rescaled, padding marked; what is odd is counted.

A word may hold more than the value: overlays, garbage, or a value that BitsStored denies.
"""

from __future__ import annotations

import numpy as np

from monai_vggunet.dicom.headers.records import FrameRecord

__all__ = ["in_padding", "rescale_into", "values_into", "without_unused_bits"]

# Every whole number up to this is a float32; beyond, sums are made in float64.
_EXACT_IN_FLOAT32 = 1 << 24


def values_into(
    out: np.ndarray, words: np.ndarray, frame: FrameRecord, bits_stored: int, high_bit: int
) -> tuple[int, int]:
    """Write a plane's rescaled values, NaN where it is padded.

    Args:
        out: float32, of the shape of `words`.
        words: integers, as stored; they may be changed in place.
        frame: of the plane: its rescale and padding.
        bits_stored: how many bits are the value's.
        high_bit: the highest of them.

    Returns:
        How many pixels are padded, and how many others hold bits above the highest one that are not its sign.
    """
    padding = frame.padding
    # A padding value may lie outside what BitsStored allows (63536 in 12 bits): then the whole word is compared. (Of a
    # range, words with an overlay in their other bits might lie within.)
    by_word = padding is not None and padding[0] == padding[1] and not _fits(padding[0], words, bits_stored)
    padded = in_padding(words, padding) if padding and by_word else None
    beyond = _count_beyond(words, high_bit, padded)
    values = without_unused_bits(words, bits_stored, high_bit)
    if padding and not by_word:
        padded = in_padding(values, padding)
    rescale_into(out, values, frame.rescale_slope, frame.rescale_intercept)
    count = 0 if padded is None else int(np.count_nonzero(padded))
    if count:
        out[padded] = np.nan
    return count, beyond


def in_padding(values: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    """Return where stored values are padding: from the lowest to the highest padding value (PS3.3 C.7.5.1.1.2)."""
    low, high = padding
    return values == low if low == high else (values >= low) & (values <= high)


def rescale_into(out: np.ndarray, stored: np.ndarray, slope: float, intercept: float) -> None:
    """Write `slope * stored + intercept`, correctly rounded to float32.

    Args:
        out: float32, of the shape of `stored`.
        stored: integers.
        slope: as in RescaleSlope.
        intercept: as in RescaleIntercept.
    """
    limits = np.iinfo(stored.dtype)
    largest = max(abs(int(limits.min)), int(limits.max)) * abs(slope) + abs(intercept)
    if slope.is_integer() and intercept.is_integer() and largest < _EXACT_IN_FLOAT32:
        if slope == 1:
            np.add(stored, np.float32(intercept), out=out, dtype=np.float32)
        else:
            np.multiply(stored, np.float32(slope), out=out, dtype=np.float32)
            np.add(out, np.float32(intercept), out=out)
    else:
        values = stored * np.float64(slope)
        values += intercept
        out[...] = values


def without_unused_bits(stored: np.ndarray, bits_stored: int, high_bit: int) -> np.ndarray:
    """Drop bits that are not the pixel's (overlays, garbage) and extend the sign from the highest bit stored.

    PS3.5 8.1.1: the value stands in the BitsStored bits that end at HighBit. The array may be changed in place.
    """
    bits = stored.dtype.itemsize * 8
    if bits_stored >= bits:
        return stored
    if stored.dtype.kind == "u" and high_bit == bits_stored - 1 and stored.flags.writeable:
        return np.bitwise_and(stored, stored.dtype.type((1 << bits_stored) - 1), out=stored)
    # Up until the highest stored bit is on top, then down: arithmetically where the type is signed.
    return (stored << (bits - 1 - high_bit)) >> (bits - bits_stored)


def _fits(value: int, words: np.ndarray, bits_stored: int) -> bool:
    low, high = _range_of(words, bits_stored)
    return low <= value <= high


def _range_of(words: np.ndarray, bits: int) -> tuple[int, int]:
    """Return the lowest and the highest value of so many bits, signed as the words are."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if words.dtype.kind == "i" else (0, (1 << bits) - 1)


def _count_beyond(words: np.ndarray, high_bit: int, padded: np.ndarray | None) -> int:
    """Count words with bits above the highest one of the value, other than its sign."""
    if high_bit >= words.dtype.itemsize * 8 - 1:
        return 0
    low, high = _range_of(words, high_bit + 1)
    if words.max() <= high and (low == 0 or words.min() >= low):  # nearly always, and without another array
        return 0
    beyond = (words < low) | (words > high)
    if padded is not None:
        beyond &= ~padded
    return int(np.count_nonzero(beyond))
