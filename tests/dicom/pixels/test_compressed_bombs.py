"""Compressed frames that would become more than their header says: no codec sees them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from annotation_phantoms import blobs, grid_of, series, write_seg
from bombs import zeros_deflated
from dicom_phantoms import stored_values, write_series
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.annotations import segment_pixels
from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.pixels import decoding
from monai_vggunet.dicom.pixels.codestream import codestream_components, codestream_size, rle_length
from monai_vggunet.dicom.pixels.decoding import decode_planes
from monai_vggunet.dicom.pixels.deflated_frames import DEFLATED_IMAGE_FRAMES
from monai_vggunet.errors import DicomPixelError, DicomReadError

SHAPE = (48, 40)


def with_frame(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put another compressed frame into a file of one."""
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([change(frame)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """Read a folder here and in helpers; no codec may be called."""
    selection = scan_folder(folder).choose_series()
    with pytest.raises(DicomPixelError, match=message):
        read_volume(selection)
    monkeypatch.setattr(decoding, "pixel_array", lambda *_, **__: pytest.fail("a codec was called"))
    with pytest.raises(DicomPixelError, match=message):
        decode_planes([selection.stack.frames[0]])


def unsigned(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.abs(stored_values(1, *shape)).astype(np.uint16)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_frame_that_declares_another_matrix_meets_no_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    (path,) = write_series(tmp_path, unsigned(), transfer_syntax=syntax)

    def enlarged(frame: bytes) -> bytes:
        size = struct.pack(
            ">LL" if syntax == JPEG2000Lossless else ">HH", *(SHAPE[::-1] if frame[1] == 0x4F else SHAPE)
        )
        return frame.replace(size, struct.pack(">LL" if frame[1] == 0x4F else ">HH", 65535, 65535), 1)

    with_frame(path, enlarged)
    refused(tmp_path, monkeypatch, r"declares \(65535, 65535\) rows and columns, expected \(48, 40\)")


def test_a_frame_of_thousands_of_components_meets_no_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 512 x 512 they would take 17 GB."""
    (path,) = write_series(tmp_path, unsigned(), transfer_syntax=JPEG2000Lossless)
    with_frame(path, lambda frame: frame[:40] + struct.pack(">H", 16384) + frame[42 : 42 + 3] * 16384 + frame[45:])
    refused(tmp_path, monkeypatch, r"declares 16384 values per pixel, expected 1")


def box(kind: bytes, content: bytes, long: bool = False) -> bytes:
    if long:
        return struct.pack(">L4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">L4s", len(content) + 8, kind) + content


@pytest.mark.parametrize("long", [False, True])
def test_the_codestream_that_counts_is_the_one_in_its_box(long: bool) -> None:
    honest, bomb = (bytes(encode_array(np.zeros(shape, np.uint16))) for shape in (SHAPE, (300, 200)))
    start = bytes.fromhex("0000000c 6a502020 0d0a870a") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    assert codestream_size(start + box(b"free", honest, long) + box(b"jp2c", bomb, long)) == (300, 200)
    assert codestream_size(start + box(b"free", honest, long)) is None
    assert codestream_size(start + struct.pack(">L4s", 3, b"free") + honest) is None
    assert codestream_size(b"\0" + honest) is None


def test_components_are_those_that_are_declared() -> None:
    assert codestream_components(bytes(encode_array(np.zeros((64, 50, 3), np.uint8)))) == 3
    assert codestream_components(bytes(encode_array(np.zeros((64, 50), np.uint8)))) == 1
    assert codestream_components(bytes.fromhex("ffd8 ffc0 0011 08 0002 0003 03 01 11 00")) == 3
    assert codestream_components(b"") is None


def test_a_frame_that_is_wrapped_in_boxes_is_read(tmp_path: Path) -> None:
    stored = unsigned()
    (path,) = write_series(tmp_path, stored, transfer_syntax=JPEG2000Lossless)
    with_frame(path, lambda _: bytes(encode_array(stored[0], codec_format=1)))
    np.testing.assert_array_equal(read_volume(scan_folder(tmp_path).choose_series()).array[..., 0].T, stored[0])


def rle_bomb(frame: bytes, n_bytes: int) -> bytes:
    """Return an RLE frame of two segments, the second of which decodes to so many bytes."""
    start = struct.unpack("<16L", frame[:64])[2]
    return frame[:start] + b"\x81\0" * (n_bytes // 128)


def test_a_frame_of_runs_without_end_meets_no_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_series(tmp_path, unsigned(), transfer_syntax=RLELossless)
    with_frame(path, lambda frame: rle_bomb(frame, 1 << 24))
    refused(tmp_path, monkeypatch, "decodes to more than 3,842 bytes, padding included")


def rle_frame(*segments: bytes) -> bytes:
    starts = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *[0] * (15 - len(starts))) + b"".join(segments)


@pytest.mark.parametrize("runs", [(100, 100), (3, 2), (2, 3)])
def test_a_frame_of_more_than_its_pixels_meets_no_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: tuple[int, int]
) -> None:
    """Two runs of 128 bytes fill a segment of 16 x 16 pixels; what is beyond them would be dropped in silence."""
    (path,) = write_series(tmp_path, unsigned((16, 16)), transfer_syntax=RLELossless)
    with_frame(path, lambda _: rle_frame(*(b"\x81\x00" * count for count in runs)))
    refused(tmp_path, monkeypatch, "decodes to more than 514 bytes, padding included")


def test_one_byte_of_padding_per_segment_is_read(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, unsigned((16, 16)), transfer_syntax=RLELossless)
    with_frame(path, lambda _: rle_frame(*[b"\x81\x07" * 2 + b"\x00\x00"] * 2))
    assert (read_volume(scan_folder(tmp_path).choose_series()).array == 0x0707).all()


def test_runs_are_counted_as_they_decode(tmp_path: Path) -> None:
    stored = unsigned((64, 50))
    (path,) = write_series(tmp_path, stored, transfer_syntax=RLELossless)
    frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    assert rle_length(frame, 1 << 30) in (stored.nbytes, stored.nbytes + 1)  # a byte of padding
    assert rle_length(rle_bomb(frame, 1 << 24), 10_000) < 10_000 + 129


def test_honest_runs_are_read(tmp_path: Path) -> None:
    stored = unsigned((64, 50))
    write_series(tmp_path, stored, transfer_syntax=RLELossless)
    plane = decode_planes([scan_folder(tmp_path).choose_series().stack.frames[0]])[0]
    np.testing.assert_array_equal(plane, stored[0])


# Segmentations


@pytest.fixture
def label(tmp_path: Path) -> Path:
    files = series(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", files, blobs())
    return tmp_path / "seg.dcm"


def test_a_deflated_frame_is_inflated_to_what_the_header_says(label: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = pydicom.dcmread(label)
    dataset.file_meta.TransferSyntaxUID = DEFLATED_IMAGE_FRAMES
    dataset.PixelData = encapsulate([zeros_deflated(1 << 28)] * int(dataset.NumberOfFrames))
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    pydicom.dcmwrite(label, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    most: list[int] = []
    inflate = segment_pixels.inflate_frames

    def watched(*arguments: object):  # type: ignore[no-untyped-def]
        for index, values in inflate(*arguments):  # type: ignore[arg-type]
            most.append(values.base.nbytes)
            yield index, values

    monkeypatch.setattr(segment_pixels, "inflate_frames", watched)
    assert not read_annotation(label, grid_of(label.parent / "ct"), {"Liver": 1, "Spleen": 2}).array.any()
    assert max(most) < 1000


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"NumberOfFrames": 2_000_000_000}, DicomReadError, r"2000000000 frames of .* a damaged header"),
        ({"Rows": 65535, "Columns": 65535}, DicomReadError, r"65535 x 65535 x .* a damaged header"),
        ({"PixelPaddingValue": 4_000_000_000}, DicomReadError, "PixelPaddingValue is 4000000000; expected 0 to 65535"),
    ],
)
def test_numbers_that_would_fill_memory_are_not_believed(
    label: Path, change: dict[str, int], error: type[Exception], message: str
) -> None:
    dataset = pydicom.dcmread(label)
    for keyword, value in change.items():
        dataset.add_new(keyword, "UL" if keyword == "PixelPaddingValue" else dataset[keyword].VR, value)
    dataset.save_as(label)
    with pytest.raises(error, match=message):
        read_annotation(label, grid_of(label.parent / "ct"), {"Liver": 1, "Spleen": 2})


@pytest.mark.parametrize("number", [4_000_000_000, -5])
def test_a_segment_number_beyond_all_is_refused(label: Path, number: int) -> None:
    dataset = pydicom.dcmread(label)
    dataset.SegmentSequence[0].add_new("SegmentNumber", "UL" if number > 0 else "SL", number)
    dataset.save_as(label)
    with pytest.raises(DicomReadError, match=r"describes SegmentNumbers from .* expected 0 to 65535"):
        read_annotation(label, grid_of(label.parent / "ct"), {"Liver": 1, "Spleen": 2})


def test_frames_larger_than_memory_are_refused(label: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of(label.parent / "ct")
    monkeypatch.setattr("monai_vggunet.memory.NEGLIGIBLE_BYTES", 0)
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 100)
    with pytest.raises(DicomPixelError, match=r"has frames of 5x6 pixels: for each it needs"):
        read_annotation(label, grid, {"Liver": 1, "Spleen": 2})
