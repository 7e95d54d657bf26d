"""From a preprocessed volume to its labels."""

from __future__ import annotations

from monai_vggunet.inference.autocast import AutocastInferer, autocast_dtype, describe_device
from monai_vggunet.inference.slice_inferer import VolumeSliceInferer

__all__ = ["AutocastInferer", "VolumeSliceInferer", "autocast_dtype", "describe_device"]
