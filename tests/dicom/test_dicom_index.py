from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bombs import SPARSE_BYTES
from dicom_phantoms import (
    CORONAL,
    PATIENT_ID,
    PATIENT_NAME,
    SAGITTAL,
    SECONDARY_CAPTURE_CLASS,
    SEGMENTATION_CLASS,
    stored_values,
    write_enhanced,
    write_object,
    write_series,
)
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from monai_vggunet.dicom import FindingKind, describe_series, patient_key, scan_folder
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import DicomReadError, SeriesSelectionError


def test_index_needs_no_torch() -> None:
    code = "import sys, monai_vggunet.dicom; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_skipped_file_has_a_reason(tmp_path: Path) -> None:
    files = write_series(tmp_path / "deep" / "er")
    (tmp_path / "empty").touch()
    (tmp_path / "notes.txt").write_text("no DICOM " * 50)
    (tmp_path / "._IM_1").write_bytes(b"\0\5\x16\7" + bytes(200))
    (tmp_path / "garbage").write_bytes(bytes(128) + b"DICM" + b"\xff" * 64)
    (tmp_path / "half").write_bytes(files[0].read_bytes()[:300])
    index = scan_folder(tmp_path)
    assert len(index.series) == 1
    reasons = {file.path.name: file.reason for file in index.skipped}
    assert reasons["empty"] == "empty file (0 bytes)"
    assert reasons["notes.txt"] == "not a DICOM file"
    assert "AppleDouble" in reasons["._IM_1"]
    assert set(reasons) == {"empty", "notes.txt", "._IM_1", "garbage", "half"}
    assert all(reasons.values())
    findings = " ".join(map(str, index.choose_series().findings))
    assert all(name in findings for name in reasons)


def test_many_files_are_scanned_by_threads_in_the_same_order(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=40, rows=2, columns=2))
    one, many = scan_folder(tmp_path, num_workers=1), scan_folder(tmp_path, num_workers=4)
    assert one == many


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomReadError, match="is not a folder"):
        scan_folder(tmp_path / "absent")


def test_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    write_object(tmp_path / "seg", SEGMENTATION_CLASS, "SEG")
    with pytest.raises(DicomReadError, match="no DICOM image found: 1 series without an image"):
        scan_folder(tmp_path).choose_series()


def test_volume_is_chosen_beside_localizer_capture_and_objects(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.1", SeriesDescription="wanted")
    one = stored_values(slices=1)
    write_series(tmp_path, one, series_uid="1.2.2", prefix="L", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(tmp_path, one, series_uid="1.2.3", prefix="S", SOPClassUID=SECONDARY_CAPTURE_CLASS)
    write_series(tmp_path, one, series_uid="1.2.4", prefix="X", SeriesDescription="single image")
    write_object(tmp_path / "seg", SEGMENTATION_CLASS, "SEG")
    selection = scan_folder(tmp_path).choose_series()
    assert selection.series.series_uid == "1.2.1"
    assert "4 other series left out" in selection.findings[0].text
    assert "(localizer)" in selection.findings[0].text
    assert "(secondary capture)" in selection.findings[0].text
    assert "(object)" in selection.findings[0].text


def test_several_localizers_do_not_compete_with_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=2), series_uid="1.2.1")
    write_series(tmp_path, stored_values(slices=9), prefix="L", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert scan_folder(tmp_path).choose_series().series.series_uid == "1.2.1"


def two_series(folder: Path) -> None:
    write_series(folder, series_uid="1.2.1", SeriesDescription="T1 pre", Modality="MR", prefix="A")
    write_series(folder, series_uid="1.2.2", SeriesDescription="T1 pre contrast", Modality="MR", prefix="B")
    write_series(folder, series_uid="1.2.3", SeriesDescription="thorax", Modality="CT", prefix="C")


def test_several_volumes_are_listed_not_guessed(tmp_path: Path) -> None:
    two_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match="several image volumes") as caught:
        scan_folder(tmp_path).choose_series()
    for text in ("1.2.1", "1.2.2", "1.2.3", "T1 pre contrast", "CT", "4 x 5 x 6 axial"):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "series_uid"),
    [
        ({"series_uid": "1.2.2"}, "1.2.2"),
        ({"modality": "ct"}, "1.2.3"),
        ({"description": "t1 PRE"}, "1.2.1"),
        ({"description": "contrast"}, "1.2.2"),
        ({"description": "T1", "series_uid": "1.2.1"}, "1.2.1"),
    ],
)
def test_series_is_chosen_by_uid_modality_or_description(tmp_path: Path, wish: dict[str, str], series_uid: str) -> None:
    two_series(tmp_path)
    assert scan_folder(tmp_path).choose_series(**wish).series.series_uid == series_uid


