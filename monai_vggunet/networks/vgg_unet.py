"""The network of this package: a U-Net whose encoder is VGG16 with ImageNet weights.

Shapes: ``(B, in_channels, H, W)`` in, logits ``(B, out_channels, H, W)`` out, for any H and W.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike

import torch
from torch import nn
from torch.nn import functional as F

from monai_vggunet.errors import ConfigurationError, ImageContentError
from monai_vggunet.names import counted

from .unet_decoder import VGGUNetDecoder, is_exporting
from .vgg_encoder import STAGE_CHANNELS, VGG16Encoder, stage_numbers

__all__ = ["VGG16UNet", "find_vgg16_unet"]

DECODER_CHANNELS = (256, 128, 64, 32)  # the source article's
# The deepest map, at stride 16, is then 2×2 or larger: batch norm can train on it even with a batch of one.
MIN_SIZE = 32


class VGG16UNet(nn.Module):
    """U-Net with a VGG16 encoder: five stages at strides 1 to 16, four up-blocks, a 1×1 convolution to the classes.

    Any input size works and the logits have the input's size; an image smaller than 32 pixels is padded by
    repeating its border and the logits are cropped. The network can be scripted (`torch.jit.script`) and exported
    (`torch.export`, ONNX) with dynamic batch, height and width; an exported graph does not pad and wants 32 pixels
    or more.

    Args:
        spatial_dims: 2; volumes go through slice by slice.
        in_channels: channels of the image.
        out_channels: number of classes K, the background included.
        batch_norm: encoder `vgg16_bn` when True, `vgg16` otherwise. The decoder has batch norm in either case.
        pretrained: None for He initialization; "imagenet" (or True), "auto", or a weight file's path:
            see `load_encoder_weights`.
        decoder_channels: channels after each of the four up-blocks, coarsest first.
        upsample: "deconv" (transposed convolution) or "bilinear".
        dropout: probability of dropping a whole channel before the last convolution.
        pretrained_stages: load only the first so many encoder stages, for a file that holds no more.

    Attributes:
        pretrained_source: what the encoder started from: "imagenet", "file:NAME" or "scratch".

    Raises:
        ConfigurationError: for invalid arguments.
        PretrainedWeightsError: when the weights are not available or do not fit.

    Example:
        >>> network = VGG16UNet(in_channels=1, out_channels=3)
        >>> network.set_frozen_stages(2)
        >>> network(torch.zeros(2, 1, 35, 50)).shape
        torch.Size([2, 3, 35, 50])
    """

    __jit_unused_properties__ = ("frozen_stages",)

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 2,
        batch_norm: bool = True,
        pretrained: bool | str | PathLike[str] | None = None,
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
        upsample: str = "deconv",
        dropout: float = 0.0,
        pretrained_stages: int | None = None,
    ) -> None:
        super().__init__()
        if out_channels < 1:
            raise ConfigurationError(f"got out_channels={out_channels}, expected the number of classes, 1 or more")
        if not 0.0 <= dropout < 1.0:
            raise ConfigurationError(f"got dropout={dropout}, expected a probability in [0, 1)")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.min_size = MIN_SIZE
        self.encoder = VGG16Encoder(spatial_dims, in_channels, pretrained, batch_norm, pretrained_stages)
        self.decoder = VGGUNetDecoder(STAGE_CHANNELS, decoder_channels, upsample)
        self.dropout = nn.Dropout2d(dropout) if dropout > 0.0 else nn.Identity()
        self.head = nn.Conv2d(decoder_channels[-1], out_channels, kernel_size=1)
        nn.init.xavier_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.pretrained_source: str = self.encoder.pretrained_source

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, K, H, W)`` for an image ``(B, C, H, W)``.

        Raises:
            ImageContentError: for an input of other dimensions or channels (not in a scripted network).
        """
        if not torch.jit.is_scripting():
            self._check(x)
            if is_exporting():
                return self._segment(x)
        padded = _pad_to_minimum(x, self.min_size)
        return self._segment(padded)[:, :, : x.shape[2], : x.shape[3]]

    def _segment(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.decoder(self.encoder(x))))

    def encoder_stages(self) -> list[nn.Module]:
        """The encoder's five stages, finest first, for parameter groups by depth."""
        return list(self.encoder.stages)

    @property
    def frozen_stages(self) -> tuple[int, ...]:
        """The numbers of the frozen encoder stages, ascending."""
        return self.encoder.frozen_stages

    def set_frozen_stages(self, stages: int | Collection[int]) -> None:
        """Freeze exactly these encoder stages (an int n: the first n) and free the others."""
        self.encoder.set_frozen_stages(stages)

    def freeze_encoder(self, stages: int | Collection[int] = len(STAGE_CHANNELS)) -> None:
        """Freeze these encoder stages, parameters and batch-norm statistics, besides those already frozen.

        Args:
            stages: stage numbers from 0 (finest) to 4, or an int n for the first n; all by default.
        """
        self.set_frozen_stages({*self.frozen_stages, *stage_numbers(stages)})

    def unfreeze_encoder(self, stages: int | Collection[int] = len(STAGE_CHANNELS)) -> None:
        """Free these encoder stages (an int n: the first n; all by default) and leave the others as they are."""
        self.set_frozen_stages(set(self.frozen_stages) - set(stage_numbers(stages)))

    def _check(self, x: torch.Tensor) -> None:
        if x.dim() != 4:
            raise ImageContentError(
                f"got an image of shape {tuple(x.shape)}, expected (batch, {self.in_channels}, height, width); "
                "a volume goes through slice by slice"
            )
        if x.shape[1] != self.in_channels:
            raise ImageContentError(
                f"got an image of shape {tuple(x.shape)} with {counted(x.shape[1], 'channel')}, expected "
                f"{self.in_channels}; prepare that many, or build VGG16UNet(in_channels={x.shape[1]})"
            )
        if not x.is_floating_point():
            raise ImageContentError(f"got an image of type {x.dtype}, expected floating point; normalize it first")


def find_vgg16_unet(network: nn.Module) -> VGG16UNet:
    """Return the `VGG16UNet` inside a network that `DistributedDataParallel` or `torch.compile` has wrapped.

    Raises:
        ConfigurationError: when there is none.
    """
    inner = network
    while not isinstance(inner, VGG16UNet):
        wrapped = getattr(inner, "module", getattr(inner, "_orig_mod", None))
        if not isinstance(wrapped, nn.Module):
            raise ConfigurationError(
                f"got a {type(network).__name__}, expected a VGG16UNet, bare or wrapped by DistributedDataParallel, "
                "DataParallel or torch.compile; only its encoder has stages that can be frozen"
            )
        inner = wrapped
    return inner


def _pad_to_minimum(x: torch.Tensor, min_size: int) -> torch.Tensor:
    """Repeat the last row and column until every pooling has something to pool."""
    missing_rows = max(0, min_size - x.shape[2])
    missing_columns = max(0, min_size - x.shape[3])
    if missing_rows == 0 and missing_columns == 0:
        return x
    return F.pad(x, [0, missing_columns, 0, missing_rows], mode="replicate")
