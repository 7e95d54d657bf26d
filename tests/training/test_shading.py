"""Shaded images: one end dark, the other bright, the middle as it was."""

from __future__ import annotations

import torch

from monai_vggunet.training.shading import shaded
from monai_vggunet.transforms import NormalizeImageNet, denormalize_imagenet


def test_one_end_becomes_dark_and_the_other_bright() -> None:
    torch.manual_seed(0)
    image = NormalizeImageNet()(torch.full((7, 32, 48), 0.4))
    for _ in range(10):
        values = denormalize_imagenet(shaded(image))
        assert values.min() >= -1e-6
        assert values.max() <= 1 + 1e-6
        assert values.min() < 0.27
        assert values.max() > 0.5
        assert abs(float(values[:, 15:17, 23:25].mean()) - 0.4) < 0.02
        assert torch.allclose(values[0], values[6])


def test_the_draw_follows_torchs_seed() -> None:
    image = NormalizeImageNet()(torch.rand(3, 8, 8))
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(shaded(image))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
