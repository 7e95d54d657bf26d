"""Masks in pictures: the numbers that a file stores, where no compression or encoding has changed them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from monai_vggunet.data.picture_colors import Encoding, without_alpha
from monai_vggunet.data.picture_reader import WITH_PREVIEW, PictureReader
from monai_vggunet.errors import LabelContentError
from monai_vggunet.names import MOST_NAMED

__all__ = ["LabelPictureReader"]

_LOSSY = ("jpeg", "tiff_jpeg", "webp")  # within a TIFF, as Pillow names them
_WHOLE_BITS = 8  # of 16-bit color Pillow gives the upper byte
_FEW_BITS = (2, 4)  # Pillow spreads such grays over 0 to 255


class LabelPictureReader(PictureReader):
    """Read a mask from a PNG, BMP or TIFF: gray values, indices of a palette, or a color picture that shows gray.

    Its limits are those of `PictureReader`, but values are kept as they are stored.

    Raises:
        LabelContentError: in `get_data`, for JPEG, colors that are not gray, a TIFF or a palette of which it is unclear
            whether its numbers or its shades are the classes.
        ImageContentError: in `get_data`, for transparent pixels.
    """

    def values(self, picture: Image.Image, encoding: Encoding) -> np.ndarray:
        """Return the mask `(rows, columns)`."""
        if encoding.kind in ("JPEG", WITH_PREVIEW) or encoding.compression in _LOSSY:
            raise LabelContentError(
                "is compressed as JPEG, which changes values, most of all at the edges of classes; expected a mask "
                "stored without losses: export it again as PNG"
            )
        if encoding.white_is_zero:
            raise LabelContentError(
                "is a TIFF that stores white as 0, so that it is unclear whether its numbers or its shades are the "
                "classes: export the mask as PNG"
            )
        if picture.mode == "P":
            return _indices(picture)
        if picture.mode == "L" and encoding.bits in _FEW_BITS:
            return np.asarray(picture) // (255 // ((1 << encoding.bits) - 1))
        if picture.mode in ("1", "L", "F") or picture.mode.startswith("I"):
            return np.asarray(picture)
        colors = without_alpha(picture)
        return _gray_of(np.asarray(colors if colors.mode in ("L", "RGB") else colors.convert("RGB")), encoding.bits)


def _indices(picture: Image.Image) -> np.ndarray:
    """Return the indices of a palette, which number the classes if background comes first."""
    indices = np.asarray(picture)
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    black = [index for index in np.unique(indices) if index < len(palette) and not palette[index].any()]
    if black and 0 not in black and palette[0].any():
        raise LabelContentError(
            f"shows its color {black[0]} as black, and its color 0 as #{palette[0].tobytes().hex()}: it is unclear "
            "which is the background. Export the mask as gray values, 0 for background"
        )
    return indices


def _gray_of(colors: np.ndarray, bits: int) -> np.ndarray:
    """Return the one channel of a picture whose channels are equal."""
    if colors.ndim == 2:
        return colors
    if (colors == colors[..., :1]).all() and bits <= _WHOLE_BITS:
        return colors[..., 0]
    codes = (colors.astype(np.uint32) << np.array([16, 8, 0], dtype=np.uint32)).sum(axis=-1)
    found, counts = np.unique(codes, return_counts=True)
    shown = [f"#{code:06x} ({count:,})" for code, count in zip(found[:MOST_NAMED], counts)]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    raise LabelContentError(
        f"is a color picture, with the colors {', '.join(shown)}{more} by number of pixels; expected one number for "
        "each pixel: export the mask as gray values, 0 for background and 1, 2, ... for the classes"
    )
