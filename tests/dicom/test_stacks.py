"""One volume is one patient, study, frame of reference, modality, kind of image and reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import CORONAL, MR_CLASS, stored_values, write_series

from monai_vggunet.dicom import FindingKind, scan_folder
from monai_vggunet.dicom.survey import survey
from monai_vggunet.dicom.volume import read_volume
from monai_vggunet.errors import DicomGeometryError, SeriesSelectionError

SERIES = "1.2.9"
PT_CLASS = "1.2.840.10008.5.1.4.1.1.128"
BETWEEN = (-30.0, 12.5, -98.75)  # half a step behind the first slice of `write_series`
UNEVENLY_BETWEEN = (-30.0, 12.5, -99.2)
PASS_BEHIND = (-30.0, 12.5, -95.7)  # a second pass, which begins before the first one ends


def two(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Write two stacks under one SeriesInstanceUID."""
    for number, own in enumerate((first, second)):
        values = own.pop("stored", stored_values(seed=number))
        write_series(folder, values, series_uid=SERIES, prefix=f"{number}_", **own)


def stacks_of(folder: Path) -> list[tuple[int, str]]:
    return [(len(stack.frames), stack.label) for stack in scan_folder(folder).series[0].stacks]


@pytest.mark.parametrize("origin", [BETWEEN, UNEVENLY_BETWEEN, (-30.0, 12.5, -100.0), (-30.0, 12.5, -90.0)])
@pytest.mark.parametrize(
    ("own", "label"),
    [
        ({"Modality": "PT", "SOPClassUID": PT_CLASS}, "Modality=PT"),
        ({"SOPClassUID": MR_CLASS}, "SOPClassUID=MR Image Storage"),
        ({"StudyInstanceUID": "1.2.99"}, "StudyInstanceUID=1.2.99"),
        ({"FrameOfReferenceUID": "1.2.98"}, "FrameOfReferenceUID=1.2.98"),
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID=absent"),
        ({"PatientID": None}, "patient 2 of 2"),
    ],
)
def test_planes_of_another_origin_are_never_in_one_volume(
    tmp_path: Path, origin: tuple[float, float, float], own: dict[str, Any], label: str
) -> None:
    two(tmp_path, {}, {"origin": origin, **own})
    stacks = stacks_of(tmp_path)
    assert [size for size, _ in stacks] == [4, 4]
    assert any(label in text for _, text in stacks)
    with pytest.raises(SeriesSelectionError, match=label):
        scan_folder(tmp_path).choose_series()


@pytest.mark.parametrize("choice", [{}, {"stack": 0}, {"series_uid": SERIES, "stack": 1}, {"modality": "CT"}])
@pytest.mark.parametrize("own", [{"PatientID": "another"}, {"IssuerOfPatientID": "another hospital"}])
def test_two_patients_in_one_series_are_an_error_that_no_option_overrides(
    tmp_path: Path, own: dict[str, Any], choice: dict[str, Any]
) -> None:
    two(tmp_path, {}, {"origin": BETWEEN, **own})
    with pytest.raises(SeriesSelectionError, match=r"holds instances of 2 patients .*; expected one") as refusal:
        scan_folder(tmp_path).choose_series(**choice)
    assert refusal.value.kind == FindingKind.SEVERAL_PATIENTS
    (case,) = survey(tmp_path, choice)
    assert case.series[0].chosen is None
    assert case.series[0].reason is not None
    assert case.series[0].reason.kind == FindingKind.SEVERAL_PATIENTS


def test_another_series_of_the_folder_can_be_chosen_beside_one_of_two_patients(tmp_path: Path) -> None:
    two(tmp_path, {}, {"PatientID": "another"})
    write_series(tmp_path / "other", series_uid="1.2.10")
    assert scan_folder(tmp_path).choose_series(series_uid="1.2.10").series.series_uid == "1.2.10"


def test_a_stack_is_read_with_the_origin_of_its_own(tmp_path: Path) -> None:
    two(tmp_path, {}, {"Modality": "PT", "SOPClassUID": PT_CLASS, "origin": BETWEEN, "RescaleSlope": "3"})
    chosen = scan_folder(tmp_path).choose_series(modality="PT")
    assert chosen.stack.origin.modality == "PT"
    assert sorted(stack.modality for stack in survey(tmp_path)[0].series[0].stacks) == ["CT", "PT"]
    np.testing.assert_array_equal(read_volume(chosen).array, 3.0 * stored_values(seed=1).transpose(2, 1, 0))


