from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import stored_values, write_enhanced, write_object, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from monai_vggunet.dicom.headers import header as headers
from monai_vggunet.dicom.headers.plain_header import parse_plain_header, read_plain_header, wanted_tags

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "dicom"
TAGS = wanted_tags(["Rows", "PatientID", "SeriesDescription", "BitsStored"])


def both_ways(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """Return a file's record as it is read, and as pydicom alone reads it."""
    quick = headers.read_header(path)
    with monkeypatch.context() as patch:
        patch.setattr(headers, "read_plain_header", lambda *_: None)
        return quick, headers.read_header(path)


def resaved(path: Path, transfer_syntax: str) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.save_as(path, implicit_vr=transfer_syntax == ImplicitVRLittleEndian, little_endian=True)
    return path


def sequences(depth: int) -> Sequence:
    item = Dataset()
    item.SeriesDescription = "inside"
    if depth:
        item.ReferencedImageSequence = sequences(depth - 1)
        item["ReferencedImageSequence"].is_undefined_length = depth % 2 == 1
    item.is_undefined_length_sequence_item = depth % 2 == 0
    return Sequence([item, item])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian])
def test_elements_and_place_of_the_pixels_are_found_behind_nested_sequences(tmp_path: Path, syntax: str) -> None:
    (path,) = write_series(tmp_path, stored_values(slices=1), ReferencedImageSequence=sequences(3))
    dataset = pydicom.dcmread(path)
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.save_as(path)
    resaved(path, syntax)
    header = read_plain_header(path, TAGS)
    assert header is not None
    assert header.transfer_syntax == syntax
    assert header.elements.get("Rows") == 6
    assert header.elements.get(pydicom.tag.Tag("SeriesDescription")).value == "phantom"
    assert header.elements.get("Columns") is None  # not asked for
    stored = stored_values(slices=1)
    assert path.read_bytes()[header.pixel_offset :][: header.pixel_length] == stored.tobytes()


def test_length_of_encapsulated_pixels_is_unknown(tmp_path: Path) -> None:
    path = write_series(tmp_path, transfer_syntax=RLELossless)[0]
    header = read_plain_header(path, TAGS)
    assert header is not None
    assert header.pixel_offset
    assert header.pixel_length is None


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_left_to_pydicom(tmp_path: Path, syntax: str) -> None:
    path = write_series(tmp_path)[0]
    dataset = pydicom.dcmread(path)
    list(dataset.iterall())  # parsed, so that every value is written anew
    dataset.file_meta.TransferSyntaxUID = syntax
    little = syntax != ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=little, force_encoding=True)
    assert read_plain_header(path, TAGS) is None


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_series(tmp_path, ImageComments="long " * 20000)[0]
    header = read_plain_header(path, TAGS)
    assert header is not None
    assert header.pixel_offset > 100_000


def test_a_header_cut_short_is_not_plain(tmp_path: Path) -> None:
    raw = write_series(tmp_path)[0].read_bytes()
    end = raw.index(b"\xe0\x7f\x10\x00")
    assert parse_plain_header(raw[:end], TAGS, whole=True) is not None
    assert parse_plain_header(raw[:end], TAGS, whole=False) is None
    assert parse_plain_header(raw[: end - 3], TAGS, whole=True) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"SeriesDescription": "Schädel \\ früh", "SpecificCharacterSet": "ISO_IR 100"},
        {"SeriesDescription": "頭部", "SpecificCharacterSet": "ISO_IR 192"},
        {"SeriesNumber": " 7", "PatientID": "A\\B", "Modality": ""},
        {"InstanceNumber": None, "SeriesInstanceUID": "", "SOPInstanceUID": None, "PatientID": None},
        {"PixelSpacing": None, "RescaleSlope": "1.50000000000000001", "ImageType": ["DERIVED", "SECONDARY"]},
        {"NumberOfFrames": 1, "EchoTime": "", "SeriesNumber": "-3"},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_records_equal_those_that_pydicom_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: dict
) -> None:
    for path in write_series(tmp_path, stored_values(slices=2), **attributes):
        for syntax in ("1.2.840.10008.1.2.1", ImplicitVRLittleEndian):
            quick, general = both_ways(resaved(path, syntax), monkeypatch)
            assert quick == general
            assert read_plain_header(path, TAGS) is not None


def test_records_of_other_objects_equal_those_that_pydicom_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_enhanced(tmp_path / "enhanced", np.zeros((2, 4, 4), np.uint16), [[0, 0, 0], [0, 0, 3]])
    write_object(tmp_path / "plan", "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN")
    for path in tmp_path.iterdir():
        quick, general = both_ways(path, monkeypatch)
        assert quick == general


@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_give_the_record_that_pydicom_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where single bytes are wrong, the quick way either steps aside or agrees."""
    path = write_series(tmp_path, stored_values(slices=1))[0]
    raw = path.read_bytes()
    end = raw.index(b"\xe0\x7f\x10\x00")
    rng = np.random.default_rng(0)
    quick_ones = 0
    for _ in range(300):
        damaged = bytearray(raw)
        for place in rng.integers(132, end, 2):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        quick_ones += read_plain_header(path, TAGS) is not None
        quick, general = both_ways(path, monkeypatch)
        assert quick == general
    assert 50 < quick_ones < 300  # both ways were taken


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the project")
@pytest.mark.filterwarnings("ignore")
def test_records_of_the_corpus_equal_those_that_pydicom_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [path for path in sorted(CORPUS.glob("*/dicom/**/*")) if path.is_file()]
    differing = [path for path in files if len(set(map(repr, both_ways(path, monkeypatch)))) > 1]
    assert not differing
    assert sum(read_plain_header(path, TAGS) is not None for path in files) > len(files) / 2
