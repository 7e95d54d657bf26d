"""The network: a VGG16 encoder with ImageNet weights and a U-Net decoder; importing it registers the encoders."""

from __future__ import annotations

from .autocast import AutocastInferer, autocast_dtype, describe_device
from .fit_batch_norm import fit_batch_norm
from .pretrained import load_encoder_weights
from .unet_decoder import VGGUNetDecoder, VGGUpBlock
from .vgg_encoder import VGG16Encoder, VGG16PooledEncoder
from .vgg_unet import VGG16UNet, find_vgg16_unet

__all__ = [
    "AutocastInferer",
    "VGG16UNet",
    "VGG16Encoder",
    "VGG16PooledEncoder",
    "VGGUNetDecoder",
    "VGGUpBlock",
    "autocast_dtype",
    "describe_device",
    "find_vgg16_unet",
    "fit_batch_norm",
    "load_encoder_weights",
]
