"""Cases that a model was trained on are recognized wherever they lie and however they are stored, by patient too."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import stored_values, write_series
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from phantoms import affine_of, label_array, write_case, write_nifti

from monai_vggunet.data import (
    Datalist,
    compute_fingerprint,
    evaluation_datalist,
    load_datalist,
    record_cases,
    trained_note,
)
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.image_digest import image_digest
from monai_vggunet.errors import DatasetError
from monai_vggunet.layout import DATALIST
from monai_vggunet.transforms import loading


def load() -> Callable[[Any], Any]:
    return loading(with_label=False)


def data_set(root: Path, *names: str, first_seed: int = 0) -> Path:
    for seed, name in enumerate(names, start=first_seed):
        write_case(root, name, seed=seed)
    return root


def trained_on(data: Path, run: Path, start_from: Path | None = None, **split: Any) -> Datalist:
    """Leave the list that a training run leaves, with the digests of its images."""
    listed = load_datalist(data, **split)
    contents = compute_fingerprint(listed, loading()).contents
    recorded = record_cases(listed, contents, start_from)
    recorded.write(run / DATALIST)
    return recorded


def judged(data: Path, run: Path, split: str = "unseen") -> list[str]:
    return [case["case"] for case in evaluation_datalist(data, run / DATALIST, split, load=load()).validation]


# The digest


def rewritten(path: Path, how: str) -> Path:
    """Store an image in another way, under another name; every value is kept."""
    image = nib.load(path)
    values, affine = np.asarray(image.dataobj), image.affine
    target = path.with_name("other.nii" if how == "not compressed" else "other.nii.gz")
    if how == "axes":
        change = ornt_transform(io_orientation(affine), axcodes2ornt("SPL"))
        values, affine = apply_orientation(values, change), affine @ inv_ornt_aff(change, values.shape)
    if how == "numbers":
        values = values.astype(np.float64)
    if how == "scaled":
        image = nib.Nifti1Image(values * 2, affine)
        image.header.set_slope_inter(0.5, 0)
        values = values.astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), target)
    if how == "level":
        target.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    return target


@pytest.mark.parametrize("how", ["not compressed", "level", "axes", "numbers", "scaled"])
def test_an_image_stored_in_another_way_has_the_same_digest(tmp_path: Path, how: str) -> None:
    case = write_case(tmp_path, "a")
    other = rewritten(Path(case["image"]), how)
    first, second = (image_digest(load_case(load(), {"image": str(path)})["image"]) for path in (case["image"], other))
    assert first == second


def test_another_value_shape_or_place_of_the_values_gives_another_digest(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    changed = array.copy()
    changed[0, 0, 0] += 1
    images = [array, changed, array[:, :, :4], array[::-1].copy(), array.reshape(4, 3, 5)]
    paths = [write_nifti(tmp_path / f"{n}.nii.gz", each, affine_of()) for n, each in enumerate(images)]
    digests = {image_digest(load_case(load(), {"image": str(path)})["image"]) for path in paths}
    assert len(digests) == len(images)


def test_a_series_and_the_nifti_made_of_it_have_the_same_digest(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", stored_values(4))
    image = load_case(load(), {"image": str(tmp_path / "ct")})["image"]
    write_nifti(tmp_path / "ct.nii.gz", image.numpy()[0].astype(np.int16), np.asarray(image.affine))
    assert image_digest(load_case(load(), {"image": str(tmp_path / "ct.nii.gz")})["image"]) == image_digest(image)


# Evaluation


def test_a_moved_data_set_is_not_unseen(tmp_path: Path) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"abcd"), tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert judged(tmp_path / "moved", tmp_path) == [case["case"] for case in listed.validation]


@pytest.mark.parametrize("split", [{"val_fraction": 0.0}, {"val_fraction": 0.0, "max_training_cases": 3}])
def test_cases_that_were_trained_and_validated_on_are_not_unseen(tmp_path: Path, split: dict[str, Any]) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"abc"), tmp_path, **split)
    assert listed.trained == ["a", "b", "c"]
    with pytest.raises(DatasetError, match=r"trained on all 3 cases .* or on other images of their patients"):
        judged(tmp_path / "data", tmp_path)


def test_cases_left_out_by_the_limit_are_unseen_unless_their_patient_trained(tmp_path: Path) -> None:
    data_set(tmp_path / "data", *"abcdef")
    entries = [{"image": f"images/{n}.nii.gz", "label": f"labels/{n}.nii.gz", "patient": n in "ab"} for n in "abcdef"]
    for entry, patient in zip(entries, ("p1", "p1", "p2", "p3", "p4", "p5")):
        entry["patient"] = patient
    description = {"training": entries[:4], "validation": entries[4:]}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(description))
    trained_on(tmp_path / "data", tmp_path, max_training_cases=1)
    assert judged(tmp_path / "data", tmp_path) == ["c", "d", "e", "f"]


def test_renamed_copied_and_newly_labeled_cases_are_not_unseen(tmp_path: Path) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"ab"), tmp_path)
    other = data_set(tmp_path / "other", "new", first_seed=7)
    for case in [*listed.training, *listed.validation]:
        shutil.copy(case["image"], other / "images" / f"copy_of_{case['case']}.nii.gz")
        label = label_array()
        label[:2] = 2
        write_nifti(other / "labels" / f"copy_of_{case['case']}.nii.gz", label, affine_of())
    assert judged(other, tmp_path) == [f"copy_of_{listed.validation[0]['case']}", "new"]


def test_another_data_set_whose_cases_have_the_same_names_is_unseen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"ab"), tmp_path)
    assert judged(data_set(tmp_path / "other", *"ab", first_seed=5), tmp_path) == ["a", "b"]
    assert len(listed.training) == 1
    assert "1 case has the name of a case that the model was trained on, but another image" in caplog.text


def test_other_series_of_a_patient_who_was_trained_on_are_not_unseen(tmp_path: Path) -> None:
    """By PatientID; and under a pseudonym, as soon as one of the patient's images is a known one."""
    data, other = tmp_path / "data", tmp_path / "other"
    for number in range(2):
        series(data, f"ct{number}", number, f"MRN-{number}")
    trained = trained_on(data, tmp_path).training[0]["case"][-1]
    series(other, "later", 5, f"MRN-{trained}")
    series(other, "known under a pseudonym", int(trained), "P-77")
    series(other, "later under the pseudonym", 6, "P-77")
    series(other, "somebody else", 7, "MRN-9")
    assert judged(other, tmp_path) == ["somebody else"]


