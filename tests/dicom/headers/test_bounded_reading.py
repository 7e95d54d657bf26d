"""DICOM files that inflate, nest or promise without end: read in bounded memory, or left out with a reason."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from bombs import data_set_of, deflate_series, deflated
from dicom_phantoms import stored_values, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.headers import bounded_reading
from monai_vggunet.dicom.headers.bounded_reading import TooLargeError, read_dicom
from monai_vggunet.dicom.headers.header import read_header
from monai_vggunet.dicom.headers.records import InstanceRecord, SkippedFile
from monai_vggunet.errors import DicomReadError

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The streams that were inflated."""
    streams: list[Any] = []

    class Watched(bounded_reading._Inflated):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            streams.append(self)

    monkeypatch.setattr(bounded_reading, "_Inflated", Watched)
    return streams


def peak_bytes_of(call: Any) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def element(group: int, number: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an explicit little endian element with a length of four bytes."""
    return struct.pack("<HH2sHL", group, number, vr, 0, len(value) if length is None else length) + value


def with_elements(path: Path, elements: bytes) -> Path:
    """Put elements before a file's pixels."""
    meta, data_set = data_set_of(path)
    at = data_set.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))
    path.write_bytes(meta + data_set[:at] + elements + data_set[at:])
    return path


def test_a_deflated_series_is_read_as_it_was_before(tmp_path: Path) -> None:
    stored = stored_values()
    write_series(tmp_path, stored)
    before = read_volume(scan_folder(tmp_path).choose_series())
    deflate_series(tmp_path)
    after = read_volume(scan_folder(tmp_path).choose_series())
    np.testing.assert_array_equal(after.array, before.array)
    np.testing.assert_array_equal(after.geometry.affine_lps, before.geometry.affine_lps)


def test_what_is_read_of_a_deflated_file_is_what_pydicom_reads(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path)
    expected, found = pydicom.dcmread(path), read_dicom(path)
    assert found == expected
    assert found.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert found.original_encoding == expected.original_encoding
    header = read_dicom(path, before_pixels=True, tags=["Rows", "SeriesInstanceUID"])
    assert list(header.keys()) == [0x0020000E, 0x00280010]


def test_a_deflated_header_is_inflated_to_its_end_alone(tmp_path: Path, inflated: list[Any]) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path, pixel_bytes=3 * GIB)
    assert path.stat().st_size < 4 * MIB
    record, peak = peak_bytes_of(lambda: read_header(path))
    assert isinstance(record, SkippedFile)
    assert "the pixels have 3,221,225,472 bytes" in record.reason
    assert len(inflated[0]._data) < MIB
    assert peak < 5 * MIB


def test_pixels_beyond_what_the_header_promises_are_not_inflated(tmp_path: Path, inflated: list[Any]) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path, pixel_bytes=3 * GIB)
    with pytest.raises(TooLargeError, match=r"inflates to more than .* bytes, more than its header promises"):
        read_dicom(path)
    assert len(inflated[0]._data) < MIB
    with pytest.raises(DicomReadError, match=r"the pixels have 3,221,225,472 bytes, .* NumberOfFrames says 1"):
        scan_folder(tmp_path).choose_series()


def test_data_behind_the_pixels_are_not_inflated_without_end(tmp_path: Path, inflated: list[Any]) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path)
    meta, data_set = data_set_of(path)
    tail = element(0x7FE1, 0x1010, b"OB", b"", 2 * GIB)
    path.write_bytes(meta + deflated(zlib.decompress(data_set, -zlib.MAX_WBITS) + tail, 2 * GIB))
    with pytest.raises(TooLargeError, match="more than its header promises"):
        read_dicom(path)
    assert all(len(stream._data) < MIB for stream in inflated)


def test_a_deflated_header_of_gigabytes_is_left_out(tmp_path: Path, inflated: list[Any]) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path)
    meta, data_set = data_set_of(path)
    header = zlib.decompress(data_set, -zlib.MAX_WBITS).split(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))[0]
    path.write_bytes(meta + deflated(header + element(0x0029, 0x1010, b"OB", b"", 2 * GIB), 2 * GIB))
    record = read_header(path)
    assert isinstance(record, SkippedFile)
    assert record.reason == "unreadable: it inflates to more than 67,108,864 bytes, more than its header promises"
    assert record.damaged
    assert len(inflated[0]._data) < MIB