def test_ambiguous_wish_lists_what_fits(tmp_path: Path) -> None:
    two_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match="several image volumes fit modality 'MR'") as caught:
        scan_folder(tmp_path).choose_series(modality="MR")
    assert "1.2.3" not in str(caught.value)


def test_wish_that_nothing_fits_lists_what_is_there(tmp_path: Path) -> None:
    two_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match=r"no image series fits UID or number '9\.9'; found:\n  MR 1\.2\.1"):
        scan_folder(tmp_path).choose_series(series_uid="9.9")


def test_two_orientations_in_one_series_are_two_stacks(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, series_uid="1.2.9", orientation=CORONAL, prefix="C_")
    index = scan_folder(tmp_path)
    with pytest.raises(SeriesSelectionError, match="stack 1"):
        index.choose_series()
    labels = [index.choose_series(stack=number).stack.label for number in (0, 1)]
    assert sorted(labels) == ["4 x 5 x 6 axial", "4 x 5 x 6 coronal"]


MPR = ["DERIVED", "SECONDARY", "MPR"]


@pytest.mark.parametrize("where", ["same series", "another series"])
def test_derived_volume_steps_back_behind_the_original_one(tmp_path: Path, where: str) -> None:
    write_series(tmp_path, series_uid="1.2.9", SeriesDescription="thorax")
    uid = "1.2.9" if where == "same series" else "1.2.10"
    write_series(tmp_path, series_uid=uid, orientation=CORONAL, prefix="M", ImageType=MPR, SeriesDescription="MPR cor")
    selection = scan_folder(tmp_path).choose_series()
    assert selection.stack.label == "4 x 5 x 6 axial"
    assert FindingKind.DERIVED_LEFT_OUT in {finding.kind for finding in selection.findings}
    text = " ".join(map(str, selection.findings))
    assert "4 x 5 x 6 coronal, derived" in text if where == "same series" else "MPR cor" in text


