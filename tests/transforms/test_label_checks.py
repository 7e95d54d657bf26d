"""Labels of any type and any values become class numbers, or are refused with the values that are no class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from phantoms import affine_of, label_array, meta_tensor

from monai_vggunet.data.label_values import CLASS_NUMBERS
from monai_vggunet.errors import LabelContentError
from monai_vggunet.transforms import CheckLabeld


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, np.float64])
def test_class_numbers_of_any_type_become_uint8(dtype: Any) -> None:
    label = CheckLabeld("label", 3)({"label": meta_tensor(label_array()[None].astype(dtype), affine_of())})["label"]
    assert isinstance(label, MetaTensor)
    assert label.dtype == torch.uint8
    np.testing.assert_array_equal(label.numpy()[0], label_array())


@pytest.mark.parametrize(
    ("value", "n_classes", "message"),
    [
        (3, 3, r"holds the values \[3\.?0?\]; expected whole class numbers from 0 to 2"),
        (-1, 3, "holds the values .*-1"),
        (0.5, 3, r"holds the values \[0\.5\]"),
        (np.nan, 3, r"holds the values \[nan\]"),
        (255, 2, r'from 0 to 1\. Name every class in dataset\.json \("labels": \{"0": "background", "255": "name of'),
        (0.5, None, r"holds the values \[0\.5\]; expected whole class numbers: a mask that was scaled"),
        (np.inf, None, r"holds the values \[inf\]; expected whole class numbers"),
        (1e10, None, r"holds the values \[10000000000\.0\]; expected whole class numbers"),
    ],
)
def test_value_that_is_no_class_is_refused(value: float, n_classes: int | None, message: str) -> None:
    array = np.zeros((1, 3, 4, 5), dtype=np.float32)
    array[0, 0, 0, 0] = value
    with pytest.raises(LabelContentError, match=message):
        CheckLabeld("label", n_classes)({"label": meta_tensor(array)})


def test_long_list_of_wrong_values_is_cut() -> None:
    array = np.arange(60.0).reshape(1, 3, 4, 5)
    with pytest.raises(LabelContentError, match=r"label\.nii holds the values \[2.0, 3.0, 4.0, 5.0, 6.0\] \.\.\.;"):
        CheckLabeld("label", 2)({"label": meta_tensor(array, filename_or_obj="label.nii")})


def mask(*values: float) -> MetaTensor:
    """A label `(1, 1, 1, n)` of these values."""
    return meta_tensor(np.array(values, dtype=np.float32).reshape(1, 1, 1, -1), affine_of())


@pytest.mark.parametrize(
    ("values", "held", "numbers"),
    [
        ((0, 255), (0, 255, 0), [0, 1, 0]),
        ((0, 1, 2, 4), (4, 0, 2, 1), [3, 0, 2, 1]),
        ((1, 2), (1, 2), [0, 1]),
        ((0, -1), (-1, 0), [1, 0]),
        ((0, 65535), (65535, 0), [1, 0]),
    ],
)
def test_values_become_the_numbers_of_their_classes(
    values: tuple[int, ...], held: tuple[int, ...], numbers: list[int]
) -> None:
    label = CheckLabeld("label", len(values), values=values)({"label": mask(*held)})["label"]
    assert label.dtype == torch.uint8
    assert label.flatten().tolist() == numbers
    assert torch.equal(label.affine, mask(*held).affine)


def test_what_the_data_set_of_a_case_states_wins_over_the_model_s_values() -> None:
    check = CheckLabeld("label", 2, values=(0, 255))
    assert check({"label": mask(0, 1), "label_values": "0 1"})["label"].flatten().tolist() == [0, 1]
    assert check({"label": mask(0, 128), "label_values": "0 128"})["label"].flatten().tolist() == [0, 1]
    with pytest.raises(LabelContentError, match=r"holds the values \[1\.0\]; expected 0, 255, one for each class"):
        check({"label": mask(0, 1)})
    with pytest.raises(LabelContentError, match="label_values is 'a b'; expected whole numbers"):
        check({"label": mask(0, 1), "label_values": "a b"})


def test_a_data_set_with_more_classes_than_the_model_has_is_refused() -> None:
    with pytest.raises(LabelContentError, match=r"holds the values \[4\.0\]; expected whole class numbers from 0 to 1"):
        CheckLabeld("label", 2)({"label": mask(0, 4), "label_values": "0 1 4"})


def test_labels_drawn_from_dicom_hold_class_numbers_already() -> None:
    label = meta_tensor(np.array([0, 1], dtype=np.uint8).reshape(1, 1, 1, 2), **{CLASS_NUMBERS: True})
    assert CheckLabeld("label", 2, values=(0, 255))({"label": label})["label"].flatten().tolist() == [0, 1]


def test_values_that_nobody_names_stay_as_they_are() -> None:
    label = CheckLabeld("label")({"label": mask(-5, 0, 70000)})["label"]
    assert (label.dtype, label.flatten().tolist()) == (torch.int32, [-5, 0, 70000])
