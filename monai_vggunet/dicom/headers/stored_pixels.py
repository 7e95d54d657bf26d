"""Where a file's pixels lie and how they are coded, as far as its header alone tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["NativeLayout", "PixelElement", "PixelFormat", "StoredPixels"]


@dataclass(frozen=True, slots=True)
class NativeLayout:
    """Where the stored values of a file lie, and how they are coded.

    Attributes:
        shape: (rows, columns) of each frame.
        frames: how many there are.
        offset: of the first frame's first byte.
        dtype: of a stored value, as numpy writes it: little endian, 8 or 16 bits.
        high_bit: highest bit that belongs to a value.
        bits_stored: how many bits end there.
    """

    shape: tuple[int, int]
    frames: int
    offset: int
    dtype: str
    high_bit: int
    bits_stored: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize

    @property
    def length(self) -> int:
        """Length of PixelData as the file must have it: even, PS3.5 8.1.1."""
        length = self.frames * self.frame_bytes
        return length + length % 2


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


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """What was found out about a file's pixels when its header was read.

    Attributes:
        file_bytes: the file's size then; a file of another size has been replaced.
        layout: None if a general decoder has to look at the file.
        is_plain: False if the layout could not be told from the header as it was read.
        element: that holds the pixels; None without one.
        format: how they are coded; None if nothing is known about that.
    """

    file_bytes: int
    layout: NativeLayout | None
    is_plain: bool = True
    element: PixelElement | None = None
    format: PixelFormat | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether the file is known to end before its pixels do."""
        layout, element = self.layout, self.element
        if layout is not None:
            return self.file_bytes < layout.offset + layout.frames * layout.frame_bytes
        if element is None or element.offset is None or element.length is None:
            return False
        return self.file_bytes < element.offset + element.length - 1  # the last byte may be padding
