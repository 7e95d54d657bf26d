"""Slices of a volume a few at a time, each in one piece of memory."""

from __future__ import annotations

import torch

__all__ = ["Neighborhood"]

SLICES_AT_ONCE = 32


class Neighborhood:
    """Take slices along the last axis, with those before and after them, out of a volume `(C, X, Y, Z)`.

    In memory the values of a slice lie Z apart: picking one slice reads nearly as much as picking sixteen.

    Args:
        volume: `(C, X, Y, Z)`.
        reach: how many slices before and after each one are needed.
    """

    def __init__(self, volume: torch.Tensor, reach: int) -> None:
        self.volume, self.reach = volume, reach
        self._held, self._begin, self._first, self._stop = volume[..., :0], 0, 0, 0

    def around(self, indices: range) -> tuple[torch.Tensor, range]:
        """Return a part of the volume `(C, X, Y, n)` that holds these slices and their neighbors, and where they are.

        At the part's ends are the volume's ends or slices that are needed as neighbors alone.
        """
        if indices.start < self._first or indices.stop > self._stop:
            depth = self.volume.shape[-1]
            self._first, self._stop = indices.start, min(depth, max(indices.stop, indices.start + SLICES_AT_ONCE))
            self._begin = max(0, self._first - self.reach)
            part = self.volume[..., self._begin : min(depth, self._stop + self.reach)]
            self._held = part.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
        return self._held, range(indices.start - self._begin, indices.stop - self._begin)