@pytest.mark.parametrize("kept", [-1, -20, 200])
def test_a_deflated_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    write_series(tmp_path, stored_values(slices=1))
    (path,) = deflate_series(tmp_path)
    start = len(data_set_of(path)[0])
    path.write_bytes(path.read_bytes()[: kept if kept < 0 else start + kept])
    with pytest.raises(Exception, match=r"incomplete or truncated stream"):
        read_dicom(path)


def test_a_length_that_the_file_does_not_have_allocates_nothing(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, stored_values(slices=1))
    content = path.read_bytes()
    with_elements(path, element(0x0029, 0x1010, b"OB", b"", 0xFFFFFFF0))
    in_data_set = path.read_bytes()
    in_meta_group = content[:144] + element(0x0002, 0x0102, b"OB", b"", 0xFFFFFFF0) + content[144:]
    for damaged in (in_data_set, in_meta_group):
        path.write_bytes(damaged)
        _, peak = peak_bytes_of(lambda: [read_header(path), read_dicom(path)])
        assert peak < 5 * MIB


def test_values_before_the_pixels_that_nobody_asked_for_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_reading, "LARGEST_VALUE", MIB)
    (path,) = write_series(tmp_path, stored_values(slices=1))
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 20 * MIB) + bytes(20 * MIB) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    without_length = element(0x0029, 0x1011, b"OB", fragments, 2**32 - 1)
    with_elements(path, element(0x0029, 0x1010, b"OB", bytes(20 * MIB)) + without_length)
    del fragments, without_length
    record, peak = peak_bytes_of(lambda: read_header(path))
    assert isinstance(record, InstanceRecord)
    assert peak < 5 * MIB


@pytest.mark.parametrize("depth", [300, 10_000])
def test_sequences_nested_without_end_are_left_out(tmp_path: Path, depth: int) -> None:
    (path,) = write_series(tmp_path, stored_values(slices=1))
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    start = element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFFF) + item
    with_elements(path, start * depth + end * depth)
    record = read_header(path)
    if depth > 1000:
        assert isinstance(record, SkippedFile)
        assert record.reason == "unreadable: RecursionError"
    else:
        assert isinstance(record, InstanceRecord)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"NumberOfFrames": "2000000000"}, "2000000000 frames of 5 x 6 x 16 bits, 120,000,000,000 bytes, in a file"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 x 16 bits, 8,589,672,450 bytes, in a file of"),
    ],
)
@pytest.mark.parametrize("deflate", [False, True], ids=["", "deflated"])
def test_what_a_file_cannot_hold_is_not_believed(
    tmp_path: Path, attributes: dict[str, Any], reason: str, deflate: bool
) -> None:
    (path,) = write_series(tmp_path, stored_values(slices=1), **attributes)
    if deflate:
        deflate_series(tmp_path)
    record = read_header(path)
    assert isinstance(record, SkippedFile)
    assert reason in record.reason


@pytest.mark.parametrize(("frames", "believed"), [(131_072, True), (131_073, False)])
def test_frames_are_counted_before_each_becomes_a_record(tmp_path: Path, frames: int, believed: bool) -> None:
    """Deflated, a megabyte promises any number of frames of one pixel."""
    attributes = {"NumberOfFrames": str(frames), "Rows": 1, "Columns": 1}
    write_series(tmp_path, stored_values(slices=1), **attributes)
    (path,) = deflate_series(tmp_path, pixel_bytes=2 * frames)
    record = read_header(path)
    assert isinstance(record, InstanceRecord if believed else SkippedFile)
    if isinstance(record, SkippedFile):
        assert "NumberOfFrames is 131,073, expected up to 131,072" in record.reason
    else:
        assert [record.frames[k].frame_index for k in (0, 1, -1)] == [0, 1, frames - 1]
