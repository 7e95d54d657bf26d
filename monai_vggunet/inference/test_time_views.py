"""Test-time views: the same slices at several sizes and mirrored, their probabilities averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from monai_vggunet.data.model_limits import STRIDE
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference.engines.engine import Logits
from monai_vggunet.transforms.sides import sided_class

__all__ = ["TTA_MODES", "View", "probabilities_of_view", "views_of"]

TTA_MODES = ("none", "flip", "scale", "full")
SCALES = (0.5, 1.0, 1.5)
SCALE_RANGE = (0.1, 4.0)


@dataclass(frozen=True)
class View:
    """One way of looking at a slice: zoomed by `scale` in both directions, and mirrored along its columns or not."""

    scale: float = 1.0
    mirrored: bool = False


def views_of(tta: str, scales: Sequence[float] = SCALES, class_names: Sequence[str] = ()) -> tuple[View, ...]:
    """Return the views of a mode.

    Args:
        tta: `none`, `flip`, `scale` (every scale), or `full` (every scale, mirrored too).
        scales: zoom factors.
        class_names: classes named left or right forbid mirroring, which would exchange them.

    Raises:
        ConfigurationError: an unknown mode, no scale, or one out of range; mirroring with sided classes.
    """
    if tta not in TTA_MODES:
        raise ConfigurationError(f"tta is {tta!r}; expected {', '.join(TTA_MODES)}")
    if not scales or any(not SCALE_RANGE[0] <= scale <= SCALE_RANGE[1] for scale in scales):
        raise ConfigurationError(
            f"scales are {list(scales)}; expected factors from {SCALE_RANGE[0]} to {SCALE_RANGE[1]}"
        )
    sided = sided_class(class_names)
    if tta in ("flip", "full") and sided is not None:
        raise ConfigurationError(
            f"tta {tta!r} mirrors slices, but class {sided!r} is on one side: a mirrored view would exchange left "
            "and right; use 'scale' or 'none'"
        )
    factors = tuple(scales) if tta in ("scale", "full") else (1.0,)
    sides = (False, True) if tta in ("flip", "full") else (False,)
    return tuple(View(float(factor), side) for factor in factors for side in sides)


def probabilities_of_view(slices: torch.Tensor, view: View, logits_of: Logits) -> torch.Tensor:
    """Return class probabilities `(n, K, H, W)` of slices `(n, C, H, W)` as one view sees them, on the slices' grid.

    A zoomed slice is padded to the network's stride by repeating its border, and its result cropped before it is
    brought back to size.
    """
    size = slices.shape[-2:]
    seen = slices.flip(-1) if view.mirrored else slices
    if view.scale == 1.0:
        result = logits_of(seen).softmax(1)
    else:
        zoomed = [max(1, round(n * view.scale)) for n in size]
        seen = F.interpolate(seen, zoomed, mode="bilinear", align_corners=False, antialias=view.scale < 1)
        padding = [-n % STRIDE for n in zoomed]
        seen = F.pad(seen, (0, padding[1], 0, padding[0]), mode="replicate")
        result = logits_of(seen)[..., : zoomed[0], : zoomed[1]].softmax(1)
        result = F.interpolate(result, size, mode="bilinear", align_corners=False)
    return result.flip(-1) if view.mirrored else result
