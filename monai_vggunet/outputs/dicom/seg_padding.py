"""A few empty frames, so that bit-packed masks have an even number of bytes without padding.

DICOM requires values of even length (PS3.5 7.1.1), so a value of odd length gets a padding byte. Cornerstone3D (OHIF)
refuses a BINARY segmentation whose length is not exactly that of its bits. Where both layouts have the same length, it
assumes that frames begin at whole bytes. With the right number of frames neither happens.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from highdicom.seg import Segmentation

from monai_vggunet.outputs.dicom.seg_sources import plane_of

__all__ = ["empty_planes", "erase_marks", "mark_empty_frames"]

_ALWAYS_EVEN = 16  # pixels: a frame whose size is a multiple of this has an even number of bytes

# Segment, plane, and the marked pixel in that plane.
Mark = tuple[int, int, int]


def mark_empty_frames(pixels: np.ndarray, n_segments: int) -> list[Mark]:
    """Mark one background pixel in each empty frame to keep, so that highdicom keeps it.

    Args:
        pixels: `(slices, rows, columns)`, class numbers; changed in place.
        n_segments: how many are declared.

    Returns:
        The marks, for `erase_marks`; none if nothing has to be done or no frame is empty.
    """
    size = pixels[0].size
    if size % _ALWAYS_EVEN == 0:
        return []
    counts = np.stack([np.bincount(plane.ravel(), minlength=n_segments + 1) for plane in pixels])
    present = int(np.count_nonzero(counts[:, 1:]))
    free = [
        (segment, plane)
        for plane, segment in product(np.flatnonzero(counts[:, 0] > n_segments), range(1, n_segments + 1))
        if not counts[plane, segment]
    ]
    extra = next((n for n in range(len(free) + 1) if _is_exact(present + n, size)), 0) if present else 0
    marks = []
    for segment, plane in free[:extra]:
        flat = pixels[plane].reshape(-1)
        pixel = int(np.flatnonzero(flat == 0)[0])
        flat[pixel] = segment
        marks.append((segment, int(plane), pixel))
    return marks


def erase_marks(seg: Segmentation, marks: list[Mark]) -> None:
    """Clear the marked pixels; must run while the frames still refer to the stand-ins."""
    if not marks:
        return
    pixel_of = {(segment, plane): pixel for segment, plane, pixel in marks}
    packed = bytearray(seg.PixelData)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for number, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        owner = group if "SegmentIdentificationSequence" in group else shared
        segment = int(owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        pixel = pixel_of.get((segment, plane_of(group.DerivationImageSequence[0].SourceImageSequence[0])))
        if pixel is not None:
            bit = number * seg.Rows * seg.Columns + pixel
            packed[bit // 8] &= ~(1 << bit % 8) & 0xFF
    seg.PixelData = bytes(packed)


def empty_planes(size: int, n_segments: int, n_planes: int) -> int:
    """Return for how many planes an empty mask keeps empty frames: one, or as few as give an exact length."""
    return next((n for n in range(1, n_planes + 1) if _is_exact(n * n_segments, size)), 1)


def _is_exact(n_frames: int, size: int) -> bool:
    """Whether frames of this size need no padding, and cannot be mistaken for frames that begin at whole bytes."""
    packed, by_frame = -(-n_frames * size // 8), n_frames * -(-size // 8)
    return packed % 2 == 0 and (packed != by_frame or size % 8 == 0 or n_frames == 1)
