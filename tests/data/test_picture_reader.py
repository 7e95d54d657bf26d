"""Pictures that are damaged, of another kind, or promise gigabytes: each is refused with what is wrong with it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bombs import SPARSE_BYTES
from PIL import Image

from monai_vggunet.data.nifti_file import read_nifti_file
from monai_vggunet.data.picture_reader import PictureReader
from monai_vggunet.errors import ImageReadError, refusal_behind
from monai_vggunet.transforms import loading

KINDS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif"}
SIDE = 100_000  # pixels


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 32, 3)).astype(np.uint8))


def encoded(picture: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()


def refusal(path: Path) -> str:
    """What a user reads, however MONAI's `LoadImage` wraps it."""
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading(with_label=False)({"image": str(path)})
    found = refusal_behind(caught.value)
    assert isinstance(found, ImageReadError)
    assert str(found).startswith(str(path))
    return str(found)


def tiff(width: int, length: int, big: bool = False) -> bytes:
    """One strip that is not there; `big` as BigTIFF."""
    tags = {256: width, 257: length, 258: 8, 259: 1, 262: 1, 273: 400, 278: length, 279: 100}
    if big:
        entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in tags.items())
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + entries + bytes(300)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(300)


def promising(picture: Image.Image, ending: str) -> bytes:
    """A small file that promises as many pixels as its kind can."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    if ending == ".png":
        size = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    if ending == ".bmp":
        size = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + size + bytes(100)
    if ending == ".jpg":
        content = bytearray(encoded(picture, "JPEG"))
        start = content.find(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", 65500, 65500)
        return bytes(content)
    return tiff(SIDE, SIDE, big=ending == ".tiff")


@pytest.mark.parametrize("ending", [*KINDS.values(), ".tiff"])
def test_a_small_file_that_promises_very_many_pixels(ending: str, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / f"promise{ending}"
    path.write_bytes(promising(picture, ending))
    assert "has over 178,956,970 pixels, expected up to 89,478,485: crop it, or reduce it" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["half", "head", "byte", "zeros"])
def test_damaged_pictures(part: str, kind: str, picture: Image.Image, tmp_path: Path) -> None:
    content = encoded(picture, kind)
    damaged = {"half": content[: len(content) // 2], "head": content[:20], "byte": content[:1], "zeros": bytes(500)}
    path = tmp_path / f"{part}{KINDS[kind]}"
    path.write_bytes(damaged[part])
    assert "cannot be read as PNG, JPEG, BMP or TIFF" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_file_without_end_is_refused_by_its_header(kind: str, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / f"a{KINDS[kind]}"
    path.write_bytes(encoded(picture, kind))
    os.truncate(path, SPARSE_BYTES)
    assert "has 32 x 48 pixels in 10,995,116,277,760 bytes, expected up to" in refusal(path)


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "EPS"])
def test_other_kinds_under_a_pictures_name(kind: str, picture: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture, kind))
    assert "another kind than its name says" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_several_pictures_in_one(kind: str, picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / f"a{KINDS[kind]}"
    picture.save(path, kind, save_all=True, append_images=[picture.rotate(90)])
    assert "holds several pictures" in refusal(path)


def test_the_ending_need_not_say_which_of_the_kinds_it_is(picture: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(encoded(picture, "BMP"))
    array, _ = PictureReader().get_data(tmp_path / "a.tif")
    assert np.array_equal(array.transpose(1, 0, 2), np.asarray(picture))


@pytest.fixture
def nobody() -> Iterator[None]:
    """A user who may read nothing here."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.mark.parametrize("name", ["a.png", "a.nii", "a.nii.gz"])
def test_what_may_not_be_read_is_not_called_damaged(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    path.chmod(0)
    request.getfixturevalue("nobody")
    read = PictureReader().get_data if name.endswith(".png") else read_nifti_file
    with pytest.raises(ImageReadError, match="cannot be read: Permission denied"):
        read(path)
