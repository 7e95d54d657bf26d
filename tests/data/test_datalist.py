from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from dicom_phantoms import PATIENT_ID, PATIENT_NAME, stored_values, write_series

from monai_vggunet.data import (
    Datalist,
    annotated_cases,
    evaluation_datalist,
    image_cases,
    load_datalist,
)
from monai_vggunet.errors import ConfigurationError, DatasetError, DicomReadError
from monai_vggunet.names import same_on_some_disk


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pairs(root: Path, *names: str) -> Path:
    """Make empty images and labels: a list of cases looks at names alone."""
    for name in names:
        touch(root / "images" / f"{name}.nii.gz", root / "labels" / f"{name}.nii.gz")
    return root


def described(root: Path, training: Any = None, **content: Any) -> Path:
    """Write `dataset.json`, by default over two cases that exist."""
    pairs(root, "a", "b")
    listed = [{"image": f"./images/{n}.nii.gz", "label": f"./labels/{n}.nii.gz"} for n in "ab"]
    content["training"] = listed if training is None else training
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def names_of(cases: list[dict[str, str]]) -> list[str]:
    return [case["case"] for case in cases]


# Folder layout


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


# dataset.json


def test_decathlon_description_is_read(tmp_path: Path) -> None:
    described(tmp_path, labels={"0": "background", "2": "Posterior", "1": "Anterior"}, modality={"0": "MRI"})
    datalist = load_datalist(tmp_path)
    assert datalist.class_names == ["background", "Anterior", "Posterior"]
    assert datalist.modality == "MR"
    assert sorted(names_of(datalist.training + datalist.validation)) == ["a", "b"]
    assert Path(datalist.training[0]["image"]).is_file()


def test_nnunets_description_is_read(tmp_path: Path) -> None:
    described(tmp_path, labels={"background": 0, "liver": 1}, channel_names={"0": "CT"})
    datalist = load_datalist(tmp_path)
    assert datalist.class_names == ["background", "liver"]
    assert datalist.modality == "CT"


@pytest.mark.parametrize(
    ("stated", "modality"),
    [({"0": "T2w"}, "MR"), ({"0": "FLAIR"}, "MR"), ("ct", "CT"), ({"0": "PET"}, "PT"), (None, "")],
)
def test_modality_is_called_as_dicom_calls_it(tmp_path: Path, stated: Any, modality: str) -> None:
    assert load_datalist(described(tmp_path, modality=stated)).modality == modality


def test_listed_validation_is_taken_as_it_is(tmp_path: Path) -> None:
    pairs(tmp_path, "c")
    described(tmp_path, validation=[{"image": "images/c.nii.gz", "label": "labels/c.nii.gz"}])
    datalist = load_datalist(tmp_path, val_fraction=0.5)
    assert names_of(datalist.training) == ["a", "b"]
    assert names_of(datalist.validation) == ["c"]
    assert all(set(case) == {"image", "label", "case", "patient"} for case in datalist.training + datalist.validation)


def test_listed_patients_are_kept_together_and_reported_when_on_both_sides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [
        {"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz", "patient": patient}
        for n, patient in (("a", "p1"), ("b", "p2"))
    ]
    described(tmp_path, training=entries[:1], validation=[{**entries[1], "patient": "p1"}])
    load_datalist(tmp_path)
    assert "list of dataset.json hold 1 patient" in caplog.text


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


@pytest.mark.parametrize("text", ["{", "", "\x00"])
def test_description_that_is_no_json_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json is no readable JSON"):
        load_datalist(tmp_path)


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


def test_description_of_validation_cases_alone_is_an_error(tmp_path: Path) -> None:
    described(tmp_path, training=[], validation=[{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}])
    with pytest.raises(DatasetError, match="lists no training case"):
        load_datalist(tmp_path)


