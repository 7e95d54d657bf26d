"""From a preprocessed volume to its labels."""

from __future__ import annotations

from monai_vggunet.inference.engines import Engine, EngineChoice
from monai_vggunet.inference.slice_inferer import Confidence, VolumeSliceInferer
from monai_vggunet.inference.test_time_views import View, views_of
from monai_vggunet.networks.autocast import (
    AutocastInferer,
    autocast_dtype,
    describe_device,
    describe_hardware,
    own_device,
)

__all__ = [
    "AutocastInferer",
    "Confidence",
    "Engine",
    "EngineChoice",
    "View",
    "VolumeSliceInferer",
    "autocast_dtype",
    "describe_device",
    "describe_hardware",
    "own_device",
    "views_of",
]
