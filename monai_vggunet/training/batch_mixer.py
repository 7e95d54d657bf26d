"""Parts of one slice put into another, with their labels, so that few cases show organs in many surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import default_prepare_batch

from monai_vggunet.transforms.augmentation import augmentation_of

__all__ = ["BatchMixer", "batch_mixer"]


class BatchMixer:
    """Prepare a batch as MONAI's `default_prepare_batch` does, and mix its slices with a probability.

    Each slice gets a partner from the same batch, and with equal chance
    - a rectangle of it at the same place, whose area is a uniformly drawn share of the slice (CutMix), or
    - all of its foreground at the same place (copy-paste).
    Draws are torch's, which follow seed and epoch.

    Args:
        prob: probability that a batch is mixed, 0 to 1.

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019,
    https://arxiv.org/abs/1905.04899; Ghiasi et al., "Simple copy-paste is a strong data augmentation method for
    instance segmentation", 2021, https://arxiv.org/abs/2012.07177.
    """

    def __init__(self, prob: float) -> None:
        self.prob = prob

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Return images `(B, C, H, W)` and labels `(B, 1, H, W)` on the device."""
        image, label = default_prepare_batch(batchdata, device, non_blocking, **kwargs)  # type: ignore[misc]
        if torch.rand(()) >= self.prob:
            return image, label
        partner = torch.randperm(len(image))
        if torch.rand(()) < 0.5:
            taken = _rectangle(*label.shape[-2:]).to(label.device).expand_as(label)
        else:
            taken = label[partner] > 0
        return torch.where(taken, image[partner], image), torch.where(taken, label[partner], label)


def batch_mixer(augmentation: str) -> Callable[..., Any]:
    """Return how the trainer prepares its batches at a level of augmentation (`prepare_batch`)."""
    prob = augmentation_of(augmentation).mix_prob
    return BatchMixer(prob) if prob else default_prepare_batch


def _rectangle(rows: int, columns: int) -> torch.Tensor:
    """Return a mask `(rows, columns)` of a rectangle of the slice's proportions, anywhere in it."""
    side = float(torch.rand(())) ** 0.5
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    height, width = round(rows * side), round(columns * side)
    top, left = (int(torch.randint(n - size + 1, ())) for n, size in ((rows, height), (columns, width)))
    mask[top : top + height, left : left + width] = True
    return mask
