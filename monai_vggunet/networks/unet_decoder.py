"""The U-Net decoder: from the encoder's maps back to full resolution.

Shapes: maps ``(B, C_i, H_i, W_i)`` at strides 1, 2, 4, 8, 16 in, ``(B, decoder_channels[-1], H, W)`` out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from monai_vggunet.errors import ConfigurationError

__all__ = ["VGGUNetDecoder", "VGGUpBlock", "is_exporting"]

UPSAMPLE_MODES = ("deconv", "bilinear")


class VGGUNetDecoder(nn.Module):
    """A chain of up-blocks, each joined by the encoder's map of the next finer stage.

    Args:
        encoder_channels: channels of the encoder's maps, finest first.
        decoder_channels: channels after each up-block, coarsest first; one fewer than maps.
        upsample: "deconv" (transposed convolution) or "bilinear" (1×1 convolution, then bilinear interpolation).

    Raises:
        ConfigurationError: when the numbers of channels do not belong together or `upsample` is unknown.

    Paper: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
    https://arxiv.org/abs/1505.04597.
    """

    def __init__(
        self, encoder_channels: Sequence[int], decoder_channels: Sequence[int], upsample: str = "deconv"
    ) -> None:
        super().__init__()
        if len(decoder_channels) != len(encoder_channels) - 1:
            raise ConfigurationError(
                f"got decoder_channels={tuple(decoder_channels)}, expected {len(encoder_channels) - 1} numbers, "
                f"coarsest first: one for each step up from {len(encoder_channels)} encoder maps"
            )
        skips = list(encoder_channels)[-2::-1]
        inputs = [encoder_channels[-1], *decoder_channels[:-1]]
        self.blocks = nn.ModuleList(
            VGGUpBlock(in_channels, skip_channels, out_channels, upsample)
            for in_channels, skip_channels, out_channels in zip(inputs, skips, decoder_channels)
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the decoder's map at the size of ``maps[0]``; `maps` are finest first."""
        x = maps[-1]
        finer = len(maps) - 2
        for block in self.blocks:
            x = block(x, maps[finer])
            finer -= 1
        return x


class VGGUpBlock(nn.Module):
    """Upsample by two, fit to the finer map's size, concatenate with it, then twice convolution, batch norm, ReLU.

    The decoder has batch norm whether or not the encoder does: it starts untrained.

    Args:
        in_channels: channels of the coarse map.
        skip_channels: channels of the encoder's finer map.
        out_channels: channels of the result.
        upsample: "deconv" or "bilinear". A 1×1 convolution and bilinear interpolation commute, so the convolution
            comes first, at a quarter of the cost.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, upsample: str = "deconv") -> None:
        super().__init__()
        if upsample not in UPSAMPLE_MODES:
            raise ConfigurationError(f"got upsample={upsample!r}, expected one of {', '.join(UPSAMPLE_MODES)}")
        self.up: nn.Module
        if upsample == "deconv":
            self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        else:
            self.up = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.convolutions = nn.Sequential(
            *_convolution(skip_channels + out_channels, out_channels), *_convolution(out_channels, out_channels)
        )
        self._initialize(in_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return ``(B, out_channels, H, W)`` for a coarse `x` and a finer `skip` ``(B, skip_channels, H, W)``."""
        x = _resize(self.up(x), skip)
        return self.convolutions(torch.cat([skip, x], dim=1))

    def _initialize(self, in_channels: int) -> None:
        """He initialization; the upsampling is linear and sees one value per channel, hence 1 / in_channels."""
        for module in self.convolutions:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.up.weight, std=math.sqrt(1 / in_channels))  # type: ignore[arg-type]
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    # no bias: the batch norm that follows has its own
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


def _resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Interpolate to the size of `like` where pooling an odd size has lost a row or column."""
    exporting = False
    if not torch.jit.is_scripting():
        exporting = is_exporting()
    # An exported graph has no branches: comparing would fix the sizes of the example; to interpolate to the same
    # size changes nothing.
    if not exporting and x.shape[2] == like.shape[2] and x.shape[3] == like.shape[3]:
        return x
    return F.interpolate(x, size=[like.shape[2], like.shape[3]], mode="bilinear", align_corners=False)


def is_exporting() -> bool:
    """Whether a graph without branches is being recorded (`torch.export`, ONNX, `torch.jit.trace`)."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