def test_derived_volume_alone_is_chosen_and_said_to_be_derived(tmp_path: Path) -> None:
    write_series(tmp_path, ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    selection = scan_folder(tmp_path).choose_series()
    assert selection.stack.is_derived
    assert any(r"derived images (ImageType DERIVED\SECONDARY\AXIAL)" in found.text for found in selection.findings)


def test_projection_is_said_to_be_one(tmp_path: Path) -> None:
    write_series(tmp_path, ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"])
    assert "projections of a volume" in " ".join(map(str, scan_folder(tmp_path).choose_series().findings))


@pytest.mark.parametrize(
    ("original", "derived"),
    [
        ({"stored": stored_values(slices=3)}, {"stored": stored_values(slices=9)}),
        ({"Modality": "PT"}, {"Modality": "CT"}),
        ({"StudyInstanceUID": "1.9.9"}, {}),
        ({"ImageType": MPR}, {}),
    ],
    ids=["much larger", "another modality", "another study", "both derived"],
)
def test_derived_volume_that_may_be_meant_is_not_left_out(tmp_path: Path, original: dict, derived: dict) -> None:
    write_series(tmp_path, series_uid="1.2.1", **original)
    write_series(tmp_path, series_uid="1.2.2", prefix="M", **{"ImageType": MPR, **derived})
    with pytest.raises(SeriesSelectionError, match="several image volumes, none is the obvious one"):
        scan_folder(tmp_path).choose_series()


def test_derived_volume_can_be_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.1")
    write_series(tmp_path, series_uid="1.2.2", prefix="M", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
    assert scan_folder(tmp_path).choose_series(series_uid="1.2.2").stack.is_derived


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
    ("keyword", "values"),
    [
        ("EchoNumbers", ["1", "2"]),
        ("ComplexImageComponent", ["MAGNITUDE", "PHASE"]),
        ("ImageType", [["DERIVED", "PRIMARY", "DIXON", "WATER"], ["DERIVED", "PRIMARY", "DIXON", "FAT"]]),
        ("InversionTime", ["120", "900"]),
        ("FlipAngle", ["3", "15"]),
    ],
)
def test_contrasts_at_the_same_positions_are_stacks_of_their_own(tmp_path: Path, keyword: str, values: list) -> None:
    for number, value in enumerate(values):
        write_series(tmp_path, stored_values(seed=number), series_uid="1.2.9", prefix=f"{number}_", **{keyword: value})
    stacks = scan_folder(tmp_path).series[0].stacks
    assert [len(stack.frames) for stack in stacks] == [4, 4]
    assert all(keyword in stack.label for stack in stacks)


def test_matrix_sizes_of_one_series_are_stacks_of_their_own(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values(4, 12, 10), series_uid="1.2.9", prefix="L")
    assert [stack.label for stack in scan_folder(tmp_path).series[0].stacks] == ["4 x 10 x 12 axial", "4 x 5 x 6 axial"]


def test_planes_without_the_rescale_of_the_others_are_reported(tmp_path: Path) -> None:
    lost = {"RescaleSlope": None, "RescaleIntercept": None}
    write_series(tmp_path, RescaleIntercept="-1024", per_slice=[lost if k == 2 else {} for k in range(4)])
    selection = scan_folder(tmp_path).choose_series()
    assert "1 of 4 planes have no rescale, such as IM_97" in " ".join(map(str, selection.findings))
    assert selection.findings[0] in selection.stack.findings


def test_mixed_image_types_in_one_stack_are_reported(tmp_path: Path) -> None:
    write_series(tmp_path, per_slice=[{"ImageType": MPR} if k == 2 else {} for k in range(4)])
    selection = scan_folder(tmp_path).choose_series()
    assert "2 image types in one stack" in " ".join(map(str, selection.findings))
    assert not selection.stack.is_derived


def test_object_in_the_chosen_series_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9", per_slice=[{"SOPClassUID": SEGMENTATION_CLASS}, {}, {}, {}])
    selection = scan_folder(tmp_path).choose_series()
    assert len(selection.stack.frames) == 3
    assert "1 file left out of the same series: IM_99: CT, no image" in map(str, selection.findings)


def test_pipe_in_the_folder_is_no_image_and_no_wait(tmp_path: Path) -> None:
    write_series(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    index = scan_folder(tmp_path)
    assert [file.reason for file in index.skipped] == ["not a regular file (a pipe, a device, ...)"]


def test_stack_number_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match="no volume fits stack 3"):
        scan_folder(tmp_path).choose_series(stack=3)


def test_localizer_inside_a_series_is_left_out_and_reported(tmp_path: Path) -> None:
    localizer = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values(slices=1), series_uid="1.2.9", prefix="L", ImageType=localizer)
    selection = scan_folder(tmp_path).choose_series()
    assert len(selection.stack.frames) == 4
    assert "left out of the same series: 1 x 5 x 6 axial localizer" in map(str, selection.findings)


def test_single_image_of_another_orientation_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values(slices=1), series_uid="1.2.9", prefix="L", orientation=SAGITTAL)
    assert len(scan_folder(tmp_path).choose_series().stack.frames) == 4


@pytest.mark.parametrize("stray", [{"stored": stored_values(1, 12, 10)}, {"ImagePositionPatient": None}])
def test_stray_slice_of_the_same_series_is_not_lost_silently(tmp_path: Path, stray: dict) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, **{"stored": stored_values(slices=1), "series_uid": "1.2.9", "prefix": "L", **stray})
    with pytest.raises(SeriesSelectionError, match="none is the obvious one"):
        scan_folder(tmp_path).choose_series()


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ["4.2", "8.4"]),
        ("TemporalPositionIdentifier", ["1", "2"]),
        ("DiffusionBValue", [0.0, 800.0]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
    ],
)
def test_repeated_positions_are_split_by_what_explains_them(tmp_path: Path, keyword: str, values: list) -> None:
    for number, value in enumerate(values):
        write_series(tmp_path, stored_values(seed=number), series_uid="1.2.9", prefix=f"{number}_", **{keyword: value})
    index = scan_folder(tmp_path)
    with pytest.raises(SeriesSelectionError, match=keyword):
        index.choose_series()
    assert [len(stack.frames) for stack in index.series[0].stacks] == [4, 4]


def test_echo_and_image_type_together_split_a_series(tmp_path: Path) -> None:
    for number, (echo, kind) in enumerate([("4", "M"), ("4", "P"), ("8", "M"), ("8", "P")]):
        attributes = {"EchoTime": echo, "ImageType": ["ORIGINAL", "PRIMARY", kind]}
        write_series(tmp_path, stored_values(seed=number), series_uid="1.2.9", prefix=f"{number}_", **attributes)
    assert [len(stack.frames) for stack in scan_folder(tmp_path).series[0].stacks] == [4, 4, 4, 4]


