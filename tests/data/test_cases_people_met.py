"""Inputs that people met: several volumes under one series are told apart, and cases are found by their series."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_cases import make_case, needs_cases
from monai.transforms import LoadImage

from monai_vggunet.data import DicomSeriesReader, image_cases
from monai_vggunet.dicom import FindingKind, scan_folder
from monai_vggunet.errors import DatasetError, SeriesSelectionError, refusal_behind

pytestmark = needs_cases


@pytest.mark.parametrize(
    ("name", "sizes", "attribute"),
    [
        ("04", [6, 6], "ConvolutionKernel"),
        ("10", [6, 6], "DiffusionBValue"),
        ("14", [5, 5, 5, 5], "TriggerTime"),
        ("15", [5, 5, 5], "NominalPercentageOfCardiacPhase"),
        ("41", [8, 8], "AcquisitionNumber"),
        ("53", [6, 6], "KVP"),
        ("54", [4, 4], "axial"),
        ("59", [6, 3], "EchoNumbers"),
        ("64", [6, 6], "ImageType"),
        ("66", [6, 6], "Modality"),
        ("73", [6, 6], "AcquisitionDate"),
        ("74", [5, 5, 5, 5], "VasCollapseFlag"),
    ],
)
def test_several_volumes_are_stacks_that_can_be_chosen(
    tmp_path: Path, name: str, sizes: list[int], attribute: str
) -> None:
    folder = make_case(name, tmp_path / "in")
    (series,) = scan_folder(folder).series
    assert [len(stack.frames) for stack in series.stacks] == sizes
    assert all(attribute in stack.label for stack in series.stacks)
    for number, size in enumerate(sizes):
        load = LoadImage(reader=DicomSeriesReader(stack=number), image_only=True)
        assert load(folder).shape[2] == size
    with pytest.raises(Exception, match="several image volumes") as caught:
        LoadImage(reader=DicomSeriesReader())(folder)
    assert isinstance(refusal_behind(caught.value), SeriesSelectionError)


@pytest.mark.parametrize("stack", [None, 0, 1])
def test_two_patients_under_one_series_are_refused(tmp_path: Path, stack: int | None) -> None:
    folder = make_case("01", tmp_path / "in")
    with pytest.raises(SeriesSelectionError, match="holds instances of 2 patients") as refusal:
        scan_folder(folder).choose_series(stack=stack)
    assert refusal.value.kind == FindingKind.SEVERAL_PATIENTS


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("06", {"in": 12}),
        ("32", {"in": 6}),
        ("36", {"p1": 6, "p2": 6}),
        ("46", {"in": 6}),
        ("58", {"in": 6}),
        ("61", {"in": 6}),
        ("71", {"p1": 6, "p2": 6}),
    ],
)
def test_cases_are_found_by_their_series(tmp_path: Path, name: str, cases: dict[str, int]) -> None:
    found = image_cases(make_case(name, tmp_path / "in"))
    load = LoadImage(reader=DicomSeriesReader(), image_only=True)
    assert {case["case"]: load(case["image"]).shape[2] for case in found} == cases


def test_a_zip_archive_is_named_with_the_remedy(tmp_path: Path) -> None:
    folder = make_case("37", tmp_path / "in")
    with pytest.raises(DatasetError, match=r"unpack the archives \(.*study1\.zip\)"):
        image_cases(folder)
    with pytest.raises(DatasetError, match=r"study1\.zip is a zip archive; .*: unpack it and give the folder"):
        image_cases(folder / "study1.zip")
