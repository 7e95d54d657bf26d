"""Pictures are read as they show, whatever their encoding, or refused where it is unclear what they show."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from picture_reading import refusal_of, values_read
from PIL import Image, ImageCms

from monai_vggunet.data.picture_reader import ORIENTATION, PictureReader
from monai_vggunet.errors import ImageContentError, ImageReadError

ROWS, COLUMNS = 6, 9
GRAY = (np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS) * 4 + 8).astype(np.uint8)
COLOR = np.stack([GRAY, 255 - GRAY, np.roll(GRAY, 3)], axis=-1)
BINARY = (GRAY > 100).astype(np.uint8) * 255
SMOOTH = np.stack([np.full((16, 16), level, np.uint8) for level in (200, 120, 40)], axis=-1)  # survives JPEG
read = partial(values_read, PictureReader())
refused = partial(refusal_of, PictureReader(), ImageContentError)


def to_lab(picture: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert converted is not None
    return converted


def palette_of(indices: np.ndarray, colors: list[int]) -> Image.Image:
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(colors)
    return picture


def png(values: np.ndarray, bits: int, color_type: int) -> bytes:
    """A PNG of these samples, as the standard writes them: rows after a filter byte, the high byte first."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    packed = values.astype(">u2").view(np.uint8) if bits == 16 else values.astype(np.uint8)
    lines = b"".join(b"\0" + row.tobytes() for row in packed.reshape(len(values), -1))
    head = struct.pack(">LLBBBBB", values.shape[1], values.shape[0], bits, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def tiff(path: Path, values: np.ndarray, **tags: object) -> Path:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, values, **tags)
    return path


# What they show


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize(
    ("picture", "shown"),
    [
        (Image.fromarray(GRAY), GRAY),
        (Image.fromarray(COLOR), COLOR),
        (Image.fromarray(BINARY).convert("1"), BINARY),
        (palette_of(GRAY // 64, [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7]),
         np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]])[GRAY // 64]),
        (palette_of(GRAY // 128, [200, 200, 200, 10, 10, 10]), np.array([[200] * 3, [10] * 3])[GRAY // 128]),
    ],
    ids=["gray", "color", "bits", "palette", "gray palette"],
)  # fmt: skip
def test_what_any_viewer_shows(tmp_path: Path, ending: str, picture: Image.Image, shown: np.ndarray) -> None:
    picture.save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read(tmp_path / f"a{ending}"), shown)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_inks_and_video_colors(tmp_path: Path, mode: str, compression: str | None) -> None:
    picture = Image.fromarray(COLOR).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_allclose(read(tmp_path / "a.tif"), COLOR, atol=3)


def test_lab(tmp_path: Path) -> None:
    to_lab(Image.fromarray(SMOOTH)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read(tmp_path / "a.tif"), SMOOTH, atol=3)


def test_inks_of_a_jpeg_are_turned_round_as_adobe_writes_them(tmp_path: Path) -> None:
    Image.fromarray(SMOOTH).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    np.testing.assert_allclose(read(tmp_path / "a.jpg"), SMOOTH, atol=4)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_sixteen_bits_of_gray_are_scaled(tmp_path: Path, byte_order: str) -> None:
    deep = GRAY.astype(np.uint16) * 257 + 5
    (tmp_path / "a.png").write_bytes(png(deep, 16, 0))
    for path in (tmp_path / "a.png", tiff(tmp_path / "a.tif", deep, byteorder=byte_order)):
        np.testing.assert_allclose(read(path), deep / 257, atol=1e-4)


def test_sixteen_bits_of_color_are_scaled(tmp_path: Path) -> None:
    deep = COLOR.astype(np.uint16) * 257 + 5
    (tmp_path / "a.png").write_bytes(png(deep, 16, 2))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), COLOR)
    for byte_order in "<>":
        np.testing.assert_array_equal(read(tiff(tmp_path / "a.tif", deep, byteorder=byte_order)), COLOR)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_of_gray_reach_from_black_to_white(tmp_path: Path, bits: int) -> None:
    values = np.arange(1 << bits, dtype=np.uint8)
    packed = np.packbits(np.unpackbits(values[:, None], axis=1)[:, -bits:].ravel())[None]
    content = bytearray(png(packed, 8, 0))
    head = struct.pack(">LLBBBBB", 1 << bits, 1, bits, 0, 0, 0, 0)
    content[16:33] = head + struct.pack(">L", zlib.crc32(b"IHDR" + head))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], values * (255 // ((1 << bits) - 1)))


def test_fractions_from_black_to_white(tmp_path: Path) -> None:
    Image.fromarray(GRAY.astype(np.float32) / 255).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read(tmp_path / "a.tif"), GRAY, atol=1e-4)


@pytest.mark.parametrize("values", [GRAY, GRAY.astype(np.uint16) * 257, (GRAY / 255).astype(np.float32)])
def test_white_may_be_zero(tmp_path: Path, values: np.ndarray) -> None:
    np.testing.assert_allclose(read(tiff(tmp_path / "a.tif", values, photometric="miniswhite")), 255 - GRAY, atol=1e-3)


