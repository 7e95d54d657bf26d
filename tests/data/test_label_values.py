"""Masks of 0 and 255 are background and foreground, and masks with gaps are refused with their values."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.data import Datalist, Fingerprint, compute_fingerprint, load_datalist, plan_model
from monai_vggunet.data.label_values import decided_values
from monai_vggunet.errors import LabelContentError
from monai_vggunet.transforms import inference_preprocessing, loading, training_preprocessing

SHAPE = (20, 16, 6)


@pytest.mark.parametrize(
    ("held", "values"),
    [
        ((0, 1), (0, 1)),
        ((0, 1, 2, 3), (0, 1, 2, 3)),
        ((0,), (0, 1)),
        ((1,), (0, 1)),
        ((), (0, 1)),
        ((0, 255), (0, 255)),
        ((0, 128), (0, 128)),
        ((0, 2), (0, 2)),
        ((0, -1), (0, -1)),
        ((1, 2), (1, 2)),
        ((0, 65535), (0, 65535)),
        ((254, 255), (254, 255)),
        (tuple(range(118)), tuple(range(118))),
    ],
)
def test_values_of_the_classes(held: tuple[int, ...], values: tuple[int, ...]) -> None:
    assert decided_values(dict.fromkeys(held, 5)) == values


def test_two_values_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    decided_values({0: 10, 1: 5})
    assert not caplog.text
    decided_values({0: 10, 255: 5})
    assert "0 is taken as background, 255 as foreground" in caplog.text


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            {0: 9000, 1: 10, 2: 20, 4: 30},
            r"the values 0 \(9,000 voxels\), 1 \(10\), 2 \(20\), 4 \(30\); .* write "
            r'"labels": \{"0": "background", "1": "name of 1", "2": "name of 2", "4": "name of 4"\} into dataset\.json',
        ),
        ({0: 1, 128: 2, 255: 3}, r"0 \(1 voxel\), 128 \(2\), 255 \(3\)"),
        ({1: 1, 2: 2, 3: 3}, r'"labels": \{"1": "background", "2": "name of 2", "3": "name of 3"\}'),
        ({255: 7}, r"hold the values 255 \(7 voxels\)"),
        ({-1: 1, 0: 1, 1: 1}, r"hold the values -1 \(1 voxel\), 0 \(1\), 1 \(1\)"),
        (dict.fromkeys(range(256), 1), "hold 256 values, .* and 246 more; .* look like images"),
    ],
)
def test_other_values_are_listed_with_the_line_that_names_them(held: dict[int, int], message: str) -> None:
    with pytest.raises(LabelContentError, match=message):
        decided_values(held)


def data_set(root: Path, values: tuple[float, float, float], dtype: Any = np.uint8, names: str = "ab") -> Path:
    """Write CT cases whose masks hold these values for background and two classes."""
    label = label_array(SHAPE)
    for seed, name in enumerate(names):
        write_nifti(root / "images" / f"{name}.nii.gz", ct_array(label, seed), affine_of())
        write_nifti(root / "labels" / f"{name}.nii.gz", np.array(values, dtype=dtype)[label], affine_of())
    return root


def measured(root: Path) -> Fingerprint:
    datalist = load_datalist(root)
    return compute_fingerprint(datalist, loading(segments=datalist.segments))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((0, 255, 255), np.uint8),
        ((0, 128, 128), np.int16),
        ((0.0, 1.0, 1.0), np.float32),
        ((0, 65535, 65535), np.uint16),
        ((0, -1, -1), np.int8),
        ((1, 2, 2), np.uint8),
    ],
)
def test_masks_of_two_values_are_measured_as_those_of_class_numbers(
    tmp_path: Path, values: tuple[float, float, float], dtype: Any
) -> None:
    found = measured(data_set(tmp_path / "masks", values, dtype))
    plain = measured(data_set(tmp_path / "plain", (0, 1, 1)))
    assert found.class_names == ("background", "class 1")
    assert found.class_voxels == plain.class_voxels
    assert found.foreground_percentiles == pytest.approx(plain.foreground_percentiles, abs=8)
    assert found.label_values == (values[0], values[1])


def test_the_pipelines_read_masks_as_the_fingerprint_did(tmp_path: Path) -> None:
    root = data_set(tmp_path, (0, 255, 255))
    spec = plan_model(measured(root), overrides={"roi_size": (32, 32)})
    datalist = load_datalist(root)
    case = datalist.validation[0]
    label = inference_preprocessing(spec, with_label=True)(case)["label"].numpy()[0]
    np.testing.assert_array_equal(label, label_array(SHAPE) > 0)
    samples = training_preprocessing(spec, flip_prob=0, affine_prob=0)(case)
    assert {int(value) for sample in samples for value in sample["label"].unique()} == {0, 1}
    assert type(spec).read(written(spec, tmp_path)).label_values == (0, 255)


def written(spec: Any, root: Path) -> Path:
    spec.write(root / "model.json")
    return root / "model.json"


def test_stated_gaps_are_mapped(tmp_path: Path) -> None:
    root = data_set(tmp_path, (0, 1, 4))
    with pytest.raises(LabelContentError, match=r"the values 0 \(\S+ voxels\), 1 \(105\), 4 \(24\); expected class"):
        measured(root)
    (root / "dataset.json").write_text('{"labels": {"1": "necrosis", "4": "enhancing"}}')
    found = measured(root)
    assert found.class_names == ("background", "necrosis", "enhancing")
    assert found.class_voxels[1:] == (105, 24)
    label = inference_preprocessing(plan_model(found), with_label=True)(load_datalist(root).validation[0])["label"]
    np.testing.assert_array_equal(label.numpy()[0], label_array(SHAPE))


def test_a_value_of_a_validation_mask_that_training_masks_lack_is_named(tmp_path: Path) -> None:
    data_set(tmp_path, (0, 255, 255), names="a")
    data_set(tmp_path, (0, 255, 128), names="b")
    cases = {case["case"]: case for case in [*load_datalist(tmp_path).training, *load_datalist(tmp_path).validation]}
    with pytest.raises(
        LabelContentError,
        match=r"case b: the label holds the values 128 \(24 voxels\), but there are 2 classes \(0, 255, as the tr",
    ):
        compute_fingerprint(Datalist([cases["a"]], [cases["b"]]), loading())
