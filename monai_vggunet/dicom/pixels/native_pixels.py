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
from monai_vggunet.dicom.pixels.stored_words import values_into
from monai_vggunet.regular_files import open_regular

__all__ = ["PIXEL_KEYWORDS", "layout_in", "native_layout", "read_native"]

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


def read_native(
    path: Path,
    layout: NativeLayout,
    volume: np.ndarray,
    places: list[tuple[int, FrameRecord]],
    scratch: np.ndarray,
    counts: np.ndarray,
) -> bool:
    """Read and rescale frames of one file; return whether the file held them all.

    Args:
        path: the file.
        layout: of its pixels.
        volume: (slices, rows, columns), float32.
        places: slice index and record of each plane of this file.
        scratch: at least `layout.frame_bytes` bytes, uint8.
        counts: (slices, 2), where the numbers of `values_into` are written.
    """
    stored = scratch[: layout.frame_bytes].view(layout.dtype).reshape(layout.shape)
    with open_regular(path) as stream:
        for index, frame in places:
            stream.seek(layout.offset + frame.frame_index * layout.frame_bytes)
            if not _filled(stream, memoryview(scratch.data)[: layout.frame_bytes]):
                return False
            counts[index] = values_into(volume[index], stored, frame, layout.bits_stored, layout.high_bit)
    return True


def native_layout(path: Path, frames: list[FrameRecord]) -> NativeLayout | None:
    """Find the given planes' stored values in a file, or return None if a general decoder has to look at it.

    What was found out when the header was read is taken as it is, if the file still has the size it had then.

    Raises:
        OSError: if the file cannot be read.
    """
    known = frames[0].stored
    if known is not None and known.is_plain and path.stat().st_size == known.file_bytes:
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