def test_single_bits_may_count_from_white(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tiff(tmp_path / "a.tif", BINARY > 0, photometric="miniswhite")), 255 - BINARY)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_an_opaque_channel_of_transparency_is_dropped(tmp_path: Path, mode: str) -> None:
    kind = ".tif" if mode == "PA" else ".png"
    Image.fromarray(COLOR).convert("P" if mode == "PA" else mode).convert(mode).save(tmp_path / f"a{kind}")
    expected = np.asarray(Image.fromarray(COLOR).convert("L")) if mode == "LA" else COLOR
    np.testing.assert_allclose(read(tmp_path / f"a{kind}"), expected, atol=60 if mode == "PA" else 0)  # few colors


# How they stand


def save_turned(path: Path, stored: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    return path


TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3: where the first row and column are seen
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg"])
def test_pictures_are_turned_as_they_say(tmp_path: Path, ending: str, orientation: int) -> None:
    corner = np.full((32, 48), 20, dtype=np.uint8)
    corner[:8, :8], corner[:8, 40:] = 220, 120
    path = save_turned(tmp_path / f"a{ending}", corner, orientation)
    np.testing.assert_allclose(read(path), TURNED[orientation](corner), atol=3)
    _, meta = PictureReader().get_data(path)
    assert (meta[ORIENTATION], meta["width"], meta["height"]) == (orientation, *read(path).shape[::-1])


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_turns_nothing(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(SMOOTH).save(tmp_path / "a.jpg", exif=exif)
    np.testing.assert_allclose(read(tmp_path / "a.jpg"), SMOOTH, atol=3)


# What is refused


def transparent(mode: str) -> Image.Image:
    picture = Image.fromarray(COLOR).convert(mode)
    picture.putalpha(Image.fromarray(np.where(GRAY > 100, 255, 0).astype(np.uint8)))
    return picture


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    transparent(mode).save(tmp_path / "a.png")
    assert f"has {int((GRAY <= 100).sum())} transparent pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_color_that_is_transparent_is_refused(tmp_path: Path, mode: str) -> None:
    picture = palette_of(GRAY // 64, [0, 0, 0] * 4) if mode == "P" else Image.fromarray(GRAY).convert(mode)
    picture.save(tmp_path / "a.png", transparency=(8, 8, 8) if mode == "RGB" else (0 if mode == "P" else 8))
    assert "transparent pixels, whose color depends on what lies behind" in refused(tmp_path / "a.png")


def test_deep_pictures_that_show_nearly_black_are_refused(tmp_path: Path) -> None:
    dark = GRAY.astype(np.uint16) * 16
    (tmp_path / "a.png").write_bytes(png(dark, 16, 0))
    assert "has 16 bits per value, but its values are 3,520 at most of 65,535: it shows nearly black" in refused(
        tmp_path / "a.png"
    )
    (tmp_path / "a.png").write_bytes(png(np.stack([dark] * 3, -1), 16, 2))
    assert "its values are less than 4,096 of 65,535" in refused(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GRAY.astype(np.float32), "holds fractions from 8 to 220; expected 0 (black) to 1 (white)"),
        (GRAY.astype(np.float32) / 255 - 0.5, "holds fractions from -0.46"),
        (np.full((3, 3), np.nan, np.float32), "holds fractions from nan to nan"),
        (GRAY.astype(np.int32), "values of 32 bits"),
        (GRAY.astype(np.int16), "holds signed numbers"),
        (GRAY.astype(np.int8), "holds signed numbers"),
    ],
)
def test_numbers_without_a_brightness_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    text = refused(tiff(tmp_path / "a.tif", values))
    assert message in text or "signed numbers" in text


def test_deep_channels_stored_apart_are_refused_where_pillow_misreads_them(tmp_path: Path) -> None:
    deep = np.moveaxis(COLOR.astype(np.uint16) * 257, -1, 0)
    path = tiff(tmp_path / "a.tif", deep, photometric="rgb", planarconfig="separate")
    assert "stores 16 bits of each channel apart" in refused(path)
    tiff(path, deep, photometric="rgb", planarconfig="separate", compression="zlib")
    np.testing.assert_array_equal(read(path), COLOR)


def test_stacks_are_refused_however_they_are_written(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stack = np.stack([GRAY] * 3)
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True)
    tifffile.imwrite(tmp_path / "one.tif", stack[0], description="ImageJ=1.53\nimages=12\nslices=12\n", metadata=None)
    for name in ("pages", "imagej", "one"):
        with pytest.raises(ImageReadError, match="holds several pictures"):
            read(tmp_path / f"{name}.tif")
    tifffile.imwrite(tmp_path / "single.tif", GRAY, imagej=True)
    np.testing.assert_array_equal(read(tmp_path / "single.tif"), GRAY)
