"""DICOMDIR: the files it lists, whatever the case of their names; what is not there is said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import stored_values, write_series
from monai.transforms import LoadImage
from pydicom.fileset import FileSet

from monai_vggunet.data import DicomSeriesReader, image_cases
from monai_vggunet.dicom.places import case_places, files_of_dicomdir, is_dicomdir, scan_path
from monai_vggunet.errors import DicomReadError, refusal_behind


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Return the DICOMDIR of a medium with one series of four slices, beside a series that it does not list."""
    files = write_series(
        tmp_path / "source", PatientName="A", StudyID="1", StudyDate="20200101", StudyTime="120000", SeriesNumber="1"
    )
    fileset = FileSet()
    for file in files:
        fileset.add(file)
    fileset.write(tmp_path / "cd")
    write_series(tmp_path / "cd" / "other")
    return tmp_path / "cd" / "DICOMDIR"


def folders_of_cases(root: Path) -> list[Path]:
    return [Path(case.path) for case in case_places(root)[0].cases]


def listed(medium: Path) -> list[Path]:
    return files_of_dicomdir(medium)[0]


def test_the_listed_files_are_the_series(medium: Path) -> None:
    assert is_dicomdir(medium)
    assert len(listed(medium)) == 4
    image = LoadImage(reader=DicomSeriesReader)(medium)
    np.testing.assert_array_equal(image.numpy(), stored_values().transpose(2, 1, 0))


def test_names_are_found_whatever_their_case(medium: Path) -> None:
    for file in listed(medium):
        lower = file.with_name(file.name.lower() + ".;1")
        file.rename(lower)
        assert lower in listed(medium)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_names_that_no_file_id_should_hold_are_found(medium: Path, encoding: str) -> None:
    """PS3.10 8.2 allows capital letters, digits and underscores; old software wrote what the disk said."""
    name = "Müller".encode(encoding)
    file = listed(medium)[0]
    file.rename(file.with_name(os.fsdecode(name)))
    directory = pydicom.dcmread(medium)
    for record in directory.DirectoryRecordSequence:
        parts = list(record.get("ReferencedFileID") or [])
        if parts and parts[-1] == file.name:
            record.ReferencedFileID = [*parts[:-1], name.decode("latin-1")]
    directory.save_as(medium)
    assert file.with_name(os.fsdecode(name)) in listed(medium)
    assert len(scan_path(medium).series[0].instances) == 4


def test_what_is_not_there_is_said(medium: Path) -> None:
    gone = listed(medium)[0]
    gone.unlink()
    index = scan_path(medium)
    assert [(file.path, file.damaged) for file in index.skipped] == [(gone, True)]
    assert "not there" in index.skipped[0].reason


def test_nothing_outside_the_folder_is_opened(medium: Path, tmp_path: Path) -> None:
    directory = pydicom.dcmread(medium)
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = ["..", "source", "IM_99"]
    directory.save_as(medium)
    found, missing = files_of_dicomdir(medium)
    assert not found
    assert missing


def test_a_damaged_one_is_refused(medium: Path) -> None:
    medium.write_bytes(medium.read_bytes()[:600])
    with pytest.raises(DicomReadError, match="folder instead"):
        files_of_dicomdir(medium)
    with pytest.raises(Exception) as caught:  # noqa: PT011 MONAI may wrap it
        LoadImage(reader=DicomSeriesReader)(medium)
    assert isinstance(refusal_behind(caught.value), DicomReadError)


def test_a_case_is_the_topmost_folder_with_images(medium: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "archive" / "a")
    write_series(tmp_path / "archive" / "a" / "below")
    write_series(tmp_path / "archive" / "b" / "deep")
    assert folders_of_cases(tmp_path / "archive") == [tmp_path / "archive" / "a", tmp_path / "archive" / "b" / "deep"]
    assert medium.parent not in folders_of_cases(medium.parent)  # a directory alone makes no case


def test_what_is_surveyed_as_a_case_is_segmented_as_one(medium: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write_series(archive / "plain")
    for name in ("notes.txt", "export.JSON", "photo.png", "mask.nii.gz", "mask.seg.nrrd", ".hidden"):
        folder = archive / f"only a {name}"
        write_series(folder / "source")
        next((folder / "source").iterdir()).rename(folder / name)  # DICOM by its content
        shutil.rmtree(folder / "source")
    for name in ("DICOMDIR", "directory"):
        (archive / f"only a {name}").mkdir()
        shutil.copyfile(medium, archive / f"only a {name}" / name)
    (archive / "words").mkdir()
    (archive / "words" / "report").write_text("no finding")
    assert folders_of_cases(archive) == [archive / "plain"]
    images = [Path(case["image"]) for case in image_cases(archive)]
    assert [image for image in images if image.is_dir()] == [archive / "plain"]
    assert [image.name for image in images if not image.is_dir()] == ["mask.nii.gz", "photo.png"]
