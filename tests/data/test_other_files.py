"""Pictures, NRRD and whatever else lies about: what could fill memory, or is not meant, is refused with a reason."""

from __future__ import annotations

import bz2
import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bombs import SPARSE_BYTES, zeros_in_gzip
from monai.data import PILReader
from monai.transforms import LoadImage
from phantoms import affine_of, label_array, write_nifti
from PIL import Image

from monai_vggunet.data import other_files, picture_reader
from monai_vggunet.data.nrrd_header import doubt_in_nrrd
from monai_vggunet.data.picture_reader import PictureReader
from monai_vggunet.errors import GridMismatchError, ImageReadError, refusal_behind
from monai_vggunet.transforms import loading

PIXELS = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 7  # rows × columns


def refusal(path: Path, label: Path | None = None) -> str:
    case = {"image": str(path)} | ({"label": str(label)} if label else {})
    with pytest.raises(RuntimeError) as caught:
        loading(with_label=label is not None)(case)
    found = refusal_behind(caught.value)
    assert isinstance(found, (ImageReadError, GridMismatchError)), caught.value
    return str(found)


# Pictures


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.jpg", "a.bmp", "a.tif", "a.tiff"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_plain_picture_is_read_as_monai_reads_it(tmp_path: Path, name: str, mode: str) -> None:
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / name)
    expected = LoadImage(reader=PILReader())(tmp_path / name)
    image = LoadImage(reader=PictureReader())(tmp_path / name)
    np.testing.assert_array_equal(image.numpy(), expected.numpy())
    assert image.meta["original_channel_dim"] is expected.meta["original_channel_dim"] or mode != "RGB"


def png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    head = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_picture_of_too_many_pixels_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    (tmp_path / "a.png").write_bytes(png(side, side, pixels=zlib.compress(bytes(1 << 20))))
    assert "89,478,485" in refusal(tmp_path / "a.png")


def test_a_picture_larger_than_memory_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 1 << 20)
    (tmp_path / "a.png").write_bytes(png(9000, 9000, pixels=zlib.compress(bytes(1 << 20))))
    assert "has 9000 x 9000 pixels: it needs 2.3 GiB of memory" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_inflates_is_refused(tmp_path: Path, kind: bytes) -> None:
    bomb = zlib.compress(bytes(1 << 27), 9)
    content = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + bomb
    pixels = zlib.compress(b"".join(b"\0" + bytes(4) for _ in range(4)))
    (tmp_path / "a.png").write_bytes(png(4, 4, chunk(kind, content), pixels=pixels))
    assert "cannot be read as PNG, JPEG, BMP or TIFF (ValueError)" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_several_pictures_in_one_file_are_refused(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(PIXELS + k) for k in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert "holds several pictures (pages, or an animation); expected one" in refusal(tmp_path / name)


def test_a_photograph_with_a_preview_behind_it_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(PIXELS + k) for k in range(2)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert loading(with_label=False)({"image": str(tmp_path / "a.jpg")})["image"].shape == (3, 7, 5, 1)


@pytest.mark.parametrize(("kind", "name"), [("GIF", "a.png"), ("WEBP", "a.jpg"), ("PPM", "a.bmp"), ("EPS", "a.tif")])
def test_another_kind_than_the_name_says_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name, format=kind)
    assert "another kind than its name says" in refusal(tmp_path / name)


def test_tiles_larger_than_a_picture_may_be_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    tags = content[start + 2 : start + 2 + 12 * count] + b"".join(
        struct.pack("<HHLL", tag, 4, 1, 60_000) for tag in (322, 323)
    )
    directory = struct.pack("<H", count + 2) + tags + bytes(4)
    (tmp_path / "a.tif").write_bytes(content[:4] + struct.pack("<L", len(content)) + content[8:] + directory)
    assert "has tiles larger than a picture may be" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "a damaged file" in refusal(tmp_path / "a.png")
    assert "does not exist" in refusal(tmp_path / "absent.png")


def test_pillow_s_limit_is_ours() -> None:
    assert Image.MAX_IMAGE_PIXELS == picture_reader.MOST_PIXELS