def test_description_of_no_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no annotated case"):
        load_datalist(described(tmp_path, training=[]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"liver": [1, 2], "background": 0}, "with a whole number for each class"),
        ({"0": "background", "1": None}, "with a whole number for each class"),
        ({"0": "background", "1.0": "liver"}, "with a whole number for each class"),
        ({"0": "background", "²": "liver"}, "with a whole number for each class"),
        ({"background": 0, "liver": True}, "with a whole number for each class"),
        (["background", "liver"], "'labels' .* expected an object"),
        ({"background": 0, "liver": 1, "spleen": 1}, "gives several names to 1; expected one name for each number"),
        ({"0": "background", "1": "liver", "01": "spleen"}, "gives several names to 1; expected one name"),
        ({"0": "background", "1": "liver", "2": "liver"}, r"names several classes alike, \['liver', 'liver'\]"),
        ({"0": "background", "1": "Liver", "2": " liver"}, r"names several classes alike, \['Liver', ' liver'\]"),
        ({"0": "background", "1": "left  lung", "2": "Left Lung "}, "names several classes alike"),
        ({"0": "background", "1": "Background"}, "names several classes alike"),
        ({"0": "background", "1": ""}, "names a class ''; expected 1 to 256 characters"),
        ({"0": "background", "1": " \t"}, "names a class .*; expected 1 to 256 characters, not blanks alone"),
        ({"0": "", "1": "liver"}, "names a class ''; expected 1 to 256 characters"),
        ({"0": "background", "1": "x" * 257}, "expected 1 to 256 characters"),
        ({"0": "background", "9999999999": "liver"}, "with numbers of up to 2147483647"),
        ({str(number): f"class {number}" for number in range(300)}, "names 300 classes .* at most 256"),
    ],
)
def test_labels_of_another_form_are_an_error(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_datalist(described(tmp_path, labels=labels))


@pytest.mark.parametrize(
    ("labels", "names", "values"),
    [
        ({"0": "background", "255": "tumor"}, ["background", "tumor"], "0 255"),
        (
            {"1": "necrosis", "4": "enhancing", "2": "edema"},
            ["background", "necrosis", "edema", "enhancing"],
            "0 1 2 4",
        ),
        ({"background": 0, "tumor": 255}, ["background", "tumor"], "0 255"),
        ({"1": "Background", "2": "lesion", "3": "rim"}, ["Background", "lesion", "rim"], "1 2 3"),
        ({"-1": "lesion"}, ["background", "lesion"], "0 -1"),
        ({"0": "air", "1": "liver"}, ["air", "liver"], "0 1"),
    ],
)
def test_numbers_of_classes_may_have_gaps(tmp_path: Path, labels: Any, names: list[str], values: str) -> None:
    datalist = load_datalist(described(tmp_path, labels=labels))
    assert datalist.class_names == names
    assert {case["label_values"] for case in datalist.training} == {values}
    datalist.write(tmp_path / "datalist.json")
    assert Datalist.read(tmp_path / "datalist.json") == datalist


def test_segments_are_given_by_the_numbers_that_labels_state(tmp_path: Path) -> None:
    labels = {"1": "necrosis", "4": "enhancing"}
    datalist = load_datalist(described(tmp_path, labels=labels, segments={"GTV": 4, "Necrosis": 1, "Body": 0}))
    assert datalist.segments == {"GTV": 2, "Necrosis": 1, "Body": 0}


def test_labels_may_be_named_for_folders_that_are_not_listed(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "255": "tumor"}}))
    cases, _ = annotated_cases(tmp_path)
    assert [(case["case"], case["label_values"]) for case in cases] == [("a", "0 255"), ("b", "0 255")]
    (tmp_path / "dataset.json").write_text(json.dumps({"validation": []}))
    with pytest.raises(DatasetError, match="has no list named 'training'"):
        annotated_cases(tmp_path)


# Split


def test_split_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    pairs(tmp_path, *(f"case_{n}" for n in range(20)))
    first, again, other = (load_datalist(tmp_path, 0.25, seed) for seed in (3, 3, 4))
    assert first == again
    assert names_of(first.validation) != names_of(other.validation)
    assert len(first.validation) == 5
    assert sorted(names_of(first.training + first.validation)) == sorted(f"case_{n}" for n in range(20))


def test_series_of_one_patient_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(6):
        name = f"series_{number}"
        write_series(tmp_path / "images" / name, stored_values(2), PatientID=f"MRN-{number // 2}")
        touch(tmp_path / "labels" / f"{name}.nii.gz")
    for seed in range(4):
        datalist = load_datalist(tmp_path, 0.3, seed)
        sides = [{int(c["case"][-1]) // 2 for c in side} for side in (datalist.training, datalist.validation)]
        assert len(datalist.validation) == 2
        assert sides[0].isdisjoint(sides[1])


def test_saved_split_names_no_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "images" / "a", stored_values(2))
    touch(tmp_path / "labels" / "a.nii.gz")
    load_datalist(tmp_path).write(tmp_path / "out" / "datalist.json")
    text = (tmp_path / "out" / "datalist.json").read_text()
    assert PATIENT_ID not in text
    assert PATIENT_NAME not in text
    assert json.loads(text)["training"][0]["case"] == "a"


def test_single_patient_is_validated_on_itself_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    datalist = load_datalist(pairs(tmp_path, "a"))
    assert names_of(datalist.training) == names_of(datalist.validation) == ["a"]
    assert "validating on the training cases themselves (1 patient," in caplog.text


@pytest.mark.parametrize("val_fraction", [0.01, 0.9, 0.999])
def test_both_sides_hold_a_patient_whatever_the_share(tmp_path: Path, val_fraction: float) -> None:
    datalist = load_datalist(pairs(tmp_path, "a", "b"), val_fraction)
    assert len(datalist.training) == len(datalist.validation) == 1


@pytest.mark.parametrize("val_fraction", [-0.1, 1.0, float("nan")])
def test_share_that_makes_no_sense_is_an_error(tmp_path: Path, val_fraction: float) -> None:
    with pytest.raises(DatasetError, match="expected a share from 0 up to"):
        load_datalist(pairs(tmp_path, "a", "b"), val_fraction)


def test_training_cases_can_be_limited_without_touching_validation(tmp_path: Path) -> None:
    pairs(tmp_path, *"abcdefghij")
    whole, few = load_datalist(tmp_path), load_datalist(tmp_path, max_training_cases=3)
    assert few.training == whole.training[:3]
    assert few.validation == whole.validation


def test_limit_of_no_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="max_training_cases is 0; expected at least 1"):
        load_datalist(pairs(tmp_path, "a", "b"), max_training_cases=0)


