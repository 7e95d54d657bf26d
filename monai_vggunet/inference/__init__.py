"""From a preprocessed volume to its labels."""

from __future__ import annotations

from monai_vggunet.inference.slice_inferer import VolumeSliceInferer
from monai_vggunet.networks.autocast import AutocastInferer, autocast_dtype, describe_device

__all__ = ["AutocastInferer", "VolumeSliceInferer", "autocast_dtype", "describe_device"]
