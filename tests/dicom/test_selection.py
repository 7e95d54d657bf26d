"""The series that is asked for, or the obvious one, is chosen; several that may be meant are listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_phantoms import (
    CORONAL,
    PATIENT_ID,
    SAGITTAL,
    SECONDARY_CAPTURE_CLASS,
    SEGMENTATION_CLASS,
    stored_values,
    write_object,
    write_series,
)

from monai_vggunet.dicom import FindingKind, describe_series, scan_folder
from monai_vggunet.errors import DicomReadError, SeriesSelectionError


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


def test_object_in_the_chosen_series_is_named(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9", per_slice=[{"SOPClassUID": SEGMENTATION_CLASS}, {}, {}, {}])
    selection = scan_folder(tmp_path).choose_series()
    assert len(selection.stack.frames) == 3
    assert "1 file left out of the same series: IM_99: CT, no image" in map(str, selection.findings)


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


LONG_UID = "1.2.840.113619.2.55.3.41297"


@pytest.mark.parametrize(("numbers", "listed"), [((3, 4), "MR series 3 ("), ((3, 3), f"MR {LONG_UID} (")])
def test_series_are_listed_by_what_chooses_them(tmp_path: Path, numbers: tuple[int, int], listed: str) -> None:
    for number, uid in zip(numbers, (LONG_UID, "1.2.3"), strict=True):
        write_series(tmp_path / uid, series_uid=uid, SeriesNumber=number, Modality="MR")
    with pytest.raises(SeriesSelectionError, match="several image volumes") as caught:
        scan_folder(tmp_path).choose_series()
    assert listed in str(caught.value)
    wish = listed.split()[-2]
    assert scan_folder(tmp_path).choose_series(series_uid=wish).series.series_uid == LONG_UID


@pytest.mark.parametrize("damage", [{"RescaleSlope": "0"}, {"Rows": None}])
def test_damaged_header_of_the_chosen_series_is_refused(tmp_path: Path, damage: dict) -> None:
    write_series(tmp_path, per_slice=[damage if k == 3 else {} for k in range(4)])
    with pytest.raises(DicomReadError, match=r"1 file of series .* cannot be used: IM_96: .*restore or remove"):
        scan_folder(tmp_path).choose_series()


def test_listing_names_no_patient(tmp_path: Path) -> None:
    two_series(tmp_path)
    index = scan_folder(tmp_path)
    assert PATIENT_ID not in describe_series(index.series)
    assert "SECRET" not in repr(index).upper()
