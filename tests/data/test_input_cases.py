"""Which cases lie below a user's folders: by series, not by folder; through links; without results and strays."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import SEGMENTATION_CLASS, stored_values, write_object, write_series
from monai.transforms import LoadImage

from monai_vggunet.case_path import case_path_of
from monai_vggunet.data import DicomSeriesReader, annotated_cases, image_cases, input_cases
from monai_vggunet.data.case_names import Case
from monai_vggunet.dicom import FindingKind
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import DatasetError

LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
Z = -100.0  # of the first slice of `write_series`, whose steps are 2.5 mm


def write_part(folder: Path, series_uid: str, first: int, slices: int = 4, **own: object) -> None:
    """Write slices of a longer series, with a study of its own."""
    values = stored_values(20, seed=int(series_uid.rpartition(".")[2]))[first : first + slices]
    own = {"StudyInstanceUID": f"{series_uid}.1", "PatientID": series_uid, **own}
    write_series(folder, values, series_uid=series_uid, origin=(-30.0, 12.5, Z + 2.5 * first), prefix=series_uid, **own)


def names(cases: list[Case]) -> list[str]:
    return [case["case"] for case in cases]


def depth_of(image: str) -> int:
    return LoadImage(reader=DicomSeriesReader, image_only=True)(image).shape[2]


def sizes(root: Path) -> list[int]:
    """The slices of each case, which `inspect` and the reader must agree on."""
    cases = image_cases(root)
    surveyed = survey(root)
    assert [str(case.folder) for case in surveyed] == [case["image"] for case in cases]
    chosen = [next(s.stacks[s.chosen].size[2] for s in case.series if s.chosen is not None) for case in surveyed]
    assert chosen == [depth_of(case["image"]) for case in cases]
    return chosen


def test_a_series_over_two_folders_is_one_case(tmp_path: Path) -> None:
    write_part(tmp_path / "ct" / "DIR000", "1.2.1", 0)
    write_part(tmp_path / "ct" / "DIR001", "1.2.1", 4)
    assert sizes(tmp_path / "ct") == [8]
    assert names(image_cases(tmp_path / "ct")) == ["ct"]


def test_a_series_over_so_many_folders_that_no_file_could_be_called_so_is_read(tmp_path: Path) -> None:
    """Each slice in a folder of its own, beside another study: the case's path is longer than a name may be."""
    for slice_number in range(20):
        write_part(tmp_path / f"EXPORTED_FOLDER_{slice_number:03}", "1.2.1", slice_number, slices=1)
    write_part(tmp_path / "other", "1.2.2", 0)
    assert sizes(tmp_path) == [20, 4]
    assert max(len(Path(case["image"]).name) for case in image_cases(tmp_path)) > 255


def test_folders_of_an_archive_stay_cases_and_parts_join_within_them(tmp_path: Path) -> None:
    for patient, uid in (("p1", "1.2.1"), ("p2", "1.2.2")):
        write_part(tmp_path / patient / "a" / "DIR000", uid, 0)
        write_part(tmp_path / patient / "b" / "DIR001", uid, 4)
    assert sizes(tmp_path) == [8, 8]
    assert names(image_cases(tmp_path)) == ["p1", "p2"]


def test_series_that_run_on_from_folder_to_folder_are_a_case_for_each_study(tmp_path: Path) -> None:
    """Exports that put a fixed number of files into each folder, whatever these belong to."""
    write_part(tmp_path / "DIR000", "1.2.1", 0)
    write_part(tmp_path / "DIR001", "1.2.1", 4, slices=2)
    write_part(tmp_path / "DIR001", "1.2.2", 0, slices=3)
    write_part(tmp_path / "DIR002", "1.2.2", 3, slices=4)
    write_part(tmp_path / "DIR003", "1.2.3", 0, slices=5)
    assert sizes(tmp_path) == [6, 7, 5]
    assert names(image_cases(tmp_path)) == ["DIR000", "DIR001", "DIR003"]


