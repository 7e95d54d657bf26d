"""Frames under Deflated Image Frame Compression (PS3.5 A.4.13), made for segmentations; pydicom 3.0 lacks it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

__all__ = ["DEFLATED_IMAGE_FRAMES", "inflate_frames"]

DEFLATED_IMAGE_FRAMES = "1.2.840.10008.1.2.8.1"


def inflate_frames(dataset: Dataset, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (frame index, stored values (rows, columns)) of unsigned pixels of 1, 8 or 16 bits.

    Args:
        dataset: with encapsulated pixel data, each frame a raw DEFLATE stream (RFC 1951) of its native bytes; bits are
            packed within each frame.
        wanted: growing frame indices, 0-based.

    Raises:
        ValueError, zlib.error: if a frame is damaged or missing.
    """
    shape, bits = (int(dataset.Rows), int(dataset.Columns)), int(dataset.BitsAllocated)
    max_bytes = -(-shape[0] * shape[1] * bits // 8)
    remaining = set(wanted)
    for index, frame in enumerate(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames))):
        if index not in remaining:
            continue
        remaining.discard(index)
        # No more than the header says: a frame may inflate to a thousand times its size.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, max_bytes)
        if bits == 1:
            values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        else:
            values = np.frombuffer(data, dtype=f"<u{bits // 8}")
        if len(values) < shape[0] * shape[1]:
            raise ValueError(f"frame {index + 1} holds {len(values)} values, expected {shape[0] * shape[1]}")
        yield index, values[: shape[0] * shape[1]].reshape(shape)
    if remaining:
        raise ValueError(f"{len(remaining)} of the frames are not there: a truncated file")
