"""A remembered header changes nothing: every record is the one that reading the file alone gives."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from dicom_phantoms import stored_values, write_series

from monai_vggunet.dicom import headers
from monai_vggunet.dicom.header_memory import HeaderMemory
from monai_vggunet.dicom.header_stencil import HeaderReader
from monai_vggunet.dicom.records import InstanceRecord, SkippedFile


class Forgetful(HeaderMemory):
    def recall(self, *args: object) -> None:
        return None


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A fresh memory; the list says of each plain file whether it was remembered."""
    hits: list[bool] = []

    class Counted(HeaderMemory):
        def recall(self, *args: object) -> InstanceRecord | None:
            found = super().recall(*args)
            hits.append(found is not None)
            return found

    monkeypatch.setattr(headers, "_MEMORY", Counted(headers._text))
    monkeypatch.setattr(headers, "_READER", HeaderReader(headers._READER.tags))
    return hits


def alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> InstanceRecord | SkippedFile:
    with monkeypatch.context() as patch:
        patch.setattr(headers, "_MEMORY", Forgetful(headers._text))
        return headers.read_header(path)


def test_the_slices_of_a_series_are_remembered_and_equal(
    tmp_path: Path, counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path)
    found = [headers.read_header(path) for path in files]
    # The third is the first that is read by comparison with the others, and so remembered anew.
    assert counted == [False, True, False, True]
    assert found == [alone(path, monkeypatch) for path in files]
    assert len({record.sop_instance_uid for record in found}) == len(files)
    assert len({record.frames[0].position_lps_mm for record in found}) == len(files)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageOrientationPatient", [0, 1, 0, 1, 0, 0]),
        ("PixelSpacing", [0.5, 0.5]),
        ("RescaleSlope", "2"),
        ("RescaleIntercept", "-1000"),
        ("Rows", 3),
        ("BitsStored", 10),
        ("SeriesInstanceUID", "1.2.3.99"),
        ("StudyInstanceUID", "1.2.3.98"),
        ("PatientID", "somebody else"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        ("EchoTime", "12"),
        ("AcquisitionTime", "101010"),
        ("AcquisitionNumber", "7"),
        ("TriggerTime", "33"),
        ("InstanceNumber", "77"),
        ("ImagePositionPatient", [1, 2, 3]),
        ("ImagePositionPatient", None),
        ("SOPInstanceUID", None),
        ("NumberOfFrames", "2"),
        ("PhotometricInterpretation", "MONOCHROME1"),
    ],
)
def test_whatever_differs_is_seen(
    tmp_path: Path, counted: list[bool], monkeypatch: pytest.MonkeyPatch, keyword: str, value: object
) -> None:
    files = write_series(tmp_path, stored_values(slices=6))
    odd = pydicom.dcmread(files[1])
    if value is None:
        delattr(odd, keyword)
    else:
        setattr(odd, keyword, value)
    odd.save_as(files[1])
    found = [headers.read_header(path) for path in files]
    assert any(counted)
    assert found == [alone(path, monkeypatch) for path in files]


def test_a_file_cut_short_is_not_taken_for_its_neighbor(
    tmp_path: Path, counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path)
    content = files[1].read_bytes()
    for share in (0.2, 0.5, 0.8, 0.99):
        files[1].write_bytes(content[: int(share * len(content))])
        found = [headers.read_header(path) for path in files]
        assert found == [alone(path, monkeypatch) for path in files]
    assert any(counted)


def test_on_real_series_nothing_changes(
    shared_data: Path, counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [path for path in sorted((shared_data / "dicom").rglob("*")) if path.is_file()]
    found = [headers.read_header(path) for path in files]
    assert sum(counted) > 100
    assert found == [alone(path, monkeypatch) for path in files]