# Everything else


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("study.zip", lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"), "is a zip archive: unpack it"),
        ("study.gz", lambda path: path.write_bytes(gzip.compress(b"a", mtime=0)), "is a gzip archive: unpack it"),
        ("study.bz2", lambda path: path.write_bytes(bz2.compress(b"a")), "is a bzip2 archive: unpack it"),
        ("a.npy", lambda path: np.save(path, PIXELS), r"is of a kind that is not read; expected a DICOM series, NIfTI"),
        ("a.npy", lambda path: np.save(path, [{}], allow_pickle=True), "is of a kind that is not read"),
        ("a.mha", lambda path: path.write_text("ObjectType = Image\n"), "is of a kind that is not read"),
        ("a.mgz", lambda path: path.write_bytes(b"\0" * 300), "is of a kind that is not read"),
        ("a.txt", lambda path: path.write_text("text"), "is of a kind that is not read"),
        ("a.absent", lambda path: None, "does not exist; expected a DICOM series, NIfTI"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, name: str, write: Callable[[Path], Any], message: str) -> None:
    write(tmp_path / name)
    assert message in refusal(tmp_path / name)
    label = write_nifti(tmp_path / "i.nii.gz", label_array(), affine_of())
    assert message in refusal(label, tmp_path / name)


# NRRD


def nrrd(path: Path, content: bytes = b"", end: str = "\n\n", **fields: str) -> Path:
    known = {"type": "uint8", "dimension": "3", "sizes": "4 4 4", "encoding": "raw"} | fields
    lines = ["NRRD0004", "# made by a test", *(f"{name}: {value}" for name, value in known.items() if value)]
    path.write_bytes(("\n".join(lines) + end).encode() + content)
    return path


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, bytes(64)),
        ({"type": "unsigned short"}, bytes(128)),
        ({"encoding": "gzip"}, gzip.compress(bytes(64), mtime=0)),
        ({"encoding": "bzip2"}, bz2.compress(bytes(64))),
        ({"encoding": "ascii", "type": "double"}, b"0 " * 64),
        ({"Segment0_Name:=sizes": "9 9 9"}, bytes(64)),
    ],
)
def test_an_honest_nrrd_is_left_to_monai(tmp_path: Path, fields: dict[str, str], content: bytes) -> None:
    assert doubt_in_nrrd(nrrd(tmp_path / "a.nrrd", content, **fields), False) == ""
    assert doubt_in_nrrd(nrrd(tmp_path / "a.nrrd", content, end="\r\n\r\n", **fields), False) == ""
    with pytest.raises(ImageReadError, match="left to MONAI's readers"):
        other_files.OtherFileReader().read(tmp_path / "a.nrrd")
    os.truncate(tmp_path / "a.nrrd", SPARSE_BYTES)
    assert "in a file of 10,995,116,277,760 bytes; expected up to" in doubt_in_nrrd(tmp_path / "a.nrrd", False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": "30000 30000 30000"}, "promises 30000 x 30000 x 30000 voxels of 8 bits, .* cannot hold"),
        ({"sizes": "30000 30000 30000", "encoding": "gzip"}, "cannot hold"),
        ({"sizes": "30000 30000 30000", "encoding": "ascii"}, "cannot hold"),
        ({"data file": "/etc/passwd"}, "names other files for its voxels"),
        ({"datafile": "LIST"}, "names other files for its voxels"),
        ({"Data  File ": "LIST"}, "names other files for its voxels"),
        ({"datafile:../x\ncomment": "no blank before the value"}, "names other files for its voxels"),
        ({"comment": "x\rdata file: ../x"}, "names other files for its voxels"),
        ({"sizes": "-1 4 4"}, "no readable type, sizes and encoding"),
        ({"sizes": "1e9 4 4"}, "no readable type, sizes and encoding"),
        ({"sizes": ""}, "no readable type, sizes and encoding"),
        ({"type": "block"}, "no readable type, sizes and encoding"),
        ({"encoding": "secret"}, "no readable type, sizes and encoding"),
        ({"sizes": "9 9 9\nx: \rsizes: 4 4 4"}, "no readable type, sizes and encoding"),
        ({"sizes": "9 9 9\nx:=\x0csizes: 4 4 4"}, "promises 9 x 9 x 9 voxels"),
        ({"sizes": "", "sizes:9 9 9\nx:=\rsizes": "4 4 4"}, "no readable type, sizes and encoding"),
        ({"sizes": "", "sizes:=9 9 9\nx:=\rsizes": "4 4 4"}, "no readable type, sizes and encoding"),
        ({"encoding": "gzip\nbyte skip: -1"}, "begin elsewhere than behind its header"),
        ({"encoding": "gzip\nLineSkip:=1"}, "begin elsewhere than behind its header"),
        ({"encoding": "gzip"}, "holds voxels that cannot be inflated"),
    ],
)
def test_an_nrrd_that_promises_what_cannot_be_is_refused(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", bytes(64), **fields)
    with pytest.raises(ImageReadError, match=message):
        other_files.OtherFileReader().get_data(other_files.OtherFileReader().read(path))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("blank_line", ["", " \t", "\x0c", "\x80"])
def test_an_nrrd_that_inflates_to_more_than_it_promises_is_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes], blank_line: str
) -> None:
    encoding, bomb = compress.__module__, compress(bytes(1 << 24))
    end, honest = f"\n{blank_line}\n", compress(bytes(64))
    for content in (bomb, bomb + b"\n\n" + honest, honest + bomb):
        path = nrrd(tmp_path / "a.nrrd", content, end, encoding=encoding)
        assert "inflates to more than the 64 bytes that its header promises" in doubt_in_nrrd(path, True)


def test_an_nrrd_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"no image")
    assert "is not NRRD" in refusal(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"a: b\n" * 1_000_000)
    assert "is not NRRD, or its header has no end" in refusal(tmp_path / "a.nrrd")


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_an_nrrd_that_inflates_to_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 1 << 50)
    content = zeros_in_gzip(1 << 31) if encoding == "gzip" else bz2.compress(bytes(1 << 20)) * 2000
    path = nrrd(tmp_path / "a.nrrd", content, sizes="2000 1000 1000", encoding=encoding)
    assert "blank, or made to fill memory" in refusal(path)
    label = write_nifti(tmp_path / "i.nii.gz", label_array(), affine_of())
    assert "promises 2,000,000,000 voxels, its image" in refusal(label, path)
