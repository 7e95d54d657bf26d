"""Labels of another data set are read with the class numbers of the model that is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_phantoms import series, write_seg
from dicom_phantoms import stored_values
from phantoms import affine_of, ct_array, write_nifti

from monai_vggunet.data import Datalist, evaluation_datalist, load_datalist, numbered_as
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.errors import DatasetError, LabelContentError
from monai_vggunet.transforms import loading

SHAPE = (20, 16, 6)
MODEL = ["background", "necrosis", "edema", "enhancing"]


def data_set(folder: Path, held: list[int], **description: Any) -> Path:
    """Write one case whose mask holds values, each in a block of its own, and `dataset.json`."""
    label = np.zeros(SHAPE, np.int16)
    for place, value in enumerate(held):
        label[4 * place : 4 * place + 2, 4:8] = value
    write_nifti(folder / "images" / "p.nii.gz", ct_array(np.zeros(SHAPE)), affine_of())
    write_nifti(folder / "labels" / "p.nii.gz", label, affine_of())
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def judged_classes(folder: Path, class_names: list[str] = MODEL) -> list[int]:
    """Return the class of each block."""
    listed = evaluation_datalist(folder, folder / "absent.json", class_names=class_names)
    load = loading(n_classes=len(class_names), segments=listed.segments)
    label = load_case(load, listed.validation[0])["label"].numpy()[0]
    return [int(label[4 * place, 4, 0]) for place in range(3)]


@pytest.mark.parametrize(
    ("labels", "held", "classes"),
    [
        ({"1": "necrosis", "2": "edema", "3": "enhancing"}, [1, 2, 3], [1, 2, 3]),
        ({"1": "enhancing", "2": "edema", "3": "necrosis"}, [1, 2, 3], [3, 2, 1]),
        ({"1": "necrosis", "2": "edema", "4": "enhancing"}, [1, 2, 4], [1, 2, 3]),
        ({"1": "necrosis", "4": "enhancing"}, [1, 4, 0], [1, 3, 0]),
        ({"0": "bg", "1": " Enhancing"}, [1, 0, 1], [3, 0, 3]),
        ({"enhancing": 255}, [255, 0, 0], [3, 0, 0]),
        ({}, [1, 2, 3], [1, 2, 3]),
    ],
)
def test_classes_are_matched_by_name(
    tmp_path: Path, labels: dict[str, Any], held: list[int], classes: list[int]
) -> None:
    assert judged_classes(data_set(tmp_path, held, labels=labels)) == classes


def test_a_value_of_no_class_of_the_data_set_is_refused(tmp_path: Path) -> None:
    """The model knows an edema, but what 2 means here is not stated."""
    folder = data_set(tmp_path, [1, 2, 4], labels={"1": "necrosis", "4": "enhancing"})
    with pytest.raises(LabelContentError, match=r"holds the values \[2\.0\]; expected 0, 1, 4, one for each class"):
        judged_classes(folder)


def test_a_class_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    folder = data_set(tmp_path, [1, 2], labels={"1": "necrosis", "2": "cyst"})
    with pytest.raises(DatasetError, match=r"the classes \['cyst'\], which the model does not have; its classes are"):
        judged_classes(folder)


def test_a_model_whose_classes_nobody_named_is_judged_by_their_numbers(tmp_path: Path) -> None:
    folder = data_set(tmp_path, [2, 1], labels={"1": "necrosis", "2": "cyst"})
    assert judged_classes(folder, ["background", "class 1", "class 2"]) == [2, 1, 0]


def test_segments_of_dicom_labels_are_matched_by_name(tmp_path: Path) -> None:
    files = series(tmp_path / "images" / "p", stored_values(3, 8, 12))
    classes = np.zeros((3, 8, 12), np.uint8)
    classes[:, 4:8, :2], classes[:, 4:8, 4:6] = 1, 2
    (tmp_path / "labels").mkdir()
    write_seg(tmp_path / "labels" / "p.dcm", files, classes, names=("Enhancing", "Necrosis"))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"1": "enhancing", "2": "necrosis"}}))
    assert judged_classes(tmp_path) == [3, 1, 0]


def test_a_class_is_known_by_any_of_its_segments() -> None:
    segments = {"Nekrose": 1, "Necrosis": 1, "Edema": 2, "Cyst": 0}
    listed = Datalist([], [], ["background", "Nekrose", "Edema"], segments=segments)
    numbered = numbered_as(listed, ["background", "edema", "necrosis"])
    assert numbered.segments == {"Nekrose": 2, "Necrosis": 2, "Edema": 1, "Cyst": 0}
    assert numbered.class_names == ["background", "edema", "necrosis"]


def test_the_list_of_a_training_run_stays_as_it_is(tmp_path: Path) -> None:
    listed = load_datalist(data_set(tmp_path, [1, 4], labels={"1": "necrosis", "4": "enhancing"}))
    assert numbered_as(listed, listed.class_names) is listed
    assert listed.training[0]["label_values"] == "0 1 4"
