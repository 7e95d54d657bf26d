"""What a file's name says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_vggunet.file_kinds import (
    DICOM_ENDINGS,
    NIFTI_ENDINGS,
    NRRD_ENDING,
    PICTURE_ENDINGS,
    SLICER_ENDING,
    ends_with,
    is_companion,
    split_ending,
)
from monai_vggunet.privacy.vocabulary import FILE_ENDINGS


@pytest.mark.parametrize("path", ["/data/a.nii", Path("/data/A.NII.GZ"), "b.Nii.gz"])
def test_endings_are_known_in_letters_of_any_case(path: str | Path) -> None:
    assert ends_with(path, NIFTI_ENDINGS)
    assert not ends_with(path, PICTURE_ENDINGS)
    assert not ends_with(path, NRRD_ENDING)


@pytest.mark.parametrize(
    ("name", "endings", "expected"),
    [
        ("Liver.07.NII.gz", NIFTI_ENDINGS, ("Liver.07", ".NII.gz")),
        ("ct.seg.nrrd", (SLICER_ENDING, NRRD_ENDING), ("ct", ".seg.nrrd")),
        ("ct.seg.nrrd", (NRRD_ENDING,), ("ct.seg", ".nrrd")),
        ("1.2.840.dcm", DICOM_ENDINGS, ("1.2.840", ".dcm")),
        ("1.2.840", DICOM_ENDINGS, ("1.2.840", "")),
        (".nii", NIFTI_ENDINGS, (".nii", "")),
        ("..nii", NIFTI_ENDINGS, ("..nii", "")),
    ],
)
def test_a_name_is_split_from_its_ending(name: str, endings: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert split_ending(name, endings) == expected


def test_what_accompanies_images_is_told_by_its_name() -> None:
    assert all(map(is_companion, ("notes.txt", "/a/DATASET.JSON", "DICOMDIR", Path("/cd/dicomdir"))))
    assert not any(map(is_companion, ("IM_0001", "a.dcm", "a.nii.gz", "a.png", "notes")))


def test_no_known_ending_hides_behind_a_shorter_one() -> None:
    for place, ending in enumerate(FILE_ENDINGS):
        assert not any(ending.endswith(earlier) for earlier in FILE_ENDINGS[:place]), ending
