"""The figure of a validation that decides: which model is best, when rates fall, when training stops."""

from __future__ import annotations

from ignite.engine import Engine

from monai_vggunet.training.metrics import MEAN_DICE

__all__ = ["mean_dice"]


def mean_dice(evaluator: Engine) -> float:
    """Return the mean Dice of the validation that has just ended, for a handler that waits for it to rise."""
    return float(evaluator.state.metrics[MEAN_DICE])
