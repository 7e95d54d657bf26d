"""The annotated cases of a folder and of its `dataset.json`, and what makes either unusable."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from dataset_phantoms import described, names_of, pairs, touch
from dicom_phantoms import stored_values, write_series

from monai_vggunet.data import annotated_cases, load_datalist
from monai_vggunet.errors import DatasetError, DicomReadError


def test_images_and_labels_of_the_same_name_are_cases(tmp_path: Path) -> None:
    pairs(tmp_path, "b", "a.1")
    touch(tmp_path / "images" / "c.png", tmp_path / "labels" / "c.nii", tmp_path / "images" / ".hidden.nii.gz")
    cases, description = annotated_cases(tmp_path)
    assert names_of(cases) == ["a.1", "b", "c"]
    assert cases[2]["image"] == str(tmp_path / "images" / "c.png")
    assert cases[2]["label"] == str(tmp_path / "labels" / "c.nii")
    assert cases[0]["patient"] == "a.1"
    assert description == {}


def test_folder_with_a_series_is_a_case(tmp_path: Path) -> None:
    write_series(tmp_path / "images" / "ct.01", stored_values(2))
    touch(tmp_path / "labels" / "ct.01.nii.gz")
    cases, _ = annotated_cases(tmp_path)
    assert names_of(cases) == ["ct.01"]
    assert cases[0]["image"] == str(tmp_path / "images" / "ct.01")


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent does not exist: correct the path \(--dataset_dir in the bundle\)"):
        load_datalist(tmp_path / "absent")


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is empty; expected images, or folders of DICOM files"):
        load_datalist(tmp_path)


def test_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    with pytest.raises(DatasetError, match=r"a\.nii\.gz is a file; expected a folder with images/ and labels/"):
        load_datalist(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("there", "absent"), [("images", "labels"), ("labels", "images")])
def test_missing_half_of_the_layout_is_an_error(tmp_path: Path, there: str, absent: str) -> None:
    touch(tmp_path / there / "a.nii.gz")
    with pytest.raises(DatasetError, match=f"has no folder '{absent}': expected images/ and labels/"):
        load_datalist(tmp_path)


def test_layout_without_images_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "notes.txt", tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(DatasetError, match="holds no annotated case"):
        load_datalist(tmp_path)


def test_images_without_labels_are_named(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    touch(tmp_path / "images" / "b.nii.gz", tmp_path / "images" / "c.nii")
    with pytest.raises(
        DatasetError, match=r"2 of 3 images in .* have no label .*: b\.nii\.gz, c\.nii\. Add the labels"
    ):
        load_datalist(tmp_path)


def test_label_without_an_image_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs(tmp_path, "a")
    touch(tmp_path / "labels" / "b.nii.gz")
    assert names_of(annotated_cases(tmp_path)[0]) == ["a"]
    assert "1 label in" in caplog.text


def test_hash_in_the_path_is_an_error(tmp_path: Path) -> None:
    pairs(tmp_path / "set #2", "a")
    with pytest.raises(DatasetError, match="holds a '#', which MONAI's config language rewrites: rename the folder"):
        load_datalist(tmp_path / "set #2")


def test_folder_without_dicom_in_place_of_a_series_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a" / "notes.txt", tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(DicomReadError, match=r"images/a holds no DICOM file"):
        load_datalist(tmp_path)


def test_labels_of_any_format_are_paired_by_name(tmp_path: Path) -> None:
    """A SEG or RTSTRUCT as a file, with an ending or without, or alone in a folder; names may hold dots."""
    images = ["a.1", "b", "c", "d.nii.gz", "e.1"]
    for name in images:
        folder = tmp_path / "images" / name
        touch(folder) if name.endswith(".gz") else write_series(folder, stored_values(2))
    touch(*(tmp_path / "labels" / name for name in ("a.1.dcm", "b", "c/rs.dcm", "d.DCM", "e.1.nii.gz")))
    cases, _ = annotated_cases(tmp_path)
    assert [Path(case["label"]).name for case in cases] == ["a.1.dcm", "b", "c", "d.DCM", "e.1.nii.gz"]
    assert names_of(cases) == ["a.1", "b", "c", "d", "e.1"]


def test_two_labels_of_one_name_are_an_error(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    touch(tmp_path / "labels" / "a.dcm")
    with pytest.raises(DatasetError, match=r"two labels of one name, a\.dcm and a\.nii\.gz: keep one"):
        load_datalist(tmp_path)


def test_cases_of_one_file_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        touch(tmp_path / patient / "t1.nii.gz", tmp_path / patient / "seg.nii.gz")
    listed = [{"image": f"{p}/t1.nii.gz", "label": f"{p}/seg.nii.gz"} for p in ("p1", "p2")]
    described(tmp_path, training=listed)
    assert names_of(annotated_cases(tmp_path)[0]) == ["p1_t1", "p2_t1"]


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["site_a/p1/t1.nii", "site_b/p1/t1.nii"], ["site_a_p1_t1", "site_b_p1_t1"]),
        (["a/p1/t1.nii", "b/p1/t1.nii", "b/p2/t1.nii"], ["a_p1_t1", "b_p1_t1", "p2_t1"]),
        (["a/p1/t1.nii", "a/p1/t1.nii.gz"], ["t1", "t1~"]),
        (["a/b_t1.nii", "a_b/t1.nii", "c/t1.nii"], ["b_t1", "a_b_t1", "c_t1"]),
    ],
)
def test_as_many_folders_as_needed_tell_cases_apart(tmp_path: Path, images: list[str], names: list[str]) -> None:
    touch(*(tmp_path / image for image in images), tmp_path / "label.nii")
    described(tmp_path, training=[{"image": image, "label": "label.nii"} for image in images])
    found = names_of(annotated_cases(tmp_path)[0])
    assert [re.sub("~[0-9a-f]{8}$", "~", name) for name in found] == names


def test_an_image_that_is_listed_twice_is_an_error(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    entry = {"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}
    described(tmp_path, training=[entry], validation=[entry])
    with pytest.raises(DatasetError, match=r"several cases have the same image.*: a; list each image once"):
        annotated_cases(tmp_path)


def test_a_listed_label_may_be_the_image_s_own_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "p1", stored_values(2))
    described(tmp_path, training=[{"image": "p1", "label": "p1"}])
    cases, _ = annotated_cases(tmp_path)
    assert cases[0]["label"] == cases[0]["image"] == str(tmp_path / "p1")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_description_as_windows_writes_it_is_read(tmp_path: Path, encoding: str) -> None:
    pairs(tmp_path, "größe")
    entry = {"image": "images\\größe.nii.gz", "label": ".\\labels\\größe.nii.gz"}
    text = json.dumps({"training": [entry], "labels": {"0": "background", "1": "größe"}}, ensure_ascii=False)
    mark = "\ufeff" if encoding.endswith("e") else ""  # the others write one themselves
    (tmp_path / "dataset.json").write_text(mark + text, encoding=encoding)
    cases, description = annotated_cases(tmp_path)
    assert cases[0]["image"] == str(tmp_path / "images" / "größe.nii.gz")
    assert description["labels"]["1"] == "größe"


def test_a_backslash_in_a_name_is_taken_as_it_is_where_the_file_is_called_so(tmp_path: Path) -> None:
    touch(tmp_path / "images\\a.nii", tmp_path / "images" / "a.nii", tmp_path / "label.nii")
    described(tmp_path, training=[{"image": "images\\a.nii", "label": "label.nii"}])
    assert annotated_cases(tmp_path)[0][0]["image"] == str(tmp_path / "images\\a.nii")


def test_labels_may_be_named_for_folders_that_are_not_listed(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "255": "tumor"}}))
    cases, _ = annotated_cases(tmp_path)
    assert [(case["case"], case["label_values"]) for case in cases] == [("a", "0 255"), ("b", "0 255")]
    (tmp_path / "dataset.json").write_text(json.dumps({"validation": []}))
    with pytest.raises(DatasetError, match="has no list named 'training'"):
        annotated_cases(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "\x00"])
def test_description_that_is_no_json_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json is no readable JSON"):
        load_datalist(tmp_path)


def test_a_list_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"training":' + "[" * 100_000)
    with pytest.raises(DatasetError, match="is no readable JSON: it is nested too deeply"):
        annotated_cases(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"training": {}}', '{"numTraining": 3}'])
def test_description_without_a_training_list_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match="has no list named 'training'"):
        load_datalist(tmp_path)


@pytest.mark.parametrize("entry", ["a.nii.gz", {"image": "images/a.nii.gz"}, {"image": ["a"], "label": "b"}, None])
def test_entry_of_another_form_is_an_error(tmp_path: Path, entry: Any) -> None:
    described(tmp_path, training=[entry])
    with pytest.raises(DatasetError, match=r"entry 0 of 'training' in .*dataset\.json is .*; expected an object"):
        load_datalist(tmp_path)


def test_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    described(tmp_path, training=[{"image": "images/a.nii.gz", "label": "labels/z.nii.gz"}])
    with pytest.raises(DatasetError, match=r"entry 0 of 'training' .* names .*labels/z\.nii\.gz, which does not exist"):
        load_datalist(tmp_path)


@pytest.mark.parametrize("validation", [{"a": 1}, 4])
def test_validation_that_is_no_list_is_an_error(tmp_path: Path, validation: Any) -> None:
    with pytest.raises(DatasetError, match=r"'validation' in .* expected a list"):
        load_datalist(described(tmp_path, validation=validation))


def test_description_of_no_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no annotated case"):
        load_datalist(described(tmp_path, training=[]))
