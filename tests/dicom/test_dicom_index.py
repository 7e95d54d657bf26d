from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dicom_phantoms import (
    CORONAL,
    PATIENT_ID,
    SAGITTAL,
    SECONDARY_CAPTURE_CLASS,
    SEGMENTATION_CLASS,
    stored_values,
    write_enhanced,
    write_object,
    write_series,
)

from monai_vggunet.dicom import describe_series, patient_key, scan_folder
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
    findings = " ".join(index.choose_series().findings)
    assert all(name in findings for name in reasons)


def test_many_files_are_scanned_by_threads_in_the_same_order(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=40, rows=2, columns=2))
    one, many = scan_folder(tmp_path, num_workers=1), scan_folder(tmp_path, num_workers=4)
    assert one == many


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomReadError, match="is no folder"):
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
    assert "4 other series left out" in selection.findings[0]
    assert "(localizer)" in selection.findings[0]
    assert "(secondary capture)" in selection.findings[0]
    assert "(object)" in selection.findings[0]


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
    with pytest.raises(SeriesSelectionError, match="several image volumes have modality 'MR'") as caught:
        scan_folder(tmp_path).choose_series(modality="MR")
    assert "1.2.3" not in str(caught.value)


def test_wish_that_nothing_fits_lists_what_is_there(tmp_path: Path) -> None:
    two_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match=r"no image series has series_uid '9\.9'; found:\n  MR 1\.2\.1"):
        scan_folder(tmp_path).choose_series(series_uid="9.9")


def test_two_orientations_in_one_series_are_two_stacks(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, series_uid="1.2.9", orientation=CORONAL, prefix="C_")
    index = scan_folder(tmp_path)
    with pytest.raises(SeriesSelectionError, match="stack 1"):
        index.choose_series()
    labels = [index.choose_series(stack=number).stack.label for number in (0, 1)]
    assert sorted(labels) == ["4 x 5 x 6 axial", "4 x 5 x 6 coronal"]


def test_stack_number_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    with pytest.raises(SeriesSelectionError, match="no stack has stack 3"):
        scan_folder(tmp_path).choose_series(stack=3)


def test_localizer_inside_a_series_is_left_out_and_reported(tmp_path: Path) -> None:
    localizer = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values(slices=1), series_uid="1.2.9", prefix="L", ImageType=localizer)
    selection = scan_folder(tmp_path).choose_series()
    assert len(selection.stack.frames) == 4
    assert "left out of the same series: 1 x 5 x 6 axial localizer" in selection.findings


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


@pytest.mark.parametrize("damage", [{"RescaleSlope": "0"}, {"Rows": None}])
def test_damaged_header_of_the_chosen_series_is_refused(tmp_path: Path, damage: dict) -> None:
    write_series(tmp_path, per_slice=[damage if k == 3 else {} for k in range(4)])
    with pytest.raises(DicomReadError, match=r"1 file\(s\) of series .* cannot be used: IM_96: .*restore or remove"):
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