@pytest.mark.parametrize("origin", [BETWEEN, UNEVENLY_BETWEEN, PASS_BEHIND, (-30.0, 12.5, -100.0)])
@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ConvolutionKernel", ("B30f", "B70f")),
        ("KVP", ("80", "140")),
        ("SliceThickness", ("5", "1.25")),
        ("AcquisitionNumber", ("1", "2")),
        ("EchoTime", ("12", "90")),
        ("NominalPercentageOfCardiacPhase", (30.0, 70.0)),
        ("AcquisitionDate", ("20240101", "20240601")),
        ("StudyDate", ("20240101", "20240601")),
        ("SeriesDescription", ("Thorax Lung", "Thorax Soft")),
        ("SeriesNumber", ("3", "4")),
        ("ContrastBolusAgent", ("Iodine", "Water")),
        ("PatientPosition", ("HFS", "FFS")),
        ("Units", ("BQML", "CNTS")),
        ("RescaleType", ("HU", "Z_EFF")),
    ],
)
def test_planes_of_two_reconstructions_or_passes_are_stacks(
    tmp_path: Path, origin: tuple[float, float, float], keyword: str, values: tuple[Any, Any]
) -> None:
    two(tmp_path, {keyword: values[0]}, {keyword: values[1], "origin": origin})
    stacks = stacks_of(tmp_path)
    assert [size for size, _ in stacks] == [4, 4]
    assert all(f"{keyword}=" in label for _, label in stacks)
    assert "2024" not in str(stacks)  # the day of an examination may name a patient
    for number in (0, 1):
        assert read_volume(scan_folder(tmp_path).choose_series(stack=number)).array.shape == (5, 6, 4)


@pytest.mark.parametrize("keyword", ["Units", "RescaleType"])
@pytest.mark.parametrize("origin", [BETWEEN, PASS_BEHIND])
def test_planes_of_another_quantity_are_a_stack_however_few(
    tmp_path: Path, keyword: str, origin: tuple[float, float, float]
) -> None:
    first, second = ("BQML", "GML") if keyword == "Units" else ("HU", "ED")
    two(tmp_path, {keyword: first}, {keyword: second, "origin": origin, "stored": stored_values(2, seed=2)})
    assert [(size, label.rpartition(f"{keyword}=")[2]) for size, label in stacks_of(tmp_path)] == [
        (4, first),
        (2, second),
    ]


def test_units_that_a_label_must_not_show_are_told_apart_too(tmp_path: Path) -> None:
    behind = {"origin": (-30.0, 12.5, -90.0), "stored": stored_values(2, seed=2)}
    two(tmp_path, {"Units": "DOE JANE"}, {"Units": "ROE RICHARD", **behind})
    stacks = stacks_of(tmp_path)
    assert [size for size, _ in stacks] == [4, 2]
    assert not any("DOE" in label or "ROE" in label for _, label in stacks)


def test_planes_that_lack_the_unit_of_the_others_stay_with_them(tmp_path: Path) -> None:
    two(tmp_path, {"Units": "BQML"}, {"origin": (-30.0, 12.5, -90.0), "stored": stored_values(2, seed=2)})
    assert [size for size, _ in stacks_of(tmp_path)] == [6]


def test_three_reconstructions_are_told_apart_by_two_attributes(tmp_path: Path) -> None:
    for number, (kernel, thickness) in enumerate([("B30f", "5"), ("B70f", "5"), ("B70f", "1.25")]):
        own = {"ConvolutionKernel": kernel, "SliceThickness": thickness, "prefix": f"{number}_"}
        write_series(tmp_path, stored_values(seed=number), series_uid=SERIES, **own)
    assert [size for size, _ in stacks_of(tmp_path)] == [4, 4, 4]


def test_a_second_echo_of_some_positions_is_a_stack(tmp_path: Path) -> None:
    two(tmp_path, {"EchoTime": "12"}, {"EchoTime": "90", "stored": stored_values(3, seed=2)})
    assert [(size, label.rpartition("EchoTime=")[2]) for size, label in stacks_of(tmp_path)] == [(4, "12"), (3, "90")]


