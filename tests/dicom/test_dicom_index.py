"""A folder is scanned whole: series and stacks, what is left out and why, and whose images they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import (
    CORONAL,
    SEGMENTATION_CLASS,
    stored_values,
    write_object,
    write_series,
)

from monai_vggunet.dicom import patient_key, scan_folder
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


def test_two_orientations_in_one_series_are_two_stacks(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, series_uid="1.2.9", orientation=CORONAL, prefix="C_")
    index = scan_folder(tmp_path)
    with pytest.raises(SeriesSelectionError, match="stack 1"):
        index.choose_series()
    labels = [index.choose_series(stack=number).stack.label for number in (0, 1)]
    assert sorted(labels) == ["4 x 5 x 6 axial", "4 x 5 x 6 coronal"]


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
    write_series(
        tmp_path, per_slice=[{"ImageType": ["DERIVED", "SECONDARY", "MPR"]} if k == 2 else {} for k in range(4)]
    )
    selection = scan_folder(tmp_path).choose_series()
    assert "2 image types in one stack" in " ".join(map(str, selection.findings))
    assert not selection.stack.is_derived


def test_pipe_in_the_folder_is_no_image_and_no_wait(tmp_path: Path) -> None:
    write_series(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    index = scan_folder(tmp_path)
    assert [file.reason for file in index.skipped] == ["not a regular file (a pipe, a device, ...)"]


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


LONG_UID = "1.2.840.113619.2.55.3.41297"


def test_an_instance_is_named_by_its_number_or_else_by_the_end_of_its_uid(tmp_path: Path) -> None:
    per_slice = [{"InstanceNumber": 7}, {"InstanceNumber": None, "SOPInstanceUID": LONG_UID}]
    write_series(tmp_path, np.zeros((2, 5, 6), np.int16), per_slice=per_slice)
    (series,) = scan_folder(tmp_path).series
    names = sorted(frame.name.partition(" ")[2] for frame in series.stacks[0].frames)
    assert names == ["(InstanceNumber 7)", "(SOP instance ….3.41297)"]


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
