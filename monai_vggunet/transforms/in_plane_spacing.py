"""Slices brought to a spacing in their own plane, and refused where a few pixels would become gigabytes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Resize
from monai.transforms.spatial.functional import resize
from monai.utils import InterpolateMode

from monai_vggunet.data.stack_axis import spacing_of
from monai_vggunet.errors import ImageContentError
from monai_vggunet.memory import lack_of_memory
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["InPlaneSpacing", "InPlaneSpacingd"]

SAME_SPACING = 0.005  # relative; resampling for less would blur without a gain
# PET at 5 mm for a CT model at 0.5 mm is a factor of ten; beyond twice that, nothing the model learned can be seen.
MOST_ZOOM = 20.0
# Twice the largest matrix that scanners give; a slice that is larger by itself may stay so.
MOST_ENLARGED_SIDE = 4096
BYTES_PER_VOXEL = 8  # float32, and a copy while axes are put in order


class InPlaneSpacing(Resize):
    """Bring slices to a spacing in their plane, the stack axis left alone: nothing is mixed between slices.

    A volume `(C, X, Y, Z)` with slices along Z becomes `(C, X', Y', Z)` whose size is the nearest whole number of
    pixels; the affine says the spacing that results exactly, a shear (gantry tilt) included. Invertible.

    Args:
        spacing_mm: target spacing along X and Y.
        mode: `bilinear` for images, `nearest` for labels.

    Raises:
        ImageContentError: in the call, if the spacing is so unlike the target that nothing could be recognized, or the
            result would be larger than any scanner's matrix, or than memory.
    """

    def __init__(self, spacing_mm: tuple[float, float], mode: str = "bilinear") -> None:
        self.spacing_mm = tuple(float(s) for s in spacing_mm)
        self.interpolation = InterpolateMode.NEAREST_EXACT if mode == "nearest" else InterpolateMode.TRILINEAR
        super().__init__(spatial_size=-1, mode=self.interpolation)

    def __call__(self, img: MetaTensor, *args: Any, **kwargs: Any) -> MetaTensor:
        """Return the resized volume; unchanged when the spacing fits already."""
        spacing = spacing_of(np.asarray(img.affine))[:2]
        zoom = spacing / np.array(self.spacing_mm)
        pixels = " x ".join(f"{s:.4g}" for s in spacing)
        described = f"{source_name(img)} has pixels of {pixels} mm, the model works at {self.spacing_mm} mm"
        if not ((zoom >= 1 / MOST_ZOOM) & (zoom <= MOST_ZOOM)).all():
            raise ImageContentError(
                f"{described}; expected at most a factor of {MOST_ZOOM:g} between them: correct the unit in its "
                "header, or use another model"
            )
        size = [max(1, round(n * z)) for n, z in zip(img.shape[1:3], zoom)]
        if (np.abs(zoom - 1) < SAME_SPACING).all():
            size = list(img.shape[1:3])
        _require_room(img.shape, size, described)
        return resize(
            img,
            (*size, img.shape[3]),
            self.interpolation,
            None,  # align_corners: pixel centers, as the affine says
            torch.float32,
            3,
            False,
            None,
            False,
            self.get_transform_info(),
        )

    def inverse_transform(self, data: torch.Tensor, transform: dict) -> torch.Tensor:
        """Resize back; `nearest`, which `Invertd` asks for, rounds down and shifts labels, `nearest-exact` does not."""
        if transform["extra_info"]["mode"] == InterpolateMode.NEAREST:
            transform["extra_info"]["mode"] = InterpolateMode.NEAREST_EXACT
        return super().inverse_transform(data, transform)


class InPlaneSpacingd(MapTransform, InvertibleTransform):
    """Dictionary version of `InPlaneSpacing`.

    Args:
        keys: image and label keys.
        spacing_mm: target spacing along X and Y.
        mode: one interpolation for all keys or one each.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing_mm: tuple[float, float],
        mode: str | tuple[str, ...] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        modes = (mode,) * len(self.keys) if isinstance(mode, str) else mode
        self.spacers = {key: InPlaneSpacing(spacing_mm, m) for key, m in zip(self.keys, modes)}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.spacers[key](d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring every key back to its original in-plane size."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.spacers[key].inverse(d[key])
        return d


def _require_room(shape: tuple[int, ...], size: list[int], described: str) -> None:
    """Refuse to enlarge slices of `(C, X, Y, Z)` beyond what scanners give, or memory holds."""
    if any(after > max(MOST_ENLARGED_SIDE, before) for after, before in zip(size, shape[1:3])):
        raise ImageContentError(
            f"{described}: its slices would become {size[0]} x {size[1]} pixels, expected up to {MOST_ENLARGED_SIDE} a "
            "side: a wrong unit in its header; correct it, or crop the image"
        )
    lacking = lack_of_memory(BYTES_PER_VOXEL * shape[0] * math.prod(size) * shape[3])
    if lacking:
        raise ImageContentError(f"{described}: resampled to {size[0]} x {size[1]} pixels, {lacking}; crop the image")


InPlaneSpacingD = InPlaneSpacingDict = InPlaneSpacingd
