"""The survey behind `inspect`: what would be segmented, and why the rest would not."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from dicom_phantoms import (
    CORONAL,
    PATIENT_ID,
    PATIENT_NAME,
    SECONDARY_CAPTURE_CLASS,
    SEGMENTATION_CLASS,
    write_object,
    write_series,
)
from typer.testing import CliRunner

from monai_vggunet.cli.main import app
from monai_vggunet.dicom.survey import survey


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study: a CT, its scout, a screenshot, a segmentation, a text."""
    folder = tmp_path / "study"
    write_series(folder / "ct", SeriesDescription="Abdomen", SeriesNumber="2", Modality="CT")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "orientation": CORONAL}
    write_series(folder / "scout", SeriesDescription="Scout", SeriesNumber="1", Modality="CT", **scout)  # type: ignore[arg-type]
    write_series(
        folder / "shot", SOPClassUID=SECONDARY_CAPTURE_CLASS, SeriesDescription="Shot", SeriesNumber="3", Modality="CT"
    )
    write_object(folder / "seg.dcm", SEGMENTATION_CLASS, "SEG")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_the_obvious_series_is_chosen_and_the_others_have_reasons(study: Path) -> None:
    (case,) = survey(study)
    reasons = {series.description or series.modality: str(series.reason or "") for series in case.series}
    assert reasons["Abdomen"] == ""
    assert reasons["Scout"] == "localizer"
    assert reasons["Shot"] == "secondary capture"
    assert "holds no image (SEG)" in reasons.values()
    chosen = next(series for series in case.series if series.chosen is not None)
    assert chosen.stacks[0].size == (5, 6, 4)
    assert chosen.stacks[0].spacing_mm == pytest.approx((0.6, 0.8, 2.5))
    assert [file.path.name for file in case.skipped] == ["notes.txt"]


def test_the_choice_can_be_overruled(study: Path) -> None:
    (case,) = survey(study, {"description": "scout"})
    assert [series.description for series in case.series if series.chosen is not None] == ["Scout"]


def test_a_gap_is_a_reason_not_to_segment(tmp_path: Path) -> None:
    write_series(tmp_path, offsets_mm=[0.0, 2.5, 7.5, 10.0])
    (case,) = survey(tmp_path)
    assert case.series[0].chosen is None
    assert "1 slice missing" in case.series[0].reason.text


def test_the_whole_uids_of_what_is_refused_stand_in_the_json(tmp_path: Path) -> None:
    files = write_series(tmp_path, offsets_mm=[0.0, 2.5, 7.5, 10.0])
    told = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path), "--json"]).output)
    (stack,) = told["series"][0]["stacks"]
    assert stack["problem_instances"] == [pydicom.dcmread(file).SOPInstanceUID for file in files[1:3]]


def test_a_truncated_file_is_a_reason_not_to_segment(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    content = files[2].read_bytes()
    files[2].write_bytes(content[:-1])
    (case,) = survey(tmp_path)
    assert case.series[0].chosen is None
    assert case.series[0].reason.text.startswith(f"pixels of {files[2].name} end early (1 truncated file)")
    files[2].write_bytes(content)
    assert survey(tmp_path)[0].series[0].chosen == 0


def test_tilt_is_a_finding(tmp_path: Path) -> None:
    write_series(tmp_path, shear_mm=0.5)
    (case,) = survey(tmp_path)
    assert case.series[0].chosen == 0
    assert "tilted gantry" in case.series[0].stacks[0].findings[0].text


def test_several_volumes_without_an_obvious_one(tmp_path: Path) -> None:
    write_series(tmp_path / "a", SeriesDescription="one", prefix="A_")
    write_series(tmp_path / "a", SeriesDescription="two", prefix="B_")
    (case,) = survey(tmp_path)
    assert all("none is the obvious one" in series.reason.text for series in case.series)


def test_every_study_of_an_archive_is_a_case(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_series(tmp_path / name / "series")
    assert [case.folder for case in survey(tmp_path)] == [tmp_path / "a" / "series", tmp_path / "b" / "series"]


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (case,) = survey(tmp_path)
    assert not case.series
    assert "no DICOM image found" in case.findings[0].text


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_patients_are_named_on_request_alone(study: Path, form: list[str]) -> None:
    quiet = CliRunner().invoke(app, ["inspect", str(study), *form]).output
    told = CliRunner().invoke(app, ["inspect", str(study), "--show-phi", "--json"]).output
    assert PATIENT_NAME not in quiet
    assert PATIENT_ID not in quiet
    assert json.loads(told)["series"][0]["patient"]["id"] == PATIENT_ID


def test_the_table_says_how_many_cases_would_be_segmented(study: Path) -> None:
    output = CliRunner().invoke(app, ["inspect", str(study)], env={"COLUMNS": "160"}).output
    assert "1 of 1 case would be segmented" in output
    assert "Abdomen" in output
