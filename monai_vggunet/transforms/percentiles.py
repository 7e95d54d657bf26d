"""Intensities without a unit between percentiles of their own volume, which may be blank or nearly so."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, ScaleIntensityRange
from monai.transforms.utils_pytorch_numpy_unification import percentile
from monai.utils import convert_to_dst_type, convert_to_tensor

from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["ScaleByPercentilesd"]

_NEARLY_BLANK = "%s holds one value in nearly all of its voxels: its whole range, %g to %g, is scaled; look at the file"
_log = logging.getLogger(__name__)


class ScaleByPercentilesd(MapTransform):
    """Scale two percentiles of a volume to 0 and 1, and clip, as MONAI's `ScaleIntensityRangePercentilesd` does.

    Where the two are equal, because one value fills nearly the whole volume, MONAI leaves the volume unscaled, with a
    warning that names nothing. Here its whole range is scaled, the log names it, and a blank volume becomes 0.

    Args:
        keys: the image's key, a `MetaTensor` `(C, X, Y, Z)`.
        lower, upper: the percentiles.
    """

    def __init__(self, keys: KeysCollection, lower: float, upper: float) -> None:
        super().__init__(keys)
        self.lower, self.upper = lower, upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            values = image.as_tensor()
            low, high = percentile(values, self.lower), percentile(values, self.upper)
            if low == high:
                low, high = values.aminmax()
                if low < high:  # of a blank one the check of volumes tells
                    _log.warning(_NEARLY_BLANK, source_name(image), float(low), float(high))
            if low == high:
                scaled = torch.zeros_like(values, dtype=torch.float32)
            else:
                within = ScaleIntensityRange(low, high, b_min=0.0, b_max=1.0, clip=True)(values)
                scaled = convert_to_tensor(within, track_meta=False)
            d[key] = convert_to_dst_type(scaled, dst=image, dtype=torch.float32)[0]
        return d


ScaleByPercentilesD = ScaleByPercentilesDict = ScaleByPercentilesd
