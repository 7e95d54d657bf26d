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
        is_among_values: whether the padding value lies between others, so that measured pixels may have it too.
    """

    voxels: int
    share: float
    background: float
    is_among_values: bool = False


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
    limits = [_limits(plane, bool(count)) for plane, count in zip(volume, counts)]
    lowest, highest = min(low for low, _ in limits), max(high for _, high in limits)
    padded = np.flatnonzero(counts).tolist()
    ends = [_rescaled_ends(frames[index]) for index in padded]
    # Without any real value, what was stored is as good as anything.
    stay = not math.isfinite(lowest) or (is_ct and all(high < max(lowest, LEAST_HU) for _, high in ends))
    values = [low if stay else lowest for low, _ in ends]
    for index, value in zip(padded, values):
        np.nan_to_num(volume[index], copy=False, nan=value)
    among = not stay and any(lowest < low and high < highest for low, high in ends)
    return Padding(total, total / volume.size, float(np.float32(max(values))), among)


def _limits(plane: np.ndarray, is_padded: bool) -> tuple[float, float]:
    """Return the lowest and highest real value of a plane; infinity and minus infinity if all of it is padded."""
    if not is_padded:
        return float(plane.min()), float(plane.max())
    low, high = float(np.fmin.reduce(plane, axis=None)), float(np.fmax.reduce(plane, axis=None))
    return (math.inf, -math.inf) if math.isnan(low) else (low, high)


def _rescaled_ends(frame: FrameRecord) -> tuple[float, float]:
    """Return the lowest and the highest rescaled value of a plane's padding; no limits where a Modality LUT decides."""
    if frame.padding is None or frame.has_lut:
        return 0.0, math.inf
    low, high = sorted(frame.rescale_slope * value + frame.rescale_intercept for value in frame.padding)
    return low, high
