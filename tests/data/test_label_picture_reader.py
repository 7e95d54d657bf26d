"""Masks in pictures keep the numbers that are stored, and are refused where these are changed or unclear."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_reading import refusal_of, values_read
from PIL import Image

from monai_vggunet.data.label_picture_reader import LabelPictureReader
from monai_vggunet.errors import GridMismatchError, LabelContentError, refusal_behind
from monai_vggunet.transforms import loading

CLASSES = (np.arange(48, dtype=np.uint8).reshape(6, 8) // 12).astype(np.uint8)  # rows × columns, 0 to 3
FOREGROUND = (CLASSES > 1).astype(np.uint8)
read = partial(values_read, LabelPictureReader())
refused = partial(refusal_of, LabelPictureReader(), LabelContentError)


def palette_of(indices: np.ndarray, *colors: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(indices, "P")
    picture.putpalette([part for color in colors for part in color])
    return picture


VOC = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(CLASSES), CLASSES),
        (Image.fromarray(FOREGROUND * 255), FOREGROUND * 255),
        (Image.fromarray(FOREGROUND * 255).convert("1"), FOREGROUND),
        (Image.fromarray(CLASSES).convert("RGB"), CLASSES),
        (palette_of(CLASSES, *VOC), CLASSES),
        (palette_of(FOREGROUND, (255, 255, 255), (255, 0, 0)), FOREGROUND),
    ],
    ids=["classes", "0 and 255", "bits", "gray as color", "palette", "palette without black"],
)
def test_numbers_are_kept(tmp_path: Path, ending: str, picture: Image.Image, expected: np.ndarray) -> None:
    picture.save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read(tmp_path / f"a{ending}"), expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_numbers_of_many_bits_are_kept(tmp_path: Path, dtype: Any) -> None:
    values = CLASSES.astype(dtype) * dtype(1000)
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), values)


def test_opaque_masks_may_have_a_channel_of_transparency(tmp_path: Path) -> None:
    for mode in ("LA", "RGBA"):
        Image.fromarray(CLASSES).convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read(tmp_path / "a.png"), CLASSES)


def test_a_palette_may_show_the_background_transparent(tmp_path: Path) -> None:
    palette_of(CLASSES, *VOC).save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read(tmp_path / "a.png"), CLASSES)


@pytest.mark.parametrize("bits", [2, 4])
def test_grays_of_few_bits_are_numbers_not_shades(tmp_path: Path, bits: int) -> None:
    palette_of(CLASSES, *VOC).save(tmp_path / "palette.png", bits=bits)  # Pillow writes no gray of few bits
    content = (tmp_path / "palette.png").read_bytes()
    head = bytearray(content[16:29])
    head[9] = 0  # color type: gray
    start, end = content.index(b"PLTE") - 4, content.index(b"IDAT") - 4
    checksum = zlib.crc32(b"IHDR" + head).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content[:16] + bytes(head) + checksum + content[33:start] + content[end:])
    assert Image.open(tmp_path / "a.png").mode == "L"
    np.testing.assert_array_equal(read(tmp_path / "a.png"), CLASSES)


# Refused


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png"])
@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_jpeg_is_refused_whatever_its_name(tmp_path: Path, name: str, kind: str) -> None:
    Image.fromarray(FOREGROUND * 255).save(tmp_path / name, format=kind, quality=100)
    assert "is compressed as JPEG, which changes values" in refused(tmp_path / name)


def test_jpeg_within_a_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(FOREGROUND * 255).save(tmp_path / "a.tif", compression="jpeg")
    assert "is compressed as JPEG" in refused(tmp_path / "a.tif")


def test_colors_are_refused_with_their_names(tmp_path: Path) -> None:
    red = np.zeros((6, 8, 3), dtype=np.uint8)
    red[2:4, 1:6, 0] = 255
    Image.fromarray(red).save(tmp_path / "a.png")
    text = refused(tmp_path / "a.png")
    assert "is a color picture, with the colors #000000 (38), #ff0000 (10) by number of pixels" in text
    assert "export the mask as gray values" in text
    Image.fromarray(red).convert("CMYK").save(tmp_path / "a.tif")
    assert "is a color picture" in refused(tmp_path / "a.tif")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert "and 38 more by number of pixels" in refused(tmp_path / "a.png")


def test_transparent_pixels_of_a_mask_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((6, 8), 255, dtype=np.uint8)).convert("LA")
    picture.putalpha(Image.fromarray(FOREGROUND * 255))
    picture.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"has {int((FOREGROUND == 0).sum())} transparent pixels"):
        read(tmp_path / "a.png")


def test_a_palette_whose_black_comes_later_is_refused(tmp_path: Path) -> None:
    palette_of(FOREGROUND, (255, 255, 255), (0, 0, 0)).save(tmp_path / "a.png")
    assert "shows its color 1 as black, and its color 0 as #ffffff: it is unclear which" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("values", [FOREGROUND > 0, CLASSES, CLASSES.astype(np.uint16)])
def test_a_tiff_that_counts_from_white_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert "is a TIFF that stores white as 0, so that it is unclear" in refused(tmp_path / "a.tif")


# Turned as their images


def written(path: Path, values: np.ndarray, orientation: int) -> str:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(values).save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_image_and_label_are_turned_alike(tmp_path: Path, orientation: int) -> None:
    case = {"image": written(tmp_path / "i.png", CLASSES * 50, orientation)}
    case["label"] = written(tmp_path / "l.png", CLASSES, orientation)
    data = loading()(case)
    np.testing.assert_array_equal(data["image"].numpy()[0], data["label"].numpy()[0] * 50)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_label_drawn_on_what_is_seen_fits_by_its_size(tmp_path: Path, orientation: int) -> None:
    case = {"image": written(tmp_path / "i.png", CLASSES * 50, orientation)}
    seen = loading(with_label=False)(case)["image"].numpy()[0, :, :, 0].T // 50
    data = loading()(case | {"label": written(tmp_path / "l.png", seen.astype(np.uint8), 1)})
    np.testing.assert_array_equal(data["image"].numpy()[0], data["label"].numpy()[0] * 50)


@pytest.mark.parametrize(
    ("of_image", "of_label", "values"),
    [(3, 1, CLASSES), (2, 1, CLASSES), (1, 4, CLASSES), (6, 1, CLASSES), (6, 8, CLASSES), (6, 1, CLASSES[:, :6])],
    ids=["half turn", "mirrored", "label alone", "drawn as stored", "two turns", "square"],
)
def test_labels_of_which_nothing_tells_how_they_stand_are_refused(
    tmp_path: Path, of_image: int, of_label: int, values: np.ndarray
) -> None:
    case = {"image": written(tmp_path / "i.png", values * 50, of_image)}
    case["label"] = written(tmp_path / "l.png", values, of_label)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading()(case)
    refusal = refusal_behind(caught.value)
    assert isinstance(refusal, GridMismatchError)
    assert f"(EXIF orientation {of_label} and {of_image})" in str(refusal)
