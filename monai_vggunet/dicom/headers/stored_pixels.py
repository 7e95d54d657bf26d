"""Where a file's uncompressed pixels lie and how they are coded, as far as its header alone tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_vggunet.dicom.headers.pixel_format import PixelElement, PixelFormat

__all__ = ["NativeLayout", "StoredPixels"]


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
        layout = self.layout
        return layout is not None and self.file_bytes < layout.offset + layout.frames * layout.frame_bytes
