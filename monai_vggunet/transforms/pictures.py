"""Photographs and microscopy: gray pictures become red, green and blue too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_vggunet.file_kinds import PICTURE_ENDINGS, ends_with
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["PICTURE_RANGE", "AsColord"]

PICTURE_RANGE = (0.0, 255.0)  # eight bits per channel


class AsColord(MapTransform):
    """Give pictures three channels, gray three times; other images pass unchanged.

    A data set may then hold gray and color pictures side by side. Pictures are told by the ending of their file;
    `PictureReader` gave them values from 0 to 255.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key: `(C, X, Y, 1)` becomes `(3, X, Y, 1)`."""
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            if not ends_with(source_name(image), PICTURE_ENDINGS):
                continue
            if image.shape[0] == 1:
                d[key] = MetaTensor(torch.cat([image.as_tensor()] * 3), meta=image.meta)
        return d


AsColorD = AsColorDict = AsColord
