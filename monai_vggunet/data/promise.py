"""What a file's header promises about its voxels, checked before a single one is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from monai_vggunet.dicom.headers.pixel_description import LONGEST_TAIL
from monai_vggunet.memory import lack_of_memory

__all__ = ["MOST_TIMES_DEFLATED", "Promise"]

# Deflate cannot do better (RFC 1951: 258 bytes in 2 bits), headers of gzip aside.
MOST_TIMES_DEFLATED = 1040
# No scanner's noise compresses like this, empty images do. Up to the second figure, 1 GiB as float32, that is harmless.
MOST_VOXELS_PER_BYTE = 200
HARMLESS_VOXELS = 1 << 28

_RESULT_BYTES = np.dtype(np.float32).itemsize
_SCALING_BYTES = 2 * np.dtype(np.float64).itemsize  # the product and the sum, while values are scaled


@dataclass(frozen=True)
class Promise:
    """The voxels that follow a header, by its own word.

    Attributes:
        shape: how many along each axis.
        value_bytes: of one stored value.
        offset: where they begin in the file, or in what it inflates to.
        scaled: whether values are multiplied and shifted when they are read.
    """

    shape: tuple[int, ...]
    value_bytes: int
    offset: int = 0
    scaled: bool = False

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """Where they end, in bytes."""
        return self.offset + self.voxels * self.value_bytes

    def doubt(self, file_bytes: int, most_times: int, may_be_blank: bool, most_times_longer: int = 1) -> str:
        """Return why the promise cannot be kept, or is implausible; empty if it is plausible.

        Args:
            file_bytes: size of the file.
            most_times: how much longer than itself what the file inflates to may be; 1 if it is not compressed.
            may_be_blank: whether nearly empty content is plausible, as that of a label.
            most_times_longer: how much longer than the voxels the file may be; more than 1 if they are text.

        Example:
            >>> Promise((9, 9, 9), 2).doubt(100, 1, False)
            'promises 9 x 9 x 9 voxels of 16 bits, 1,458 bytes, which a file of 100 bytes cannot hold: a truncated \
file, or a damaged header; restore it'
        """
        if not self.shape or min(self.shape) < 0:
            return f"has the dimensions {self.shape}; expected numbers of voxels: a damaged header, restore the file"
        described = f"promises {' x '.join(map(str, self.shape))} voxels of {self.value_bytes * 8} bits"
        if self.end > file_bytes * most_times:
            return (
                f"{described}, {self.end:,} bytes, which a file of {file_bytes:,} bytes cannot hold: a truncated file, "
                "or a damaged header; restore it"
            )
        longest = self.end * most_times_longer + LONGEST_TAIL
        if file_bytes > longest:
            return (
                f"{described}, {self.end:,} bytes, in a file of {file_bytes:,} bytes; expected up to {longest:,}: a "
                "damaged file, or a damaged header; restore it"
            )
        compressed = most_times > 1
        blank = compressed and not may_be_blank and self.voxels > file_bytes * MOST_VOXELS_PER_BYTE
        if blank and self.voxels > HARMLESS_VOXELS:
            return (
                f"{described} in {file_bytes:,} bytes; expected at most {MOST_VOXELS_PER_BYTE} voxels per byte of an "
                "image of this size: it is blank, or made to fill memory"
            )
        stored = self.value_bytes if compressed else 0  # what is not compressed is read as it is needed
        lacking = lack_of_memory(self.voxels * (_RESULT_BYTES + stored + _SCALING_BYTES * self.scaled))
        return f"{described}: {lacking}; use a machine with more memory, or crop the image" if lacking else ""
