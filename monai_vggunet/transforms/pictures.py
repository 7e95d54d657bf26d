"""Photographs and microscopy: whatever a picture file holds becomes red, green and blue in 0 to 255."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_vggunet.errors import ImageContentError
from monai_vggunet.file_kinds import PICTURE_ENDINGS, ends_with
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["PICTURE_RANGE", "AsColord"]

PICTURE_RANGE = (0.0, 255.0)  # eight bits per channel


class AsColord(MapTransform):
    """Give pictures three channels: gray three times, transparency dropped; other images pass unchanged.

    A data set may then hold gray and color pictures side by side. Pictures are told by the ending of their file.

    Raises:
        ImageContentError: more than eight bits per channel.
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
            if float(image.max()) > PICTURE_RANGE[1]:
                raise ImageContentError(
                    f"{source_name(image)} has values up to {float(image.max()):g}; expected a picture with 8 bits per "
                    "channel (0 to 255): convert it"
                )
            plain = image.as_tensor()
            color = plain[:3] if plain.shape[0] > 2 else torch.cat([plain[:1]] * 3)
            d[key] = MetaTensor(color, meta=image.meta)
        return d


AsColorD = AsColorDict = AsColord
