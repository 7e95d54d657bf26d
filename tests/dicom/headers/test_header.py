"""Headers that cannot be true are refused at the scan, and none of them names a patient."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bombs import SPARSE_BYTES
from dicom_phantoms import (
    PATIENT_ID,
    PATIENT_NAME,
    stored_values,
    write_enhanced,
    write_series,
)
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from monai_vggunet.dicom import describe_series, scan_folder
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import DicomReadError


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizer"),
        (["ORIGINAL", "PRIMARY", "SCOUT"], "localizer"),
        (["DERIVED", "SECONDARY", "SCREEN SAVE"], "secondary capture"),
        (["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"], "secondary capture"),
        (["DERIVED", "SECONDARY", "AXIAL"], "image"),
        (["ORIGINAL", "PRIMARY", "AXIAL"], "image"),
    ],
)
def test_kind_of_a_series_follows_its_image_type(tmp_path: Path, image_type: list[str], kind: str) -> None:
    write_series(tmp_path, ImageType=image_type)
    assert scan_folder(tmp_path).series[0].kind == kind


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535}, "1 frame of 65535 x 65535 x 16 bits, 8,589,672,450 bytes, in a file of"),
        ({"NumberOfFrames": "99999999"}, "99999999 frames of 5 x 6"),
        ({"NumberOfFrames": "-1"}, "NumberOfFrames is not a number of frames"),
        ({"BitsStored": 17}, "BitsStored 17 up to HighBit 16 in BitsAllocated 16"),
        ({"HighBit": 3}, "BitsStored 16 up to HighBit 3 in BitsAllocated 16"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2, expected 0 or 1"),
        ({"RescaleSlope": "1e300"}, "RescaleSlope is 1e+300"),
        ({"RescaleIntercept": "-1e39"}, "RescaleIntercept is -1e+39"),
    ],
)
def test_header_that_cannot_be_true_is_refused_at_the_scan(tmp_path: Path, lie: dict, reason: str) -> None:
    write_series(tmp_path, per_slice=[lie if k == 3 else {} for k in range(4)])
    (skipped,) = scan_folder(tmp_path).skipped
    assert skipped.damaged
    assert reason in skipped.reason
    with pytest.raises(DicomReadError, match="IM_96"):
        scan_folder(tmp_path).choose_series()


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless])
def test_sparse_file_without_end_is_refused_at_the_scan(tmp_path: Path, transfer_syntax: str) -> None:
    files = write_series(tmp_path, np.abs(stored_values(rows=64, columns=64)), transfer_syntax=transfer_syntax)
    os.truncate(files[1], SPARSE_BYTES)
    (skipped,) = scan_folder(tmp_path).skipped
    assert "8,192 bytes, in a file of 10,995,116,277,760, expected up to" in skipped.reason
    with pytest.raises(DicomReadError, match=r"IM_98: 1 frame .* restore or remove it"):
        scan_folder(tmp_path).choose_series()
    (case,) = survey(tmp_path)
    assert case.skipped == (skipped,)
    assert [series.chosen for series in case.series] == [None]


@pytest.mark.parametrize("transfer_syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_file_cannot_promise_ten_thousand_times_its_size(tmp_path: Path, transfer_syntax: str) -> None:
    files = write_series(tmp_path, np.abs(stored_values(rows=64, columns=64)), transfer_syntax=transfer_syntax)
    assert not scan_folder(tmp_path).skipped
    dataset = pydicom.dcmread(files[0])
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(files[0])
    (skipped,) = scan_folder(tmp_path).skipped
    assert "8,589,672,450 bytes, in a file of" in skipped.reason


def test_blank_compressed_slice_is_no_lie(tmp_path: Path) -> None:
    write_series(tmp_path, np.zeros((2, 1024, 1024), np.uint16), transfer_syntax=JPEG2000Lossless)
    assert not scan_folder(tmp_path).skipped


@pytest.mark.parametrize("vr", ["US", "UN", "OB"])
def test_decimals_in_binary_form_are_refused(tmp_path: Path, vr: str) -> None:
    files = write_series(tmp_path)
    raw = files[1].read_bytes()
    place = raw.index(b"\x28\x00\x53\x10DS") + 4
    long = vr != "US"
    header = vr.encode() + (b"\0\0" + (2).to_bytes(4, "little") if long else (2).to_bytes(2, "little"))
    files[1].write_bytes(raw[:place] + header + raw[place + 4 :])
    index = scan_folder(tmp_path)
    if vr == "UN":  # unknown in form, not in meaning: the dictionary says what it is
        assert not index.skipped
    else:
        assert f"RescaleSlope is written as {vr}" in index.skipped[0].reason


@pytest.mark.parametrize("text", ["1_0", "1,5", "0x1", "nan", "\u00b2", "1.5.2"])
def test_what_only_looks_like_a_number_is_none(tmp_path: Path, text: str) -> None:
    files = write_series(tmp_path, RescaleIntercept="7777")
    raw = files[1].read_bytes()
    files[1].write_bytes(raw.replace(b"7777", text.encode("latin-1").ljust(4)[:4]))
    (skipped,) = scan_folder(tmp_path).skipped
    assert "RescaleIntercept is not a number" in skipped.reason


def test_instance_number_that_is_no_number_does_no_harm(tmp_path: Path) -> None:
    files = write_series(tmp_path, InstanceNumber="77", SeriesNumber="88")
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"77", b"\xb2 ").replace(b"88", b"\xb2 "))
    selection = scan_folder(tmp_path).choose_series()
    assert {frame.instance_number for frame in selection.stack.frames} == {""}
    assert selection.series.series_number == ""


def test_no_warning_quotes_a_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A UID whose length is damaged runs on into the patient's name, and pydicom warns about such a UID."""
    raw = bytearray(write_series(tmp_path)[0].read_bytes())
    place = raw.index(b"\x08\x00\x16\x00UI") + 6
    raw[place : place + 2] = (200).to_bytes(2, "little")
    (tmp_path / "IM_99").write_bytes(raw)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        index = scan_folder(tmp_path)
    text = caplog.text + " ".join(str(warning.message) for warning in caught) + repr(index.skipped)
    assert PATIENT_NAME not in text
    assert PATIENT_ID not in text