def test_attribute_that_changes_within_a_volume_does_not_tear_it(tmp_path: Path) -> None:
    write_series(tmp_path, per_slice=[{"AcquisitionNumber": str(k), "EchoTime": f"4.20{k}"} for k in range(4)])
    assert len(scan_folder(tmp_path).series[0].stacks) == 1


def test_images_without_series_uid_are_one_series(tmp_path: Path) -> None:
    write_series(tmp_path, SeriesInstanceUID=None, SOPClassUID=None)
    assert len(scan_folder(tmp_path).choose_series().stack.frames) == 4


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


LONG_UID = "1.2.840.113619.2.55.3.41297"


def test_an_instance_is_named_by_its_number_or_else_by_the_end_of_its_uid(tmp_path: Path) -> None:
    per_slice = [{"InstanceNumber": 7}, {"InstanceNumber": None, "SOPInstanceUID": LONG_UID}]
    write_series(tmp_path, np.zeros((2, 5, 6), np.int16), per_slice=per_slice)
    (series,) = scan_folder(tmp_path).series
    names = sorted(frame.name.partition(" ")[2] for frame in series.stacks[0].frames)
    assert names == ["(InstanceNumber 7)", "(SOP instance ….3.41297)"]


@pytest.mark.parametrize(("numbers", "listed"), [((3, 4), "MR series 3 ("), ((3, 3), f"MR {LONG_UID} (")])
def test_series_are_listed_by_what_chooses_them(tmp_path: Path, numbers: tuple[int, int], listed: str) -> None:
    for number, uid in zip(numbers, (LONG_UID, "1.2.3"), strict=True):
        write_series(tmp_path / uid, series_uid=uid, SeriesNumber=number, Modality="MR")
    with pytest.raises(SeriesSelectionError, match="several image volumes") as caught:
        scan_folder(tmp_path).choose_series()
    assert listed in str(caught.value)
    wish = listed.split()[-2]
    assert scan_folder(tmp_path).choose_series(series_uid=wish).series.series_uid == LONG_UID


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


@pytest.mark.parametrize("damage", [{"RescaleSlope": "0"}, {"Rows": None}])
def test_damaged_header_of_the_chosen_series_is_refused(tmp_path: Path, damage: dict) -> None:
    write_series(tmp_path, per_slice=[damage if k == 3 else {} for k in range(4)])
    with pytest.raises(DicomReadError, match=r"1 file of series .* cannot be used: IM_96: .*restore or remove"):
        scan_folder(tmp_path).choose_series()


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


def test_listing_names_no_patient(tmp_path: Path) -> None:
    two_series(tmp_path)
    index = scan_folder(tmp_path)
    assert PATIENT_ID not in describe_series(index.series)
    assert "SECRET" not in repr(index).upper()


def test_patient_key_is_one_per_patient_and_hides_the_identifier(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a")
    write_series(tmp_path / "b", StudyInstanceUID="1.9.9")
    write_series(tmp_path / "c", PatientID="another")
    write_series(tmp_path / "d", IssuerOfPatientID="another hospital")
    key = patient_key(tmp_path / "a")
    assert key == patient_key(files[0]) == patient_key(tmp_path / "b")
    assert len({key, patient_key(tmp_path / "c"), patient_key(tmp_path / "d")}) == 3
    assert len(key) == 16
    assert int(key, 16) >= 0


def test_patient_key_falls_back_on_the_study(tmp_path: Path) -> None:
    write_series(tmp_path / "a", PatientID=None)
    write_series(tmp_path / "b", PatientID=None, StudyInstanceUID="1.9.9")
    assert patient_key(tmp_path / "a") != patient_key(tmp_path / "b")


def test_patient_key_of_a_series_without_any_identity_is_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_series(tmp_path / name, PatientID=None, StudyInstanceUID=None)
    assert patient_key(tmp_path / "a") == patient_key(tmp_path / "a")
    assert patient_key(tmp_path / "a") != patient_key(tmp_path / "b")


def test_patient_key_of_two_patients_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", PatientID="another")
    with pytest.raises(SeriesSelectionError, match="files of 2 patients"):
        patient_key(tmp_path)


def test_patient_key_needs_a_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DicomReadError, match="holds no DICOM file"):
        patient_key(tmp_path)
