"""The training loss."""

from __future__ import annotations

from .dice_cross_entropy import DiceCrossEntropyLoss

__all__ = ["DiceCrossEntropyLoss"]