@pytest.mark.parametrize("keyword", ["ImageType", "SOPInstanceUID", "Modality", "SeriesDescription"])
def test_text_that_runs_on_into_the_patient_is_cut(tmp_path: Path, keyword: str) -> None:
    files = write_series(tmp_path, PatientName=PATIENT_NAME, SeriesDescription="phantom")
    for file in files:
        raw = bytearray(file.read_bytes())
        tag = Tag(keyword)
        place = raw.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little"), 132) + 6
        end = raw.index(PATIENT_ID.encode()) + len(PATIENT_ID)
        raw[place : place + 2] = (end - place - 2).to_bytes(2, "little")
        file.write_bytes(raw)
    index = scan_folder(tmp_path)
    text = repr(index).upper() + describe_series(index.series).upper()
    assert PATIENT_NAME.upper() not in text
    assert PATIENT_ID.upper() not in text


def test_header_cut_short_inside_the_image_description_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    raw = files[3].read_bytes()
    files[3].write_bytes(raw[: raw.index(b"\x28\x00\x10\x00US")])
    with pytest.raises(DicomReadError, match="IM_96"):
        scan_folder(tmp_path).choose_series()


def test_enhanced_object_with_a_wrong_number_of_frames_is_refused(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a", stored_values(slices=3), [[0, 0, 0], [0, 0, 3]], SeriesInstanceUID="1.2.9")
    write_series(tmp_path, series_uid="1.2.9")
    with pytest.raises(DicomReadError, match="NumberOfFrames is 3, but 2 frames are described"):
        scan_folder(tmp_path).choose_series()
