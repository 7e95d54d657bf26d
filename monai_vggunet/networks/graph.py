"""The network as a graph of any batch and size, which every export but TorchScript starts from."""

from __future__ import annotations

import copy

import torch
from torch import nn

from monai_vggunet.networks.vgg_unet import MIN_SIZE, find_vgg16_unet

__all__ = ["DYNAMIC_AXES", "export_program"]

DYNAMIC_AXES = {0: "batch", 2: "height", 3: "width"}
LARGEST = {"batch": 4096, "height": 32768, "width": 32768}


def export_program(network: nn.Module) -> torch.export.ExportedProgram:
    """Record a network in evaluation mode by `torch.export`.

    Args:
        network: a `VGG16UNet`; input `(B, in_channels, H, W)` float32.

    Returns:
        A program for any batch from 1 and any height and width from 32 pixels.
    """
    channels = find_vgg16_unet(network).in_channels
    device = next(network.parameters()).device
    example = torch.zeros(2, channels, 4 * MIN_SIZE, 3 * MIN_SIZE, device=device)
    # A batch of one works though no minimum is given for it: to state one makes torch.export guard strides by size.
    dims = {
        0: torch.export.Dim("batch", max=LARGEST["batch"]),
        2: torch.export.Dim("height", min=MIN_SIZE, max=LARGEST["height"]),
        3: torch.export.Dim("width", min=MIN_SIZE, max=LARGEST["width"]),
    }
    # Weights in the channels-last format would tie the graph to fixed sizes.
    plain = copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return torch.export.export(plain, (example,), dynamic_shapes={"x": dims})
