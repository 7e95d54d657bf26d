"""Uncompressed pixels straight from the file into their place, where nothing about them needs a general decoder."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_vggunet.dicom.plain_elements import PlainElements
from monai_vggunet.dicom.plain_header import PlainHeader, read_plain_header, wanted_tags
from monai_vggunet.dicom.records import FrameRecord

__all__ = ["NativePixels", "native_pixels", "rescale_into", "without_unused_bits"]

_TAGS = wanted_tags(
    [
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
    ]
)
_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")

# Every whole number up to this is a float32; beyond, sums are made in float64.
_EXACT_IN_FLOAT32 = 1 << 24


@dataclass(frozen=True, slots=True)
class NativePixels:
    """Where the stored values of a file lie, and how they are coded.

    Attributes:
        path: the file.
        shape: (rows, columns) of each frame.
        frames: how many there are.
        offset: of the first frame's first byte.
        dtype: of a stored value: little endian, 8 or 16 bits.
        high_bit: highest bit that belongs to a value.
        bits_stored: how many bits end there.
    """

    path: Path
    shape: tuple[int, int]
    frames: int
    offset: int
    dtype: np.dtype[Any]
    high_bit: int
    bits_stored: int

    def read_into(self, volume: np.ndarray, places: list[tuple[int, FrameRecord]]) -> bool:
        """Read and rescale frames; return whether the file held them all.

        Args:
            volume: (slices, rows, columns), float32.
            places: slice index and record of each plane of this file.
        """
        stored = np.empty(self.shape, self.dtype)
        with self.path.open("rb", buffering=0) as stream:
            for index, frame in places:
                stream.seek(self.offset + frame.frame_index * stored.nbytes)
                if not _filled(stream, memoryview(stored.data).cast("B")):
                    return False
                used = without_unused_bits(stored, self.bits_stored, self.high_bit)
                rescale_into(volume[index], used, frame.rescale_slope, frame.rescale_intercept)
        return True


def native_pixels(path: Path, frames: list[FrameRecord]) -> NativePixels | None:
    """Find the given planes' stored values in a file, or return None if a general decoder has to look at it.

    They are found only if PixelData has exactly the length that the header says, in 8 or 16 bits, little endian, one
    sample per pixel, with no Modality LUT.

    Raises:
        OSError: if the file cannot be read.
    """
    header = read_plain_header(path, _TAGS)
    if header is None or header.transfer_syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return None
    try:
        layout = _layout(path, header)
    except Exception:  # a value that cannot be read; the general decoder says what is wrong with it
        return None
    if layout is None or any(
        (frame.rows, frame.columns) != layout.shape or frame.frame_index >= layout.frames for frame in frames
    ):
        return None
    return layout


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


def _layout(path: Path, header: PlainHeader) -> NativePixels | None:
    elements = header.elements
    numbers = [elements.get(keyword) for keyword in _NUMBERS]
    if not all(isinstance(number, int) for number in numbers) or elements.get("SamplesPerPixel") != 1:
        return None
    rows, columns, allocated, used, high, signed = numbers
    frames = _frame_count(elements)
    length = rows * columns * frames * allocated // 8
    plain_bits = allocated in (8, 16) and 1 <= used <= allocated and used - 1 <= high < allocated and signed in (0, 1)
    if not plain_bits or header.pixel_offset is None or header.pixel_length != length + length % 2:
        return None
    dtype = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    return NativePixels(path, (rows, columns), frames, header.pixel_offset, dtype, high, used)


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