def test_a_reconstruction_that_lacks_a_slice_is_a_stack_too_and_its_gap_is_named(tmp_path: Path) -> None:
    gap = {"offsets_mm": [0.8, 3.3, 8.3, 10.8]}
    two(tmp_path, {"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f", **gap})
    with pytest.raises(DicomGeometryError, match="slice gap of 5 mm"):
        read_volume(scan_folder(tmp_path).choose_series(stack=1))


@pytest.mark.parametrize(
    ("creator", "block", "element", "vr", "values"),
    [
        ("GEMS_PARM_01", 0x0043, 0x39, "IS", [["0", "8"], ["1000001000", "8"]]),
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS", ["0", "1000"]),
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "UN", [b"0 ", b"1000"]),
        ("Philips Imaging DD 001", 0x2001, 0x03, "FL", [0.0, 1000.0]),
        ("Image Private Header", 0x0065, 0x09, "FD", [0.0, 1000.0]),
    ],
)
def test_private_b_values_are_read(
    tmp_path: Path, creator: str, block: int, element: int, vr: str, values: list[Any]
) -> None:
    two(tmp_path, {}, {})
    for file in tmp_path.iterdir():
        header = pydicom.dcmread(file)
        header.private_block(block, creator, create=True).add_new(element, vr, values[int(file.name[0])])
        header.save_as(file)
    assert {label.rpartition("DiffusionBValue=")[2] for _, label in stacks_of(tmp_path)} == {"0", "1000"}


def test_a_step_and_shoot_volume_stays_whole(tmp_path: Path) -> None:
    """Each turn of the gantry gives some slices, one behind the other, and counts as an acquisition."""
    write_series(
        tmp_path,
        stored_values(8),
        per_slice=[{"AcquisitionNumber": str(k // 4), "AcquisitionTime": f"12000{k}"} for k in range(8)],
    )
    assert read_volume(scan_folder(tmp_path).choose_series()).array.shape == (5, 6, 8)


def test_slices_that_were_taken_in_two_interleaved_runs_stay_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(8), per_slice=[{"AcquisitionTime": f"1200{k % 2:02d}"} for k in range(8)])
    assert len(stacks_of(tmp_path)) == 1


def test_settings_that_change_along_a_volume_are_a_finding(tmp_path: Path) -> None:
    per_slice = [{"ConvolutionKernel": "B30f" if k < 4 else "B70f"} for k in range(8)]
    write_series(tmp_path, stored_values(8), per_slice=per_slice)
    chosen = scan_folder(tmp_path).choose_series()
    assert len(chosen.stack.frames) == 8
    assert FindingKind.MIXED_SETTINGS in {finding.kind for finding in chosen.findings}


def test_copies_whose_attributes_are_alike_stay_together(tmp_path: Path) -> None:
    two(tmp_path, {"stored": stored_values()}, {"stored": stored_values()})
    assert read_volume(scan_folder(tmp_path).choose_series()).array.shape == (5, 6, 4)


def test_study_uids_that_a_program_made_up_for_every_file_do_not_split_a_series(tmp_path: Path) -> None:
    write_series(tmp_path, per_slice=[{"StudyInstanceUID": f"1.2.3.{k}"} for k in range(4)])
    chosen = scan_folder(tmp_path).choose_series()
    assert len(chosen.stack.frames) == 4
    assert FindingKind.SEVERAL_STUDIES in {finding.kind for finding in chosen.findings}


@pytest.mark.parametrize("where", [SERIES, "1.2.10"])
def test_color_maps_beside_a_volume_are_left_out(tmp_path: Path, where: str) -> None:
    write_series(tmp_path, series_uid=SERIES)
    color = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8}
    write_series(tmp_path, series_uid=where, prefix="C", PixelData=bytes(90), BitsStored=8, HighBit=7, **color)
    chosen = scan_folder(tmp_path).choose_series()
    assert not chosen.stack.frames[0].is_color
    kind = FindingKind.STACKS_LEFT_OUT if where == SERIES else FindingKind.SERIES_LEFT_OUT
    assert kind in {finding.kind for finding in chosen.findings}


def test_orientations_are_split_before_anything_else(tmp_path: Path) -> None:
    two(tmp_path, {"KVP": "80"}, {"KVP": "140", "orientation": CORONAL})
    assert not any("KVP" in label for _, label in stacks_of(tmp_path))
