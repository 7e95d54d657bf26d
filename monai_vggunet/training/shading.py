"""Images shaded as by a receive coil: the same tissue bright at one end and dark at the other."""

from __future__ import annotations

import math

import torch

from monai_vggunet.transforms import NormalizeImageNet, denormalize_imagenet

__all__ = ["shaded"]

STRENGTH = (0.5, 1.5)  # natural logarithm of the brightness at the middle of one side, against the image's middle


def shaded(image: torch.Tensor) -> torch.Tensor:
    """Return a normalized image `(C, H, W)` darkened towards one end and brightened towards the other.

    Direction and strength are drawn by torch. Values beyond the brightest are clipped, as in preprocessing.
    """
    angle = 2 * math.pi * float(torch.rand(()))
    rows, columns = (torch.linspace(-1, 1, n, device=image.device) for n in image.shape[-2:])
    ramp = math.sin(angle) * rows[:, None] + math.cos(angle) * columns[None]
    low, high = STRENGTH
    strength = low + (high - low) * float(torch.rand(()))
    values = denormalize_imagenet(image) * torch.exp(strength * ramp)
    return NormalizeImageNet()(values.clamp(0.0, 1.0))
