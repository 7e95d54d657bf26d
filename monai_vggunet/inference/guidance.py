"""The clicks that a volume carries: how the network sees them, and what they decide by themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_vggunet.transforms import clicks_on_grid, draw_clicks, slice_step

__all__ = ["Guidance"]

# A spot's value to this power is how much of the probability a click takes by itself: more than half within a pixel.
INSISTENCE = 4


class Guidance:
    """Clicks on the network's grid.

    Args:
        clicks: `(n, 4)`: class number, row, column, slice.
        step: from one slice to the next, in pixels.
        n_classes: channels of guidance K, one per class.
    """

    def __init__(self, clicks: np.ndarray, step: float, n_classes: int) -> None:
        self.clicks, self.step, self.n_classes = clicks, step, n_classes

    @classmethod
    def of(cls, image: torch.Tensor, n_classes: int) -> Guidance:
        """Return the guidance of a `MetaTensor` `(B, C, X, Y, Z)`, without any click if it carries none.

        Raises:
            ClickError: a batch of several volumes with clicks, which belong to one.
        """
        return cls(clicks_on_grid(image), slice_step(image), n_classes) if n_classes else cls.none(0)

    @classmethod
    def none(cls, n_classes: int) -> Guidance:
        """Return the guidance without any click."""
        return cls(np.zeros((0, 4)), math.inf, n_classes)

    def __len__(self) -> int:
        return len(self.clicks)

    def from_slice(self, first: int) -> Guidance:
        """Return the same clicks for the part of the volume that begins with a slice."""
        return Guidance(self.clicks - (0, 0, 0, first), self.step, self.n_classes)

    def drawn(self, indices: Sequence[int], size: Sequence[int], device: Any = None) -> torch.Tensor:
        """Return the network's channels for slices, `(n, K, X, Y)` in 0..1."""
        return draw_clicks(self.clicks, indices, size, self.n_classes, device, self.step)

    def insist(self, probabilities: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Return probabilities `(n, K, X, Y)` in which the place of each click has the class that the user gave it.

        What a click means for its neighborhood is for the network to decide; the click itself is the user's decision.
        """
        if not len(self.clicks):
            return probabilities
        taken = self.drawn(indices, probabilities.shape[-2:], probabilities.device) ** INSISTENCE
        total = taken.sum(1, keepdim=True)
        return probabilities * (1 - total.clamp(max=1)) + taken / total.clamp(min=1)
