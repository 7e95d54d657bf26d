"""The part of a volume that is not empty: what lies outside is background without being computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_vggunet.data.model_limits import STRIDE

__all__ = ["body_box"]

# Content kept around the body, in voxels of the slice: the network should see the air that it was trained with.
MARGIN = 32
# What is brighter than the bottom of the lowest window by this share of it is not empty.
EMPTY_SHARE = 0.02


def body_box(volume: torch.Tensor, windows: Sequence[Sequence[float]]) -> tuple[slice, slice, slice]:
    """Return the smallest box of whole slices, with a margin, that holds all the network could tell from emptiness.

    In a CT, air lies below the window: the box is the body with its table. An MR whose background is noise keeps its
    size. The box of an empty volume is empty.

    Args:
        volume: `(C, X, Y, Z)` in the units of the windows.
        windows: intensity ranges `(low, high)` that become 0..1.

    Returns:
        Index ranges along X, Y and Z.
    """
    low, high = min(windows, key=lambda window: window[0])
    content = (volume > low + EMPTY_SHARE * (high - low)).any(0)
    ranges = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        where = content.any(others[1]).any(others[0]).nonzero()[:, 0]
        if len(where) == 0:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        first, last, n = int(where[0]), int(where[-1]) + 1, volume.shape[axis + 1]
        ranges.append(_widened(first, last, n) if axis < 2 else slice(first, last))
    return ranges[0], ranges[1], ranges[2]


def _widened(first: int, last: int, n: int) -> slice:
    """Add the margin and fill up to whole strides of the network, as far as the volume allows it."""
    first, last = max(0, first - MARGIN), min(n, last + MARGIN)
    missing = -(last - first) % STRIDE
    first = max(0, first - missing // 2)
    last = min(n, first + (last - first) + (-(last - first) % STRIDE))
    return slice(first, last)
