"""Photographs and microscopy by Pillow: known kinds, one picture per file, and none that would fill memory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import PILReader
from monai.utils import MetaKeys
from PIL import Image

from monai_vggunet.data.picture_colors import Encoding, encoding_of, shown_values, upright
from monai_vggunet.dicom.headers.pixel_description import LONGEST_TAIL
from monai_vggunet.errors import ImageContentError, ImageReadError, IrregularFileError, LabelContentError
from monai_vggunet.file_kinds import PICTURE_ENDINGS, ends_with
from monai_vggunet.memory import lack_of_memory
from monai_vggunet.regular_files import open_regular

__all__ = ["ORIENTATION", "QUARTER_TURNS", "WITH_PREVIEW", "PictureReader"]

ORIENTATION = "exif_orientation"  # in the metadata: 1 to 8, as EXIF counts
QUARTER_TURNS = (5, 6, 7, 8)  # of the orientations, those that exchange rows and columns

# What Pillow itself warns of (a quarter of a gigabyte of colors); here more is refused.
MOST_PIXELS = 1024 * 1024 * 1024 // 4 // 3
# Others (PostScript, ...) would run other programs.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
WITH_PREVIEW = "MPO"  # what Pillow calls a JPEG with others behind it, as phones write it: the first is the photograph
BYTES_PER_VALUE = 10  # as it is stored, as it is shown, as float32, and as one of three equal channels

_TIFF_TILE = (322, 323)  # width and length: TIFF 6.0, section 15
_DESCRIPTION = 270  # TIFF 6.0, section 8
_STACK = re.compile(r"^images=0*(?:[2-9]|[1-9]\d)", re.MULTILINE)  # ImageJ writes the pages of large stacks as one

PathLike = str | os.PathLike[str]


class PictureReader(PILReader):
    """Read what one PNG, JPEG, BMP or TIFF shows; its size is judged before a pixel is decoded.

    The metadata hold the orientation that the file states (`ORIENTATION`); the array is turned already.

    Raises:
        ImageReadError: in `get_data`, for a file that is missing, damaged, of another kind than its name says, too
            large, or several pictures in one (pages, an animation).
        ImageContentError: in `get_data`, for a picture of which it is unclear what it shows: see `shown_values`.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether it is one file with a picture's ending."""
        return isinstance(filename, (str, os.PathLike)) and ends_with(filename, PICTURE_ENDINGS)

    def read(self, data: Any, **kwargs: Any) -> Path:
        """Note what to read; `LoadImage` would swallow an error that this method raised, and try other readers.

        Raises:
            ImageReadError: if it is not one file with a picture's ending.
        """
        items = (data,) if isinstance(data, (str, os.PathLike)) else tuple(data)
        if len(items) != 1 or not self.verify_suffix(items[0]):
            raise ImageReadError("expected one .png, .jpg, .bmp or .tif file")
        return Path(items[0])

    def get_data(self, img: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the array `(X, Y)` or `(X, Y, 3)` and its metadata."""
        path = Path(img)
        try:
            # Pillow maps a file that it is given by name, and misplaces the pixels of a TIFF that is to be turned.
            with BufferedReader(open_regular(path)) as file, Image.open(file, formats=FORMATS) as picture:
                doubt = _doubt_in(picture, path.stat().st_size)
                if doubt:
                    raise ImageReadError(f"{path} {doubt}")
                encoding, mode = encoding_of(picture), picture.mode
                turned, orientation = upright(picture)
                array = np.moveaxis(self.values(turned, encoding), 0, 1)
        except (ImageContentError, LabelContentError) as error:
            raise error.reworded(f"{path} {error}") from None
        except (ImageReadError, IrregularFileError):
            raise
        except FileNotFoundError as error:
            raise ImageReadError(f"{path} does not exist; expected a picture") from error
        except Image.DecompressionBombError as error:  # Pillow counts before we can, and refuses twice as many
            raise ImageReadError(
                f"{path} has over {2 * MOST_PIXELS:,} pixels, expected up to {MOST_PIXELS:,}: crop it, or reduce it"
            ) from error
        except OSError as error:
            if error.errno is None:  # Pillow's own, for what it cannot decode
                raise _damaged(path, error) from error
            raise ImageReadError(f"{path} cannot be read: {error.strerror}") from error
        except Exception as error:  # Pillow raises all kinds on damaged files
            raise _damaged(path, error) from error
        meta = {"format": encoding.kind, "mode": mode, "width": array.shape[0], "height": array.shape[1]}
        meta |= {MetaKeys.SPATIAL_SHAPE: np.array(array.shape[:2]), ORIENTATION: orientation}
        return array, meta | {MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if array.ndim == 2 else -1}

    def values(self, picture: Image.Image, encoding: Encoding) -> np.ndarray:
        """Return `(rows, columns)` or `(rows, columns, 3)` of an upright picture."""
        return shown_values(picture, encoding)


def _damaged(path: Path, error: Exception) -> ImageReadError:
    return ImageReadError(
        f"{path} cannot be read as PNG, JPEG, BMP or TIFF ({type(error).__name__}): a damaged file, another kind than "
        "its name says, or numbers that pictures rarely hold (64 bits, ...); restore or convert it"
    )


def _doubt_in(picture: Image.Image, file_bytes: int) -> str:
    """Return why a picture must not be decoded; empty if it may be."""
    pixels, channels = picture.width * picture.height, len(picture.getbands())
    if pixels > MOST_PIXELS:
        return f"has {picture.width} x {picture.height} pixels, expected up to {MOST_PIXELS:,}: crop it, or reduce it"
    needed = BYTES_PER_VALUE * pixels * max(3, channels)
    if file_bytes > needed + LONGEST_TAIL:
        return (
            f"has {picture.width} x {picture.height} pixels in {file_bytes:,} bytes, expected up to "
            f"{needed + LONGEST_TAIL:,}: a damaged file, restore it"
        )
    tags = getattr(picture, "tag_v2", {})
    tile = [tags.get(tag) or 1 for tag in _TIFF_TILE]
    if not all(isinstance(side, int) for side in tile) or tile[0] * tile[1] > MOST_PIXELS:
        return "has tiles larger than a picture may be: a damaged file"
    if picture.format != WITH_PREVIEW and _has_another(picture):
        return (
            "holds several pictures (pages, or an animation); expected one: split it into one file per picture, or "
            "write slices that belong together as NIfTI"
        )
    lacking = lack_of_memory(needed)
    return f"has {picture.width} x {picture.height} pixels: {lacking}" if lacking else ""


def _has_another(picture: Image.Image) -> bool:
    """Whether a second picture follows; counting them all would read the file to its end."""
    if picture.format != "TIFF":
        return getattr(picture, "n_frames", 1) > 1
    if _STACK.search(str(getattr(picture, "tag_v2", {}).get(_DESCRIPTION, ""))):
        return True
    try:
        picture.seek(1)
    except EOFError:
        return False
    return True