def test_parts_beside_another_case_are_one_case(tmp_path: Path) -> None:
    write_part(tmp_path / "Doe Jane" / "DIR 0&1", "1.2.1", 0)
    write_part(tmp_path / "other|one", "1.2.2", 0, slices=3)
    write_part(tmp_path / "zürich=%", "1.2.1", 4)
    assert sizes(tmp_path) == [8, 3]


def test_a_series_that_was_exported_twice_is_one_case(tmp_path: Path) -> None:
    write_part(tmp_path / "a", "1.2.1", 0)
    shutil.copytree(tmp_path / "a", tmp_path / "a again")
    write_part(tmp_path / "b", "1.2.2", 0, slices=5)
    assert sizes(tmp_path) == [4, 5]


def test_parts_given_as_several_inputs_are_one_case(tmp_path: Path) -> None:
    for number in range(2):
        write_part(tmp_path / f"DIR{number}", "1.2.1", 4 * number)
    (case,) = input_cases([tmp_path / "DIR0", tmp_path / "DIR1"])
    assert depth_of(case["image"]) == 8


def test_two_patients_under_one_series_are_one_case_that_is_refused(tmp_path: Path) -> None:
    write_part(tmp_path / "a", "1.2.1", 0, StudyInstanceUID="1.3")
    write_part(tmp_path / "b", "1.2.1", 4, StudyInstanceUID="1.3", PatientID="another")
    (case,) = survey(tmp_path)
    assert [finding.kind for finding in case.findings] == [FindingKind.SEVERAL_PATIENTS]


def test_a_study_in_a_tree_is_one_case_as_before(tmp_path: Path) -> None:
    write_series(tmp_path / "study", ImageType=LOCALIZER, stored=stored_values(1))
    write_series(tmp_path / "study" / "ct")
    write_series(tmp_path / "study" / "mr", ImageType=LOCALIZER)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "study" / "ct" / "own.nii")
    (tmp_path / "study" / "derived").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "study" / "derived" / "own.nii")
    assert [case["image"] for case in image_cases(tmp_path)] == [str(tmp_path / "study")]


def test_a_stray_file_at_the_root_does_not_make_an_archive_one_case(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        write_part(tmp_path / f"p{number}", f"1.2.{number}", 0)
    write_object(tmp_path / "dose_report", SEGMENTATION_CLASS, "SR")
    with caplog.at_level(logging.WARNING):
        assert sizes(tmp_path) == [4, 4]
    assert names(image_cases(tmp_path)) == ["p1", "p2"]
    assert "beside the folders of several studies and no images of theirs: 1 file" in caplog.text
    assert FindingKind.FILES_BESIDE_STUDIES in {finding.kind for finding in survey(tmp_path)[0].findings}


@pytest.mark.parametrize(
    ("stray", "expected"),
    [
        ({"series_uid": "1.2.9", "ImageType": LOCALIZER}, [4, 4]),  # a scout of the first study
        ({"series_uid": "1.2.9", "ImageType": LOCALIZER, "StudyInstanceUID": "1.9"}, [4, 4]),
        ({"series_uid": "1.2.1", "first": 4}, [5, 4]),  # the last slice of the first series
        ({"series_uid": "1.2.9", "StudyInstanceUID": "1.9", "slices": 6}, [6, 4, 4]),  # a study of its own
    ],
)
def test_images_at_the_root_of_an_archive_go_where_they_belong(
    tmp_path: Path, stray: dict, expected: list[int]
) -> None:
    for number in (1, 2):
        write_part(tmp_path / f"p{number}", f"1.2.{number}", 0)
    own = {"first": 0, "slices": 1, "StudyInstanceUID": "1.2.1.1", "PatientID": "1.2.1", **stray}
    write_part(tmp_path, **own)
    assert sizes(tmp_path) == expected


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        write_part(tmp_path / "store" / f"p{number}", f"1.2.{number}", 0)
        (tmp_path / "curated").mkdir(exist_ok=True)
        (tmp_path / "curated" / f"case{number}").symlink_to(tmp_path / "store" / f"p{number}")
    assert sizes(tmp_path / "curated") == [4, 4]
    assert names(image_cases(tmp_path / "curated")) == ["case1", "case2"]
    assert sizes(tmp_path) == [4, 4]  # nothing is found twice


def test_links_into_a_hidden_folder_are_followed(tmp_path: Path) -> None:
    write_part(tmp_path / ".store" / "p", "1.2.1", 0)
    (tmp_path / "case").symlink_to(".store/p")
    assert sizes(tmp_path) == [4]


def test_links_out_of_the_input_are_followed_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_part(tmp_path / "store" / "p", "1.2.1", 0)
    write_part(tmp_path / "in" / "q", "1.2.2", 0)
    (tmp_path / "in" / "elsewhere").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "here").symlink_to("q")
    with caplog.at_level(logging.WARNING):
        assert sizes(tmp_path / "in") == [4, 4]
    assert f"followed out of the input: 1 link ({tmp_path / 'in' / 'elsewhere'})" in caplog.text


