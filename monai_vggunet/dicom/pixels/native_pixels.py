"""Uncompressed pixels straight from the file into their place, where nothing about them needs a general decoder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_vggunet.dicom.headers.plain_elements import PlainElements
from monai_vggunet.dicom.headers.plain_header import PlainHeader, read_plain_header, wanted_tags
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.headers.stored_pixels import NativeLayout
from monai_vggunet.regular_files import open_regular

__all__ = ["PIXEL_KEYWORDS", "layout_in", "native_layout", "read_native", "rescale_into", "without_unused_bits"]

PIXEL_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",  # a sequence: a file that has one is not plain
)
_TAGS = wanted_tags(PIXEL_KEYWORDS)
_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")

# Every whole number up to this is a float32; beyond, sums are made in float64.
_EXACT_IN_FLOAT32 = 1 << 24


def read_native(
    path: Path, layout: NativeLayout, volume: np.ndarray, places: list[tuple[int, FrameRecord]], scratch: np.ndarray
) -> bool:
    """Read and rescale frames of one file; return whether the file held them all.

    Args:
        path: the file.
        layout: of its pixels.
        volume: (slices, rows, columns), float32.
        places: slice index and record of each plane of this file.
        scratch: at least `layout.frame_bytes` bytes, uint8.
    """
    stored = scratch[: layout.frame_bytes].view(layout.dtype).reshape(layout.shape)
    with open_regular(path) as stream:
        for index, frame in places:
            stream.seek(layout.offset + frame.frame_index * layout.frame_bytes)
            if not _filled(stream, memoryview(scratch.data)[: layout.frame_bytes]):
                return False
            used = without_unused_bits(stored, layout.bits_stored, layout.high_bit)
            rescale_into(volume[index], used, frame.rescale_slope, frame.rescale_intercept)
    return True


def native_layout(path: Path, frames: list[FrameRecord]) -> NativeLayout | None:
    """Find the given planes' stored values in a file, or return None if a general decoder has to look at it.

    What was found out when the header was read is taken as it is, if the file still has the size it had then.

    Raises:
        OSError: if the file cannot be read.
    """
    known = frames[0].stored
    if known is not None and path.stat().st_size == known.file_bytes:
        layout = known.layout
    else:
        header = read_plain_header(path, _TAGS)
        layout = None if header is None else layout_in(header)
    if layout is None or any(
        (frame.rows, frame.columns) != layout.shape or frame.frame_index >= layout.frames for frame in frames
    ):
        return None
    return layout


def layout_in(header: PlainHeader) -> NativeLayout | None:
    """Return how a plain header says that its pixels are stored, or None if a general decoder has to look at them.

    They are found only if PixelData has exactly the length that the header says, in 8 or 16 bits, little endian, one
    sample per pixel. The header's reader must have been asked for all of `PIXEL_KEYWORDS`.
    """
    if header.transfer_syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return None
    try:
        return _layout(header)
    except Exception:  # a value that cannot be read; the general decoder says what is wrong with it
        return None


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


def _layout(header: PlainHeader) -> NativeLayout | None:
    elements = header.elements
    numbers = [elements.get(keyword) for keyword in _NUMBERS]
    if not all(isinstance(number, int) for number in numbers) or elements.get("SamplesPerPixel") != 1:
        return None
    rows, columns, allocated, used, high, signed = numbers
    plain_bits = allocated in (8, 16) and 1 <= used <= allocated and used - 1 <= high < allocated and signed in (0, 1)
    if not plain_bits or header.pixel_offset is None:
        return None
    dtype = f"<{'i' if signed else 'u'}{allocated // 8}"
    layout = NativeLayout((rows, columns), _frame_count(elements), header.pixel_offset, dtype, high, used)
    return layout if header.pixel_length == layout.length else None


def _frame_count(elements: PlainElements) -> int:
    count = elements.get("NumberOfFrames")
    return 1 if count is None else int(count) or 1  # some software writes 0 for a single frame


def _filled(stream: io.RawIOBase | io.FileIO, buffer: memoryview) -> bool:
    """Fill a buffer from a stream; return whether there was enough."""
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done:])
        if not count:
            return False
        done += count
    return True