def series(root: Path, name: str, seed: int, patient: str) -> None:
    stored = stored_values(4, seed=seed)
    write_series(root / "images" / name, stored, PatientID=patient, StudyInstanceUID=f"1.2.{seed + 1}")
    image = load_case(load(), {"image": str(root / "images" / name)})["image"]
    label = np.zeros(image.shape[1:], dtype=np.uint8)
    label[1:3, 1:3] = 1
    write_nifti(root / "labels" / f"{name}.nii.gz", label, np.asarray(image.affine))


def test_cases_of_the_model_that_training_began_with_are_not_unseen(tmp_path: Path) -> None:
    first = trained_on(data_set(tmp_path / "first", *"abc"), tmp_path / "run1", val_fraction=0.0)
    data_set(tmp_path / "second", *"de", first_seed=3)
    shutil.copytree(tmp_path / "first", tmp_path / "second", dirs_exist_ok=True)
    second = trained_on(
        data_set(tmp_path / "second", "f", first_seed=9), tmp_path / "run2", tmp_path / "run1" / "model.pt"
    )
    assert {case["case"] for case in second.also_trained} | {case["case"] for case in second.training} >= set("abc")
    assert second.trained == [case["case"] for case in second.validation if case["case"] in "abc"]
    with pytest.raises(DatasetError, match="trained on all 3 cases"):
        judged(tmp_path / "first", tmp_path / "run2")
    assert first.all_trained_known


def test_a_model_whose_former_cases_are_unknown_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = data_set(tmp_path / "data", *"ab")
    assert not trained_on(data, tmp_path / "run", tmp_path / "elsewhere" / "model.pt").all_trained_known
    assert "does not list all cases that" in caplog.text
    assert not evaluation_datalist(data, tmp_path / "run" / DATALIST, load=load()).all_trained_known
    later = trained_on(data, tmp_path / "later", tmp_path / "run" / "model.pt")
    assert not later.all_trained_known
    assert {case["case"] for case in later.also_trained} <= {"a", "b"}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_list_of_a_former_version_is_compared_as_well_as_it_can_be(tmp_path: Path, is_there: bool) -> None:
    """By the images' content while they are where they were, else by name."""
    listed = load_datalist(data_set(tmp_path / "data", *"ab"))
    listed.write(tmp_path / DATALIST)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    if not is_there:
        shutil.rmtree(tmp_path / "data")
    assert judged(tmp_path / "copy", tmp_path) == [case["case"] for case in listed.validation]


def test_all_cases_are_judged_on_request_and_those_trained_on_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    listed = trained_on(data_set(tmp_path / "data", *"abc"), tmp_path)
    chosen = evaluation_datalist(tmp_path / "data", tmp_path / DATALIST, "all", load=load())
    assert chosen.trained == [case["case"] for case in listed.training]
    assert "evaluating 3 cases, among them 2 that the model was trained on" in caplog.text


def test_images_that_are_known_by_their_path_are_not_read_to_compare_them(tmp_path: Path) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"abc"), tmp_path)
    read = []

    def noted(case: dict[str, str]) -> Any:
        read.append(case["case"])
        return load()(case)

    unseen = evaluation_datalist(tmp_path / "data", tmp_path / DATALIST, load=noted)
    assert read == [case["case"] for case in unseen.validation] == [case["case"] for case in listed.validation]


# Validation while training


def test_a_validation_case_that_is_a_copy_of_a_training_case_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_set(tmp_path / "data", "a")
    for kind in ("images", "labels"):
        shutil.copy(data / kind / "a.nii.gz", data / kind / "b.nii.gz")
    assert trained_on(data, tmp_path).trained == [load_datalist(data).validation[0]["case"]]
    assert "the model is trained on all of the judged cases (1), or on their patients: the figures below" in caplog.text


def test_unseen_validation_cases_need_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed = trained_on(data_set(tmp_path / "data", *"abc"), tmp_path)
    assert (listed.trained, listed.all_trained_known, listed.also_trained) == ([], True, [])
    assert "trained on" not in caplog.text
    assert Datalist.read(tmp_path / DATALIST) == listed


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ((0, 3), ""),
        ((1, 3), "the model is trained on 1 of the 3 judged cases, or on their patients"),
        ((3, 3), "the model is trained on all of the judged cases (3), or on their patients"),
        ((0, 3, False), "it is not known which of the judged cases the model is trained on"),
        ((0, 0), ""),
    ],
)
def test_what_is_said_beside_figures(counts: tuple[Any, ...], note: str) -> None:
    assert trained_note(*counts) == note
