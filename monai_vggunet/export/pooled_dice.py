"""Dice of a network over sampled slices, pooled per class, so that a few hundred slices give one steady figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from monai_vggunet.export.sample_slices import SampledSlice

__all__ = ["PooledDice", "pooled_dice"]


class PooledDice:
    """Counts per class, summed over slices.

    Args:
        n_classes: background included, although it has no figure of its own.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes
        self.both, self.either = torch.zeros(n_classes), torch.zeros(n_classes)

    def add(self, predicted: torch.Tensor, truth: torch.Tensor) -> float:
        """Count two label maps of one shape; return their own mean Dice, or 1 if neither holds a class."""
        found, wanted = predicted.ravel().long(), truth.ravel().long()
        both = torch.bincount(found[found == wanted], minlength=self.n_classes)[: self.n_classes].double()
        either = sum(torch.bincount(each, minlength=self.n_classes)[: self.n_classes] for each in (found, wanted))
        self.both, self.either = self.both + both, self.either + either
        present = either[1:] > 0  # type: ignore[index]
        return float((2 * both[1:][present] / either[1:][present]).mean()) if present.any() else 1.0  # type: ignore[index]

    @property
    def per_class(self) -> list[float | None]:
        """Dice of every class but the background; None for a class that neither truth nor prediction holds."""
        return [float(2 * b / e) if e else None for b, e in zip(self.both[1:], self.either[1:])]

    @property
    def mean(self) -> float:
        """Mean over the classes that have a figure; NaN if none has."""
        known = [value for value in self.per_class if value is not None]
        return sum(known) / len(known) if known else float("nan")


def pooled_dice(
    logits_of: Callable[[torch.Tensor], torch.Tensor], slices: Iterable[SampledSlice], n_classes: int
) -> tuple[PooledDice, list[float]]:
    """Run slices through a network one by one; return the pooled Dice, and the mean Dice of each slice."""
    dice, each = PooledDice(n_classes), []
    with torch.inference_mode():
        for sample in slices:
            assert sample.label is not None
            each.append(dice.add(logits_of(sample.image)[0].argmax(0), sample.label))
    return dice, each
