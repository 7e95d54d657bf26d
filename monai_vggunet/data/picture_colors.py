"""What a picture shows, however it is encoded: gray, or red, green and blue, in 0 to 255, standing upright."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from monai_vggunet.errors import ImageContentError

__all__ = ["Encoding", "encoding_of", "shown_values", "upright", "without_alpha"]

LARGEST_SHOWN = 255.0

# A picture of 16 bits that uses no more shows nearly black: a microscope's or detector's 12 bits in a wider file.
_DARK_BITS = 12
_HIGH_BITS = 8  # of 16-bit color Pillow gives the upper byte

_ORIENTATION = 274  # EXIF 2.3, 4.6.4 A; of TIFF too
# What brings the first row of the file to where it is seen, by the orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339  # TIFF 6.0, sections 8 and 19
_SEPARATE, _SIGNED = 2, 2
_DEPTH = re.compile(r";(2|4|12|16)")  # as Pillow names how a file stores its values
_WITH_ALPHA = {"LA", "PA", "RGBA", "La", "RGBa"}


@dataclass(frozen=True)
class Encoding:
    """How a file stores its values, where Pillow's mode does not tell.

    Attributes:
        kind: `PNG`, `TIFF`, ... by the file's content.
        bits: of a value; of the longest one, where they differ.
        signed: whether values may be negative.
        white_is_zero: whether a TIFF counts from white to black; Pillow turns such values round up to 8 bits.
        compression: of a TIFF, as Pillow names it.
        separate: whether a TIFF stores one channel after the other.
    """

    kind: str
    bits: int
    signed: bool = False
    white_is_zero: bool = False
    compression: str = ""
    separate: bool = False


def encoding_of(picture: Image.Image) -> Encoding:
    """Return how a picture is stored; it was opened, and its pixels are not loaded yet."""
    kind, tags = str(picture.format), getattr(picture, "tag_v2", None)
    if tags is None:
        found = _DEPTH.search(str([tile[3] for tile in getattr(picture, "tile", ())][:1]))
        return Encoding(kind, int(found[1]) if found else 8)
    bits, formats = (_several(tags.get(tag)) for tag in (_BITS, _SAMPLE_FORMAT))
    compression = str(picture.info.get("compression", ""))
    white_is_zero, separate = tags.get(_PHOTOMETRIC) == 0, tags.get(_PLANES) == _SEPARATE
    return Encoding(kind, max(bits, default=1), _SIGNED in formats, white_is_zero, compression, separate)


def shown_values(picture: Image.Image, encoding: Encoding) -> np.ndarray:
    """Return the values that a picture shows: `(rows, columns)` of gray or `(rows, columns, 3)`, 0 to 255.

    Palettes are looked up; CMYK, YCbCr and Lab become red, green and blue; values of 1, 12 or 16 bits and fractions
    from 0 to 1 are scaled.

    Args:
        picture: with its pixels.
        encoding: of its file.

    Raises:
        ImageContentError: transparent pixels, or values without a brightness of their own.

    Example:
        >>> shown_values(Image.new("1", (2, 1), 1), Encoding("PNG", 1)).tolist()
        [[255, 255]]
    """
    bits = encoding.bits
    if encoding.separate and bits > _HIGH_BITS and encoding.compression == "raw":  # Pillow takes bytes for values
        raise ImageContentError(f"stores {bits} bits of each channel apart; expected 8 bits, or channels side by side")
    if encoding.signed:
        raise ImageContentError("holds signed numbers, for which no brightness is defined; expected 8 bits: convert it")
    if picture.mode.startswith("I;16") or (picture.mode == "I" and encoding.kind == "PNG"):
        values = _scaled(np.asarray(picture), bits)
        return LARGEST_SHOWN - values if encoding.white_is_zero else values
    if picture.mode == "F":
        values = _of_fractions(np.asarray(picture))
        return LARGEST_SHOWN - values if encoding.white_is_zero else values
    if picture.mode == "I":
        raise ImageContentError("holds values of 32 bits, for which no brightness is defined; expected 8: convert it")
    opaque = without_alpha(picture.convert("RGBA") if "transparency" in picture.info else picture)
    if opaque.mode == "1":
        opaque = opaque.convert("L")
    if opaque.mode == "LAB":
        opaque = _from_lab(opaque)
    colors = np.asarray(opaque if opaque.mode in ("L", "RGB") else opaque.convert("RGB"))
    if bits > _HIGH_BITS and colors.max() < 1 << (_DARK_BITS - _HIGH_BITS):
        raise _dark(bits, f"less than {1 << _DARK_BITS:,}")
    return colors


def upright(picture: Image.Image) -> tuple[Image.Image, int]:
    """Return a picture as it is to be seen, and the orientation that its file states (EXIF; 1 for none).

    Args:
        picture: opened, its pixels not loaded yet.
    """
    # While Pillow loads a TIFF, its newer versions turn it and forget what it said.
    stated = _orientation(picture) if picture.format == "TIFF" else 1
    picture.load()
    left = _orientation(picture)
    turned = picture.transpose(_TURNS[left]) if left in _TURNS else picture
    return turned, stated if stated in _TURNS else left


def without_alpha(picture: Image.Image) -> Image.Image:
    """Return a picture without its channel of transparency.

    Raises:
        ImageContentError: pixels are transparent, so that what is seen depends on what lies behind them.
    """
    if picture.mode not in _WITH_ALPHA:
        return picture
    alpha = np.asarray(picture.getchannel(picture.mode[-1]))
    seen_through = int(np.count_nonzero(alpha < LARGEST_SHOWN))
    if seen_through:
        raise ImageContentError(
            f"has {seen_through:,} transparent pixels, whose color depends on what lies behind; expected opaque ones: "
            "flatten it onto one color"
        )
    return picture.convert("L" if picture.mode in ("LA", "La") else "RGB")


def _several(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _orientation(picture: Image.Image) -> int:
    try:
        stated: Any = picture.getexif().get(_ORIENTATION)
    except Exception:  # a damaged block of EXIF, which viewers ignore too
        return 1
    return stated if stated in _TURNS else 1


def _scaled(values: np.ndarray, bits: int) -> np.ndarray:
    largest = int(values.max())
    if bits > _DARK_BITS and largest < 1 << _DARK_BITS:
        raise _dark(bits, f"{largest:,} at most")
    return values.astype(np.float32) * np.float32(LARGEST_SHOWN / ((1 << bits) - 1))


def _dark(bits: int, found: str) -> ImageContentError:
    return ImageContentError(
        f"has {bits} bits per value, but its values are {found} of {(1 << bits) - 1:,}: it shows nearly black. Convert "
        "it to 8 bits, with the same range of values for all pictures"
    )


def _of_fractions(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise ImageContentError(
            f"holds fractions from {low:g} to {high:g}; expected 0 (black) to 1 (white), or 8 bits: convert it"
        )
    return values * np.float32(LARGEST_SHOWN)


def _from_lab(picture: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert converted is not None  # not in place
    return converted
