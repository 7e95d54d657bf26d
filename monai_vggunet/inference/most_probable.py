"""The most probable class of each pixel, quickly and never of NaN."""

from __future__ import annotations

import torch

from monai_vggunet.errors import ModelMismatchError

__all__ = ["most_probable"]


def most_probable(scores: torch.Tensor) -> torch.Tensor:
    """Return class numbers `(n, 1, H, W)` uint8 of scores `(n, K, H, W)`: the first of the largest, as `argmax` does.

    On a CPU, `argmax` across planes takes a fifth as long as a network in int8; plane by plane it takes hardly any.

    Raises:
        ModelMismatchError: scores that are NaN or infinite, which would otherwise become some class.
    """
    best = scores[:, :1].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=scores.device)
    for number in range(1, scores.shape[1]):
        plane = scores[:, number : number + 1]
        labels.masked_fill_(plane > best, number)
        torch.maximum(best, plane, out=best)
    if not bool(torch.isfinite(best.sum())):  # `maximum` passes NaN on
        raise ModelMismatchError(
            "the network's scores are NaN or infinite: its weights are damaged, or too large for the precision; use "
            "precision fp32, or train again"
        )
    return labels
