"""What an image's metadata say about its padded voxels, where nothing was measured: they count in no statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from monai_vggunet.dicom.pixels.padding import Padding

__all__ = ["is_measured", "padding_meta", "padding_share"]

_BACKGROUND, _SHARE = "background", "padding_share"


def padding_meta(padding: Padding | None) -> dict[str, float]:
    """Return the entries of a volume's metadata: the value of its padded voxels, and their share of all voxels."""
    return {_BACKGROUND: padding.background, _SHARE: padding.share} if padding else {}


def padding_share(meta: Mapping[str, Any]) -> float:
    """Return the share of padded voxels, 0 to 1; they have the lowest values of the volume.

    Args:
        meta: of an image, or of a batch of one.
    """
    return _number(meta, _SHARE) or 0.0


def is_measured(values: torch.Tensor, meta: Mapping[str, Any]) -> torch.Tensor | None:
    """Return where values are more than the background that padded voxels were given; None if nothing is padded.

    Args:
        values: of the image, in its own units; any part of it.
        meta: of the image, or of a batch of one.
    """
    background = _number(meta, _BACKGROUND)
    return None if background is None else values > background


def _number(meta: Mapping[str, Any], key: str) -> float | None:
    value = meta.get(key)
    return None if value is None else float(np.asarray(value).ravel()[0])  # a batch holds one for each image
