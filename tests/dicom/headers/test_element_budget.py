"""Headers of elements and items without end: refused before pydicom builds them; honest large ones are read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.filereader
import pytest
from annotation_phantoms import contour, grid_of, write_rtstruct
from bombs import data_set_of, deflate_series
from dicom_phantoms import stored_values, write_enhanced, write_series
from pydicom.dataelem import RawDataElement

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.headers import element_budget
from monai_vggunet.dicom.headers.bounded_reading import TooLargeError, read_dicom
from monai_vggunet.dicom.headers.element_budget import ELEMENTS_PER_DEFLATED_BYTE, ELEMENTS_UNQUESTIONED, ElementBudget
from monai_vggunet.dicom.headers.header import read_header
from monai_vggunet.dicom.headers.records import InstanceRecord, SkippedFile
from monai_vggunet.dicom.headers.unparsed_sequence import UnparsedSequence
from monai_vggunet.dicom.places import files_of_dicomdir
from monai_vggunet.errors import DicomReadError

MANY = 150_000
UNDEFINED = 2**32 - 1
REFUSAL = "more elements than an honest file"
# Empty elements earn 8/9 of an element each: what is unquestioned is spent after nine times as many.
MOST_BUILT = 9 * ELEMENTS_UNQUESTIONED + 10_000


def sequence(content: bytes, tag: tuple[int, int] = (0x0029, 0x1001), stated: bool = True) -> bytes:
    """Return an explicit little endian sequence, with its length stated or a delimiter behind it."""
    head = struct.pack("<HH2sHL", *tag, b"SQ", 0, len(content) if stated else UNDEFINED)
    return head + content + (b"" if stated else struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))


def item(content: bytes = b"", stated: bool = True) -> bytes:
    head = struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if stated else UNDEFINED)
    return head + content + (b"" if stated else struct.pack("<HHL", 0xFFFE, 0xE00D, 0))


def empty_elements(count: int = MANY) -> bytes:
    """Return private elements of different tags."""
    tags = ((0x31 + 2 * (k >> 15), 0x1000 + (k & 0x7FFF)) for k in range(count))
    return b"".join(struct.pack("<HH2sH", *tag, b"LO", 0) for tag in tags)


GROUPS = (0x5200, 0x9230)  # PerFrameFunctionalGroupsSequence
ATTACKS = {
    "private items": lambda: sequence(item() * MANY, stated=False),
    "private items, length stated": lambda: sequence(item() * MANY),
    "items of groups": lambda: sequence(item() * MANY, GROUPS),
    "items with tags of zeros": lambda: sequence(bytes(8) * MANY, GROUPS),
    "items without lengths": lambda: sequence(item(stated=False) * MANY, GROUPS, stated=False),
    "items within an item": lambda: sequence(item(sequence(item() * MANY, (0x0008, 0x1140))), GROUPS),
    "unparsed within parsed": lambda: sequence(
        item(sequence(item() * MANY, (0x0008, 0x1140)), stated=False), GROUPS, stated=False
    ),
    "short sequences": lambda: sequence(item(sequence(item() * 5000, (0x0008, 0x1140))) * 30, GROUPS),
    "elements": empty_elements,
    "elements in an item": lambda: sequence(item(empty_elements()), GROUPS),
    "fragments": lambda: (
        struct.pack("<HH2sHL", 0x0029, 0x1001, b"OB", 0, UNDEFINED)
        + item() * MANY
        + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    ),
}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many items and elements pydicom built."""
    counts = {"items": 0, "elements": 0}

    def counted(kind: str, build: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            counts[kind] += 1
            return build(*arguments, **options)

        return wrapped

    monkeypatch.setattr(pydicom.filereader, "read_dataset", counted("items", pydicom.filereader.read_dataset))
    monkeypatch.setattr(pydicom.filereader, "RawDataElement", counted("elements", RawDataElement))
    return counts


def attacked(folder: Path, before_pixels: bytes, deflate: bool) -> Path:
    """Write a slice with elements put before its pixels."""
    (path,) = write_series(folder, stored_values(slices=1))
    if deflate:
        return deflate_series(folder, before_pixels=before_pixels)[0]
    meta, data_set = data_set_of(path)
    at = data_set.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))
    path.write_bytes(meta + data_set[:at] + before_pixels + data_set[at:])
    return path


@pytest.mark.parametrize("attack", list(ATTACKS))
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflated"])
def test_elements_without_end_are_refused_before_they_are_built(
    tmp_path: Path, built: dict[str, int], attack: str, deflate: bool
) -> None:
    """Eight bytes each in the file, and a kilobyte in memory."""
    path = attacked(tmp_path, ATTACKS[attack](), deflate)
    for before_pixels in (True, False):
        built.update(items=0, elements=0)
        with pytest.raises(TooLargeError, match=REFUSAL):
            read_dicom(path, before_pixels=before_pixels)
        assert sum(built.values()) < MOST_BUILT