# Labels from DICOM


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


def test_a_listed_label_may_be_the_image_s_own_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "p1", stored_values(2))
    described(tmp_path, training=[{"image": "p1", "label": "p1"}])
    cases, _ = annotated_cases(tmp_path)
    assert cases[0]["label"] == cases[0]["image"] == str(tmp_path / "p1")


@pytest.mark.parametrize(
    ("content", "names", "segments"),
    [
        ({}, [], {}),
        ({"labels": {"0": "background", "1": "liver", "2": "spleen"}}, ["background", "liver", "spleen"],
         {"liver": 1, "spleen": 2}),
        ({"labels": {"background": 0, "liver": 1}}, ["background", "liver"], {"liver": 1}),
        ({"labels": {"0": "background", "1": "lung"}, "segments": {"Lung L": 1, "Lung R": 1, "Body": 0}},
         ["background", "lung"], {"Lung L": 1, "Lung R": 1, "Body": 0}),
        ({"segments": {"Tumor": 2, "Liver": 1, "Liver 2": 1}}, ["background", "Liver", "Tumor"],
         {"Tumor": 2, "Liver": 1, "Liver 2": 1}),
    ],
    ids=["nothing", "Decathlon", "nnU-Net", "both", "segments alone"],
)  # fmt: skip
def test_segments_are_stated_or_are_called_as_the_classes(
    tmp_path: Path, content: dict[str, Any], names: list[str], segments: dict[str, int]
) -> None:
    for datalist in (
        load_datalist(described(tmp_path, **content)),
        evaluation_datalist(tmp_path, tmp_path / "absent.json"),
    ):
        assert datalist.class_names == names
        assert datalist.segments == segments


@pytest.mark.parametrize(
    ("segments", "labels", "text"),
    [
        ({"Liver": "1"}, None, "expected an object with the name of a segment or structure and its class number"),
        (["Liver"], None, "expected an object with the name"),
        ({"Liver": True}, None, "expected an object with the name"),
        ({"Liver": -1}, None, "expected an object with the name"),
        ({"Liver": 1, " liver": 2}, None, r"names liver more than once .*: keep one entry of each"),
        ({"Liver": 1, "Spleen": 3}, None, r"gives the classes \[1, 3\]; expected 1, 2, \.\.\. without gaps"),
        ({"Liver": 1, "Spleen": 2}, {"0": "background", "1": "liver"}, r"'labels' names the classes 0 to 1: correct"),
        ({"Liver": 300}, None, "a label holds numbers up to 255"),
        (
            {"Liver": 2},
            {"1": "liver", "4": "spleen"},
            r"gives the classes \[2\], but 'labels' names the classes 0, 1, 4",
        ),
        ({"  ": 1}, None, "names a class '  '; expected 1 to 256 characters"),
        ({"Body": 0}, None, r"gives the classes \[\]"),
    ],
)
def test_segments_that_contradict_are_an_error(tmp_path: Path, segments: Any, labels: Any, text: str) -> None:
    content = {"segments": segments} | ({"labels": labels} if labels else {})
    with pytest.raises(DatasetError, match=text):
        load_datalist(described(tmp_path, **content))


# Cases to be segmented


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


# Evaluation


def test_cases_of_the_training_run_are_left_out_unless_held_out(tmp_path: Path) -> None:
    pairs(tmp_path, *"abcde")
    datalist = load_datalist(tmp_path)
    datalist.write(tmp_path / "datalist.json")
    unseen = evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    assert unseen.validation == unseen.training == datalist.validation
    assert names_of(evaluation_datalist(tmp_path, tmp_path / "datalist.json", "all").validation) == list("abcde")


