"""Intensities without a unit between percentiles of their own volume, which may be blank or nearly so."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, ScaleIntensityRange, Transform
from monai.transforms.utils_pytorch_numpy_unification import percentile
from monai.utils import convert_to_dst_type, convert_to_tensor

from monai_vggunet.data.padded_voxels import padding_share
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["ScaleByPercentiles", "ScaleByPercentilesd"]

_NEARLY_BLANK = "%s holds one value in nearly all of its voxels: its whole range, %g to %g, is scaled; look at the file"
_log = logging.getLogger(__name__)


class ScaleByPercentiles(Transform):
    """Scale two percentiles of a volume to 0 and 1, and clip, as MONAI's `ScaleIntensityRangePercentiles` does.

    Padded voxels, where nothing was measured, do not count in the percentiles (PS3.3 C.7.5.1.1.2). The reader gave
    them the lowest value, so they become 0, and leaving them out moves the ranks of the percentiles alone.

    Where the two percentiles are equal, because one value fills nearly the whole volume, MONAI leaves the volume
    unscaled, with a warning that names nothing. Here its whole range is scaled, the log names it, and a blank volume
    becomes 0.

    Args:
        lower: percentile of the measured voxels that becomes 0.
        upper: percentile that becomes 1.

    Example:
        >>> ScaleByPercentiles(0.0, 100.0)(torch.tensor([[2.0, 3.0, 4.0]])).tolist()
        [[0.0, 0.5, 1.0]]
    """

    def __init__(self, lower: float, upper: float) -> None:
        self.lower, self.upper = lower, upper

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the volume `(C, X, Y, Z)` in 0..1, float32, with its metadata if it has any."""
        values = image.as_tensor() if isinstance(image, MetaTensor) else image
        low, high = (percentile(values, rank) for rank in self._ranks(image))
        if low == high:
            low, high = values.aminmax()
            if low < high:  # of a blank one the check of volumes tells
                name = source_name(image) if isinstance(image, MetaTensor) else "a volume"
                _log.warning(_NEARLY_BLANK, name, float(low), float(high))
        if low == high:
            scaled = torch.zeros_like(values, dtype=torch.float32)
        else:
            within = ScaleIntensityRange(low, high, b_min=0.0, b_max=1.0, clip=True)(values)
            scaled = convert_to_tensor(within, track_meta=False)
        return convert_to_dst_type(scaled, dst=image, dtype=torch.float32)[0]

    def _ranks(self, image: torch.Tensor) -> tuple[float, ...]:
        """Return the percentiles among all voxels that are those wanted among the measured ones."""
        share = padding_share(image.meta) if isinstance(image, MetaTensor) else 0.0
        return tuple(min(100.0 * share + rank * (1.0 - share), 100.0) for rank in (self.lower, self.upper))


class ScaleByPercentilesd(MapTransform):
    """Dictionary version of `ScaleByPercentiles`."""

    def __init__(self, keys: KeysCollection, lower: float, upper: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = ScaleByPercentiles(lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.scale(d[key])
        return d


ScaleByPercentilesD = ScaleByPercentilesDict = ScaleByPercentilesd
