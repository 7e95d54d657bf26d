"""Padded pixels become background: what a scanner or an export filled in where it measured nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_vggunet.dicom.headers.records import FrameRecord

__all__ = ["Padding", "fill_padding"]


# Scanners store 12 bits from here on. Lossy compression smears padding, some of which then passes for a real value.
LEAST_HU = -1024.0


@dataclass(frozen=True, slots=True)
class Padding:
    """The padded voxels of a volume.

    Attributes:
        voxels: how many there are.
        share: of all voxels, 0 to 1.
        background: their value, and the highest one where planes differ: voxels up to it are padding, or as low as it.
    """

    voxels: int
    share: float
    background: float


def fill_padding(volume: np.ndarray, frames: Sequence[FrameRecord], counts: np.ndarray, is_ct: bool) -> Padding | None:
    """Give padded voxels the lowest real value of the volume, so that they are background whatever was stored.

    Args:
        volume: (slices, rows, columns), float32, NaN where it is padded; it is changed in place.
        frames: planes in the order of the slices.
        counts: padded pixels of each plane.
        is_ct: whether values are HU: then padding below every real value, or below what a CT can measure, stays as it
            is, because that is what it was chosen for.

    Returns:
        What was padded; None if nothing was.
    """
    total = int(counts.sum())
    if not total:
        return None
    lowest = min(_lowest(plane, bool(count)) for plane, count in zip(volume, counts))
    padded = np.flatnonzero(counts).tolist()
    ends = [_rescaled_ends(frames[index]) for index in padded]
    # Without any real value, what was stored is as good as anything.
    stay = not math.isfinite(lowest) or (is_ct and all(high < max(lowest, LEAST_HU) for _, high in ends))
    values = [low if stay else lowest for low, _ in ends]
    for index, value in zip(padded, values):
        np.nan_to_num(volume[index], copy=False, nan=value)
    return Padding(total, total / volume.size, float(np.float32(max(values))))


def _lowest(plane: np.ndarray, is_padded: bool) -> float:
    """Return the lowest real value of a plane, infinity if all of it is padded."""
    lowest = float(np.fmin.reduce(plane, axis=None) if is_padded else plane.min())
    return math.inf if math.isnan(lowest) else lowest


def _rescaled_ends(frame: FrameRecord) -> tuple[float, float]:
    """Return the lowest and the highest rescaled value of a plane's padding; no limits where a Modality LUT decides."""
    if frame.padding is None or frame.has_lut:
        return 0.0, math.inf
    low, high = sorted(frame.rescale_slope * value + frame.rescale_intercept for value in frame.padding)
    return low, high
