"""The optimizer's parameter groups: the encoder stage by stage, then the decoder, each with its own rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks import find_vgg16_unet

__all__ = ["parameter_groups"]

# the source article's: pretrained layers move ten times more slowly than new ones
ENCODER_LR = 1e-5
DECODER_LR = 1e-4
WEIGHT_DECAY = 1e-4


def parameter_groups(
    network: nn.Module,
    encoder_lr: float = ENCODER_LR,
    decoder_lr: float = DECODER_LR,
    weight_decay: float = WEIGHT_DECAY,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Split a `VGG16UNet`'s parameters into groups by depth, for a torch optimizer.

    Each encoder stage and the decoder (with the head) gives two groups: convolution weights, with weight decay, and
    biases and batch norms, without, for these do not overfit and a norm's scale is not meant to shrink. The groups
    are named ``encoder_stage_0`` ... ``encoder_stage_4``, ``decoder``, the second of each with ``_no_decay``.

    Frozen parameters are held too, so that a stage can be freed later without a new optimizer.

    Args:
        network: a `VGG16UNet`, bare or wrapped for distributed training.
        encoder_lr: learning rate of the deepest encoder stage.
        decoder_lr: learning rate of the decoder and the head.
        weight_decay: of the convolution weights.
        layer_decay: factor from each encoder stage to the next shallower one, 1 for one rate; the finest stage,
            whose edges and textures serve any image, trains at ``encoder_lr * layer_decay ** 4``.

    Returns:
        The groups, each a dictionary with `name`, `params`, `lr`, `weight_decay`.

    Raises:
        ConfigurationError: for a negative number, a `layer_decay` outside (0, 1] or another kind of network.

    Example:
        >>> import torch
        >>> from monai_vggunet import VGG16UNet
        >>> optimizer = torch.optim.AdamW(parameter_groups(VGG16UNet()))
    """
    if encoder_lr < 0 or decoder_lr < 0 or weight_decay < 0:
        raise ConfigurationError(
            f"got encoder_lr={encoder_lr}, decoder_lr={decoder_lr}, weight_decay={weight_decay}, expected 0 or more"
        )
    if not 0 < layer_decay <= 1:
        raise ConfigurationError(f"got layer_decay={layer_decay}, expected a factor in (0, 1]")
    unet = find_vgg16_unet(network)
    stages = unet.encoder_stages()
    groups: list[dict[str, Any]] = []
    for number, stage in enumerate(stages):
        lr = encoder_lr * layer_decay ** (len(stages) - 1 - number)
        groups += _with_and_without_decay(f"encoder_stage_{number}", stage.parameters(), lr, weight_decay)
    rest = [parameter for name, parameter in unet.named_parameters() if not name.startswith("encoder.")]
    return groups + _with_and_without_decay("decoder", rest, decoder_lr, weight_decay)


def _with_and_without_decay(
    name: str, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Two groups; the biases and norms are the vectors. Plain VGG16 has biases too, so none is ever empty."""
    parameters = list(parameters)
    weights = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    return [
        {"name": name, "params": weights, "lr": lr, "weight_decay": weight_decay},
        {"name": f"{name}_no_decay", "params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