def test_a_scan_names_the_reason(tmp_path: Path) -> None:
    record = read_header(attacked(tmp_path, ATTACKS["private items"](), True))
    assert isinstance(record, SkippedFile)
    assert REFUSAL in record.reason


def test_a_deflated_file_earns_elements_by_its_own_size(tmp_path: Path, built: dict[str, int]) -> None:
    """Values that are all alike make the inflated header look honest."""
    content = sequence(item(struct.pack("<HH2sH", 0x0008, 0x103E, b"LO", 20) + bytes(20)) * 50_000, stated=False)
    path = attacked(tmp_path, content, True)
    with pytest.raises(TooLargeError, match=REFUSAL):
        read_dicom(path)
    in_meta_group = 100  # at most: it is not deflated, and counted by itself
    most = ELEMENTS_UNQUESTIONED + ELEMENTS_PER_DEFLATED_BYTE * path.stat().st_size + in_meta_group
    assert sum(built.values()) < most < 50_000


def test_a_structure_set_of_empty_contours_is_refused(tmp_path: Path, built: dict[str, int]) -> None:
    write_series(tmp_path / "ct", stored_values())
    path = tmp_path / "label.dcm"
    write_rtstruct(path, {"liver": [contour(np.zeros((3, 3)))]})
    meta, data_set = data_set_of(path)
    path.write_bytes(meta + data_set + sequence(item(sequence(item() * MANY, (0x3006, 0x40))), (0x3006, 0x39)))
    with pytest.raises(DicomReadError, match=REFUSAL):
        read_annotation(path, grid_of(tmp_path / "ct"), {"liver": 1})
    assert sum(built.values()) < MOST_BUILT


def test_a_directory_of_empty_records_is_refused(tmp_path: Path, built: dict[str, int]) -> None:
    path = attacked(tmp_path, sequence(item() * MANY, (0x0004, 0x1220), stated=False), True)
    with pytest.raises(DicomReadError, match=r"damaged DICOMDIR \(TooLargeError\)"):
        files_of_dicomdir(path)
    assert sum(built.values()) < MOST_BUILT


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflated"])
def test_thousands_of_frames_are_read(tmp_path: Path, deflate: bool) -> None:
    frames = 3000
    stored = np.random.default_rng(0).integers(0, 4000, (frames, 8, 8), np.uint16)
    write_enhanced(tmp_path / "a.dcm", stored, [[-100.0, -120.5, 0.25 * k] for k in range(frames)])
    if deflate:
        deflate_series(tmp_path)
    record = read_header(tmp_path / "a.dcm")
    assert isinstance(record, InstanceRecord)
    assert len(record.frames) == frames


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflated"])
def test_thousands_of_contours_are_read(tmp_path: Path, deflate: bool) -> None:
    points = np.random.default_rng(0).uniform(-200, 200, (3000, 12, 3)).round(2)
    path = tmp_path / "label.dcm"
    write_rtstruct(path, {"liver": [contour(each) for each in points]})
    if deflate:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    assert len(read_dicom(path).ROIContourSequence[0].ContourSequence) == 3000


@pytest.mark.parametrize(
    ("implicit", "little_endian"),
    [(True, True), (False, True), (False, False)],
    ids=["implicit", "explicit", "big endian"],
)
@pytest.mark.parametrize("stated", [False, True], ids=["no length", "length"])
def test_what_is_not_parsed_yet_is_counted_one_by_one(implicit: bool, little_endian: bool, stated: bool) -> None:
    code, group, outer = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    code.CodeValue, code.CodeMeaning, code.EncapsulatedDocument = "T-62000", "Liver", b"abcd"
    group.Rows, group.AnatomicRegionSequence = 5, [code, code]
    outer.SharedFunctionalGroupsSequence = [group, group]
    for each in (code, group):
        each.is_undefined_length_sequence_item = not stated
    group["AnatomicRegionSequence"].is_undefined_length = not stated
    stream = pydicom.filebase.DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little_endian
    pydicom.filewriter.write_dataset(stream, outer)
    stream.seek(0)
    (element,) = pydicom.filereader.read_dataset(stream, implicit, little_endian).values()
    assert isinstance(element, RawDataElement)
    budget = ElementBudget()
    UnparsedSequence(element, budget.spend).count()
    # Two items of two elements, one of which holds two items of three; and their delimiters.
    assert budget.count == 2 * (1 + 2 + 2 * (1 + 3)) + (0 if stated else 2 * (1 + 1 + 2))


def test_more_than_fits_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(element_budget, "available_memory", lambda: 10 << 20)
    value = struct.pack("<HH2sH", 0x0008, 0x103E, b"LO", 20) + bytes(20)
    with pytest.raises(TooLargeError, match="than fit into memory"):
        read_dicom(attacked(tmp_path, sequence(item(value) * 10_000), False))