def test_loops_of_links_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_part(tmp_path / "a" / "p", "1.2.1", 0)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with caplog.at_level(logging.WARNING):
        assert sizes(tmp_path) == [4]
    assert "left out, cannot be listed: 1 folder" in caplog.text
    assert "a link to a folder that holds it" in caplog.text
    assert [file.kind for file in survey(tmp_path)[0].skipped] == [FindingKind.FOLDER_NOT_LISTED]


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_archives_are_named_with_the_remedy(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    write_part(tmp_path / "source", "1.2.1", 0)
    packed = Path(shutil.make_archive(str(tmp_path / "in" / "study"), kind, tmp_path / "source"))
    with pytest.raises(DatasetError, match=r"holds nothing to segment: .*unpack the archives \(.*study"):
        image_cases(tmp_path / "in")
    with pytest.raises(DatasetError, match="archive; expected a folder or an image: unpack it and give the folder"):
        image_cases(packed)
    shutil.copytree(tmp_path / "source", tmp_path / "in" / "p")
    with caplog.at_level(logging.WARNING):
        assert len(image_cases(tmp_path / "in")) == 1
    assert "left out, to be unpacked: 1 archive" in caplog.text
    for place in (packed, tmp_path / "in"):
        assert any("unpack it" in file.reason for file in survey(place)[0].skipped)


def test_a_tar_archive_without_its_ending_is_known(tmp_path: Path) -> None:
    write_part(tmp_path / "source", "1.2.1", 0)
    with tarfile.open(tmp_path / "export", "w") as tar:
        tar.add(tmp_path / "source", "x")
    with pytest.raises(DatasetError, match="is a tar archive"):
        image_cases(tmp_path / "export")


def write_volume(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.eye(4)), path)
    return path


def test_files_of_one_name_are_called_after_their_folders(tmp_path: Path) -> None:
    files = [write_volume(tmp_path / place / "ct.nii.gz") for place in ("a/p1", "a/p2", "b/p1", "c")]
    assert names(input_cases(files)) == ["a_p1_ct", "p2_ct", "b_p1_ct", "c_ct"]
    assert names(input_cases(files[1:2])) == ["ct"]
    for patient in ("p1", "p2"):
        write_series(tmp_path / "dicom" / patient / "ct")
    assert names(input_cases([tmp_path / "dicom" / "p1" / "ct", tmp_path / "dicom" / "p2" / "ct"])) == [
        "p1_ct",
        "p2_ct",
    ]
    shutil.rmtree(tmp_path / "dicom")
    assert names(input_cases([tmp_path / "a" / "p1", tmp_path / "a" / "p2"])) == ["p1_ct", "p2_ct"]
    assert names(image_cases(tmp_path)) == ["a_p1_ct", "a_p2_ct", "b_p1_ct", "c_ct"]


