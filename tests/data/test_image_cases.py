"""What can be segmented below a folder: NIfTI files, pictures and DICOM, each once and under a name of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dataset_phantoms import names_of, pairs, touch

from monai_vggunet.data import image_cases
from monai_vggunet.errors import DatasetError
from monai_vggunet.names import same_on_some_disk


def dicom_files(*paths: Path) -> None:
    """Write files that begin as DICOM does (PS3.10 7.1) and hold nothing else."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(128) + b"DICM")


def test_everything_below_a_folder_is_found_once(tmp_path: Path) -> None:
    touch(tmp_path / "mr.nii.gz", tmp_path / "sub" / "photo.PNG", tmp_path / "sub" / "mr.nii")
    dicom_files(tmp_path / "sub" / "ct" / "IM_1", tmp_path / "sub" / "ct" / "IM_2", tmp_path / ".cache" / "IM_1")
    assert {case["case"]: case["image"] for case in image_cases(tmp_path)} == {
        "mr": str(tmp_path / "mr.nii.gz"),
        "sub_photo": str(tmp_path / "sub" / "photo.PNG"),
        "sub_ct": str(tmp_path / "sub" / "ct"),
        "sub_mr": str(tmp_path / "sub" / "mr.nii"),
    }


def test_images_folder_of_a_data_set_is_taken_alone(tmp_path: Path) -> None:
    assert names_of(image_cases(pairs(tmp_path, "a", "b"))) == ["a", "b"]


def test_folder_that_is_itself_a_series_is_one_case(tmp_path: Path) -> None:
    dicom_files(tmp_path / "study" / "1.2.840.1", tmp_path / "study" / "1.2.840.2")
    assert image_cases(tmp_path / "study") == [{"image": str(tmp_path / "study"), "case": "study"}]


def test_series_spread_over_sub_folders_is_one_case(tmp_path: Path) -> None:
    dicom_files(tmp_path / "ct" / "IM_1", tmp_path / "ct" / "more" / "IM_2")
    assert names_of(image_cases(tmp_path)) == ["ct"]


def test_files_that_are_neither_image_nor_dicom_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path / "AUTORUN.INF", tmp_path / "VERSION")
    dicom_files(tmp_path / "study" / "IM_1")
    assert names_of(image_cases(tmp_path)) == ["study"]
    assert "left out, neither image nor DICOM: 2 files (2 in" in caplog.text


@pytest.mark.parametrize("companion", ["README.md", "DICOMDIR", "cases.csv", "dataset.json", "notes.TXT"])
def test_companions_of_images_are_no_case(tmp_path: Path, companion: str) -> None:
    touch(tmp_path / companion, tmp_path / "a.nii.gz")
    assert names_of(image_cases(tmp_path)) == ["a"]


@pytest.mark.parametrize("name", ["a.nii.gz", "photo.png", "slice.dcm"])
def test_single_file_is_one_case(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    assert image_cases(tmp_path / name)[0]["image"] == str(tmp_path / name)
    assert len(image_cases(tmp_path / name)) == 1


def test_path_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        image_cases(tmp_path / "absent.nii.gz")


def test_folder_with_nothing_to_segment_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match="holds nothing to segment"):
        image_cases(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.nii.gz", "a.png"), ("a_b.nii", "a/b.nii"), ("Case.nii", "case.nii"), ("é.nii", "e\u0301.nii")],
    ids=["ending", "folder", "upper_case", "unicode_form"],
)
def test_cases_whose_results_would_overwrite_each_other_get_names_of_their_own(
    tmp_path: Path, one: str, other: str
) -> None:
    touch(tmp_path / one, tmp_path / other)
    first, second = names_of(image_cases(tmp_path))
    assert "~" not in first
    assert re.fullmatch(".+~[0-9a-f]{8}", second)
    assert same_on_some_disk(first) != same_on_some_disk(second)
    assert names_of(image_cases(tmp_path)) == [first, second]