@pytest.mark.parametrize("output", [".", "images", "labels"])
def test_masks_are_not_written_among_what_is_judged(tmp_path: Path, output: str) -> None:
    """`OUT/<case>` would be the folder of a series, or of its label."""
    write_series(tmp_path / "images" / "a")
    touch(tmp_path / "labels" / "a" / "seg.dcm")
    with pytest.raises(ConfigurationError, match=r"is the input|where an input lies"):
        evaluation_datalist(tmp_path, tmp_path / "absent.json", output_dir=tmp_path / output)
    evaluation_datalist(tmp_path, tmp_path / "absent.json", output_dir=tmp_path / "eval")


def test_model_from_elsewhere_is_judged_on_every_case(tmp_path: Path) -> None:
    described(tmp_path, labels={"0": "background", "1": "liver"})
    datalist = evaluation_datalist(tmp_path, tmp_path / "absent.json")
    assert names_of(datalist.validation) == ["a", "b"]
    assert datalist.class_names == ["background", "liver"]


def test_model_validated_on_its_own_cases_is_judged_on_them_only_if_asked_for(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    load_datalist(tmp_path).write(tmp_path / "datalist.json")
    with pytest.raises(DatasetError, match=r"trained on all 1 cases of .* or --split all"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    judged = evaluation_datalist(tmp_path, tmp_path / "datalist.json", "all")
    assert names_of(judged.validation) == judged.trained == ["a"]


def test_data_set_whose_cases_were_all_trained_on_is_an_error(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    Datalist(annotated_cases(tmp_path)[0], []).write(tmp_path / "datalist.json")
    with pytest.raises(DatasetError, match=r"trained on all 2 cases of .* or --split all"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")


def test_unknown_choice_of_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="split is 'test'; expected 'unseen' or 'all'"):
        evaluation_datalist(pairs(tmp_path, "a"), tmp_path / "absent.json", "test")


@pytest.mark.parametrize("text", ["{", "[]", '{"training": []}', '{"training": [1], "validation": []}'])
def test_garbled_split_is_an_error(tmp_path: Path, text: str) -> None:
    pairs(tmp_path, "a")
    (tmp_path / "datalist.json").write_text(text)
    with pytest.raises(DatasetError, match=r"datalist\.json is not a list of cases as training writes it"):
        evaluation_datalist(tmp_path, tmp_path / "datalist.json")


def test_number_of_judged_cases_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_datalist(pairs(tmp_path, "a", "b")).write(tmp_path / "datalist.json")
    evaluation_datalist(tmp_path, tmp_path / "datalist.json")
    assert "evaluating 1 case, without the 1 that the model was trained on, or on whose patients" in caplog.text


def test_without_the_list_of_the_training_run_nothing_is_claimed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    judged = evaluation_datalist(pairs(tmp_path, "a", "b"), tmp_path / "absent.json")
    assert not judged.all_trained_known
    assert "it is not known which cases the model was trained on: there is no" in caplog.text
    assert caplog.messages[-1] == "evaluating 2 cases"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "it is a list; expected an object"),
        ({"training": []}, "validation is missing"),
        (
            {"training": [{"image": 5, "label": "x"}], "validation": []},
            "training is a list; expected .* each text, with 'image'",
        ),
        (
            {"training": [{"image": "x"}], "validation": []},
            "training is a list; expected .* with 'image', 'label' and 'case'",
        ),
        (
            {"training": [], "validation": [], "segments": {"liver": 300}},
            "segments is an object; .* from 0 to 255",
        ),
        ({"training": [], "validation": [], "segments": {"liver": True}}, "segments is"),
        ({"training": [], "validation": [], "class_names": "ab"}, "class_names is text; expected a list"),
        ({"training": [], "validation": [], "surprise": 1}, "a name in it is unknown"),
        ({"format_version": 3, "training": [], "later": 1}, "format_version is 3; .* a later one wrote this"),
    ],
)
def test_a_list_of_another_kind_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=rf"is not a list of cases as training writes it \({message}"):
        Datalist.read(tmp_path / "datalist.json")


def test_a_list_from_before_versions_is_read(tmp_path: Path) -> None:
    datalist = load_datalist(pairs(tmp_path, "a", "b"))
    datalist.write(tmp_path / "datalist.json")
    content = json.loads((tmp_path / "datalist.json").read_text())
    assert content.pop("format_version") == 2
    for later in ("also_trained", "all_trained_known", "trained"):
        del content[later]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    assert Datalist.read(tmp_path / "datalist.json") == datalist


def test_a_list_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"training":' + "[" * 100_000)
    with pytest.raises(DatasetError, match="is no readable JSON: it is nested too deeply"):
        annotated_cases(tmp_path)
