"""MONAI transforms from a DICOM folder or a NIfTI file to the network's input, and back to the source's grid."""

from __future__ import annotations

from monai_vggunet.transforms.augment import (
    ForegroundSlicesd,
    RandColorJitterd,
    RandEvenZoomd,
    RandGrayscaled,
    RandSliceSamplesd,
)
from monai_vggunet.transforms.clicks import KeepClicksd, clicked_slices, clicks_on_grid, draw_clicks, slice_step
from monai_vggunet.transforms.grid import MatchGridd, match_axes
from monai_vggunet.transforms.in_plane_spacing import InPlaneSpacing, InPlaneSpacingd
from monai_vggunet.transforms.intensity import (
    NormalizeImageNet,
    NormalizeImageNetd,
    SliceChannels,
    denormalize_imagenet,
)
from monai_vggunet.transforms.label_checks import CheckLabeld
from monai_vggunet.transforms.labels import LoadLabeld
from monai_vggunet.transforms.loading import loading
from monai_vggunet.transforms.percentiles import ScaleByPercentiles, ScaleByPercentilesd
from monai_vggunet.transforms.pictures import AsColord
from monai_vggunet.transforms.pipelines import (
    inference_postprocessing,
    inference_preprocessing,
    network_grid_preprocessing,
    slice_channels,
    training_preprocessing,
)
from monai_vggunet.transforms.volume_checks import (
    AsVolume,
    AsVolumed,
    CheckModalityd,
    CheckPlaned,
    CheckVolume,
    CheckVolumed,
)

__all__ = [
    "AsColord",
    "AsVolume",
    "AsVolumed",
    "CheckLabeld",
    "CheckModalityd",
    "CheckPlaned",
    "CheckVolume",
    "CheckVolumed",
    "ForegroundSlicesd",
    "InPlaneSpacing",
    "InPlaneSpacingd",
    "KeepClicksd",
    "LoadLabeld",
    "MatchGridd",
    "NormalizeImageNet",
    "NormalizeImageNetd",
    "RandColorJitterd",
    "RandEvenZoomd",
    "RandGrayscaled",
    "RandSliceSamplesd",
    "ScaleByPercentiles",
    "ScaleByPercentilesd",
    "SliceChannels",
    "clicked_slices",
    "clicks_on_grid",
    "denormalize_imagenet",
    "draw_clicks",
    "inference_postprocessing",
    "inference_preprocessing",
    "loading",
    "match_axes",
    "network_grid_preprocessing",
    "slice_channels",
    "slice_step",
    "training_preprocessing",
]
