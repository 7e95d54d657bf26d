"""The five convolution stages of VGG16 as a MONAI encoder.

Shapes: an image ``(B, C, H, W)`` gives five maps

    stage                   0        1          2          3          4
    channels               64      128        256        512        512
    stride                  1        2          4          8         16    `VGG16Encoder`, before each pooling
    stride                  2        4          8         16         32    `VGG16PooledEncoder`, after it
    `vgg16_bn().features`  0-5     6-12      13-22      23-32      33-42   layers (of `VGG16Encoder`)
    `vgg16().features`     0-3      4-8       9-15      16-22      23-29
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from os import PathLike

import torch
from monai.networks.blocks.encoder import BaseEncoder
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from monai_vggunet.errors import ConfigurationError

from .pretrained import load_encoder_weights

__all__ = ["VGG16Encoder", "VGG16PooledEncoder", "stage_numbers"]

STAGE_CHANNELS = (64, 128, 256, 512, 512)
VGG16_CONFIGURATION = "D"  # the letter of VGG16 in the paper's table 1 and in torchvision


class VGG16Encoder(nn.Module, BaseEncoder):
    """The convolution stages of VGG16: an image in, five feature maps at strides 1, 2, 4, 8, 16 out.

    The layers are torchvision's own and keep their numbers: ``stages.1.7.weight`` here is ``features.7.weight``
    there, and with the same weights every map equals torchvision's.

    A stage can be frozen: its parameters then ask for no gradient and its batch-norm statistics stay as they are,
    also after `train()`, which a MONAI trainer calls at every iteration. For the leading frozen stages autograd keeps
    neither gradients nor activations.

    Args:
        spatial_dims: 2; ImageNet has no volumes.
        in_channels: channels of the image; see `load_encoder_weights` for how RGB weights are fitted to another number.
        pretrained: None or False for He initialization, True or "imagenet", "auto", or a file:
            see `load_encoder_weights`.
        batch_norm: `vgg16_bn` when True, plain `vgg16` otherwise.
        pretrained_stages: load only the first so many stages, for a file that holds no more; None for all five.

    Raises:
        ConfigurationError: for a number of dimensions other than 2 or a non-positive number of channels.
        PretrainedWeightsError: when the weights are not available or do not fit.

    Example:
        >>> maps = VGG16Encoder()(torch.zeros(1, 3, 32, 48))
        >>> [tuple(m.shape[1:]) for m in maps]
        [(64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)]

    Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
    https://arxiv.org/abs/1409.1556.
    """

    # where a stage begins: at the pooling before it (False) or after that pooling (True)
    _pools_at_end = False
    __jit_unused_properties__ = ("frozen_stages",)

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        pretrained: bool | str | PathLike[str] | None = None,
        batch_norm: bool = True,
        pretrained_stages: int | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ConfigurationError(
                f"got spatial_dims={spatial_dims}, expected 2: VGG16 is a network for slices; give it slices of the "
                "volume, as SliceInferer does"
            )
        if in_channels < 1:
            raise ConfigurationError(f"got in_channels={in_channels}, expected 1 or more")
        self.in_channels = in_channels
        self.batch_norm = batch_norm
        self.stages = nn.ModuleList(_cut_into_stages(_layers(in_channels, batch_norm), self._pools_at_end))
        self.lacks_statistics = False
        self._frozen: tuple[int, ...] = ()
        self._initialize()
        self.pretrained_source: str = load_encoder_weights(self, pretrained, pretrained_stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the five maps of an image ``(B, C, H, W)``, finest first, H and W of at least 16 (pooled: 32)."""
        maps: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    @property
    def frozen_stages(self) -> tuple[int, ...]:
        """The numbers of the frozen stages, ascending."""
        return self._frozen

    def set_frozen_stages(self, stages: int | Collection[int]) -> None:
        """Freeze exactly these stages and free the others.

        Args:
            stages: stage numbers from 0 (finest) to 4, or an int n for the first n stages.

        Raises:
            ConfigurationError: for a number that is not a stage.
        """
        frozen = stage_numbers(stages)
        for number, stage in enumerate(self.stages):
            stage.requires_grad_(number not in frozen)
            if number in frozen:
                for parameter in stage.parameters():
                    parameter.grad = None  # an optimizer still steps along a gradient that was left behind
        self._frozen = frozen
        self.train(self.training)

    def train(self, mode: bool = True) -> VGG16Encoder:
        """Set training mode as `nn.Module.train` does, but leave frozen stages, with their statistics, in eval mode."""
        super().train(mode)
        for number in self._frozen:
            self.stages[number].eval()
        return self

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Names under which `FlexibleUNet` knows the encoders."""
        return ["vgg16", "vgg16_bn"]

    @classmethod
    def get_encoder_parameters(cls) -> list[dict]:
        """Constructor arguments of each name."""
        common = {"spatial_dims": 2, "in_channels": 3, "pretrained": False}
        return [{**common, "batch_norm": batch_norm} for batch_norm in (False, True)]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Channels of the five maps of each name."""
        return [STAGE_CHANNELS, STAGE_CHANNELS]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Number of maps of each name."""
        return [len(STAGE_CHANNELS), len(STAGE_CHANNELS)]

    def _initialize(self) -> None:
        """He initialization, as torchvision's VGG."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)


class VGG16PooledEncoder(VGG16Encoder):
    """The same stages, each map after its pooling (strides 2 to 32), as MONAI's `FlexibleUNet` wants its backbones.

    Registered as "vgg16" and "vgg16_bn" when `monai_vggunet.networks` is imported. `VGG16UNet`, which keeps the
    full-resolution map, is the better network.

    Example:
        >>> from monai.networks.nets import FlexibleUNet
        >>> FlexibleUNet(in_channels=3, out_channels=2, backbone="vgg16_bn")(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 2, 64, 64])
    """

    _pools_at_end = True


def _layers(in_channels: int, batch_norm: bool) -> nn.Sequential:
    """torchvision's `vgg16` or `vgg16_bn` `features`, for any number of input channels."""
    layers = make_layers(cfgs[VGG16_CONFIGURATION], batch_norm=batch_norm)
    layers[0] = nn.Conv2d(in_channels, STAGE_CHANNELS[0], kernel_size=3, padding=1)
    return layers


def _cut_into_stages(layers: nn.Sequential, pools_at_end: bool) -> list[nn.Sequential]:
    """Cut at the poolings; a slice of a Sequential keeps its layers' numbers, so they stay torchvision's."""
    poolings = [number for number, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    ends = [number + 1 for number in poolings] if pools_at_end else poolings
    return [layers[begin:end] for begin, end in zip([0, *ends[:-1]], ends)]


def stage_numbers(stages: int | Iterable[int]) -> tuple[int, ...]:
    """Return the stages' numbers, ascending and once each; an int n stands for the first n stages.

    Raises:
        ConfigurationError: for a number that is not a stage.
    """
    count = len(STAGE_CHANNELS)
    if isinstance(stages, int):
        if not 0 <= stages <= count:
            raise ConfigurationError(f"got {stages} encoder stages, expected 0 to {count}")
        return tuple(range(stages))
    numbers = tuple(sorted({int(number) for number in stages}))
    wrong = [number for number in numbers if not 0 <= number < count]
    if wrong:
        raise ConfigurationError(
            f"got encoder stages {wrong}, expected numbers from 0 (finest) to {count - 1} (deepest)"
        )
    return numbers


FLEXUNET_BACKBONE.register_class(VGG16PooledEncoder)
