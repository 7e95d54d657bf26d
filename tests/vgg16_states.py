"""State dicts as torchvision saves them, without its classifier, which takes seconds to make."""

from __future__ import annotations

import torch

from monai_vggunet.networks import VGG16Encoder


def plain_vgg16_state(prefix: str = "") -> dict[str, torch.Tensor]:
    """Of `vgg16().features`, as it is initialized; with the prefix "features." of `vgg16()`."""
    state = VGG16Encoder(batch_norm=False).state_dict()
    return {prefix + key.split(".", 2)[2]: value for key, value in state.items()}