def test_an_input_that_is_given_twice_is_one_case(tmp_path: Path) -> None:
    file = write_volume(tmp_path / "ct.nii.gz")
    assert names(input_cases([file, file, tmp_path])) == ["ct"]


def test_a_case_path_comes_back_from_its_text() -> None:
    case = case_path_of(os.fsdecode(b"/data/?in=a|%C3%BC%26&in=.&study=1.2.3"))
    assert case is not None
    assert (case.folder, case.parts, case.study_uid) == (Path("/data"), ("a/ü&", "."), "1.2.3")
    assert str(case) == "/data/?in=a|%C3%BC%26&in=.&study=1.2.3"


@pytest.mark.parametrize("part", ["..", "a|..|..|b", "..%2Fb", "%2Fetc", "|etc", "a%2F%2E%2E"])
def test_no_path_of_a_case_leads_out_of_its_folder(part: str) -> None:
    """Lists of cases come with data sets."""
    assert case_path_of(f"/data/?in=DIR000&in={part}") is None
    assert case_path_of("/data/?in=a..b&in=c|...") is not None


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    write_part(tmp_path / "images" / "DIR000", "1.2.1", 0)
    write_part(tmp_path / "images" / "DIR001", "1.2.1", 4)
    write_part(tmp_path / "images" / "p2", "1.2.2", 0)
    for name in ("DIR000", "p2"):
        write_volume(tmp_path / "labels" / f"{name}.nii.gz")
    return tmp_path


def test_training_takes_a_series_over_two_folders_as_one_case(data_set: Path) -> None:
    cases, _ = annotated_cases(data_set)
    assert names(cases) == ["DIR000", "p2"]
    assert [depth_of(case["image"]) for case in cases] == [8, 4]
    assert len({case["patient"] for case in cases}) == 2
    assert json.loads(json.dumps(cases)) == cases


def test_training_takes_a_series_that_was_exported_twice_as_one_case(data_set: Path) -> None:
    shutil.copytree(data_set / "images" / "p2", data_set / "images" / "p3")
    shutil.copy(data_set / "labels" / "p2.nii.gz", data_set / "labels" / "p3.nii.gz")
    cases, _ = annotated_cases(data_set)
    assert names(cases) == ["DIR000", "p2"]
    assert [depth_of(case["image"]) for case in cases] == [8, 4]


def test_training_refuses_two_labels_of_one_series(data_set: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), data_set / "labels" / "DIR001.nii.gz")
    with pytest.raises(DatasetError, match=r"DIR001 hold the same series .*; expected one label per series"):
        annotated_cases(data_set)


def test_training_names_archives_that_have_a_label(data_set: Path) -> None:
    shutil.make_archive(str(data_set / "images" / "p4"), "zip", data_set / "images" / "p2")
    write_volume(data_set / "labels" / "p4.nii.gz")
    with pytest.raises(DatasetError, match=r"p4\.zip is an archive; expected .*: unpack it"):
        annotated_cases(data_set)


def test_training_keeps_two_studies_apart_whose_series_have_one_uid(data_set: Path) -> None:
    """As segmenting them does."""
    write_part(data_set / "images" / "p2_before", "1.2.2", 0, StudyInstanceUID="1.2.2.2")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), data_set / "labels" / "p2_before.nii.gz")
    cases, _ = annotated_cases(data_set)
    assert names(cases) == ["DIR000", "p2", "p2_before"]
    assert cases[1]["patient"] == cases[2]["patient"]
    assert len(image_cases(data_set)) == 3


def test_training_joins_folders_that_share_series_through_another(data_set: Path) -> None:
    """The last folder holds parts of two series that until then lie in folders of their own."""
    write_part(data_set / "images" / "p3", "1.2.2", 4)
    write_part(data_set / "images" / "p3", "1.2.1", 8)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), data_set / "labels" / "p2.nii.gz")
    with pytest.raises(DatasetError, match=r"DIR000, .*DIR001, .*p3, .*p2 hold the same series"):
        annotated_cases(data_set)
