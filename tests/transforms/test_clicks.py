"""Clicks land where they were made: from voxels of the file through every reorientation to the network's slices."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from phantoms import affine_of, ct_array, label_array, meta_tensor, write_nifti

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ClickError
from monai_vggunet.transforms import (
    KeepClicksd,
    clicked_slices,
    clicks_on_grid,
    draw_clicks,
    inference_preprocessing,
    slice_step,
)

NAMES = ["background", "liver", "Spleen"]


def spec(**options: object) -> ModelSpec:
    prep = {"modality": "CT", "plane": "axial", "spacing_mm": (0.8, 1.7), "roi_size": (32, 32), "n_guidance": 3}
    prepared = Preprocessing(**{**prep, "windows": ((0.0, 200.0),), "n_neighbors": 1, **options})  # type: ignore[arg-type]
    return ModelSpec({"in_channels": prepared.in_channels, "out_channels": 3}, prepared, NAMES)


def kept(clicks: dict) -> np.ndarray:
    image = meta_tensor(np.zeros((1, 20, 16, 6)), affine_of("oblique"))
    return KeepClicksd("image", NAMES)({"image": image, **clicks})["image"].meta["clicks"]


@pytest.mark.parametrize("plane", ["axial", "oblique"])
@pytest.mark.parametrize("flipped", [False, True])
def test_a_click_marks_the_same_tissue_before_and_after(tmp_path: Path, plane: str, flipped: bool) -> None:
    """One bright voxel is clicked; on the network's grid the click lies at the brightest place again."""
    array, affine = ct_array(label_array()) * 0 - 50, affine_of(plane)
    array[13:15, 4:6, 2] = 200
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(array, affine)
    if flipped:  # stored along other axes: indices count otherwise
        image = image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    nib.save(image, path)
    middle = np.argwhere(np.asarray(image.dataobj) == 200).mean(axis=0)
    loaded = inference_preprocessing(spec())({"image": str(path), "spleen": [middle.tolist()]})["image"]
    ((number, row, column, index),) = clicks_on_grid(loaded)
    bright = loaded[0, :, :, round(index)]
    weights = (bright > bright.max() / 2).float()
    rows, columns = torch.meshgrid(torch.arange(bright.shape[0]), torch.arange(bright.shape[1]), indexing="ij")
    expected = [float((weights * axis).sum() / weights.sum()) for axis in (rows, columns)]
    assert number == 2
    assert bright.max() > 150
    np.testing.assert_allclose([row, column], expected, atol=0.5)


def test_clicks_are_told_apart_by_class_whatever_the_case() -> None:
    clicks = kept({"SPLEEN": [[1, 2, 3], [4, 5, 0]], "liver": [], "background": [(0, 0, 0)], "device": "cpu"})
    assert sorted(clicks[:, 0]) == [0, 2, 2]


def test_no_clicks_are_none() -> None:
    assert kept({}).shape == (0, 4)


def test_foreground_means_the_only_class() -> None:
    image = meta_tensor(np.zeros((1, 4, 4, 4)), np.eye(4))
    both = {"image": image, "foreground": [[1, 1, 1]], "background": [[0, 0, 0]]}
    clicks = KeepClicksd("image", ["background", "kidney"])(both)["image"].meta["clicks"]
    assert sorted(clicks[:, 0]) == [0, 1]


@pytest.mark.parametrize(
    ("clicks", "word"),
    [
        ([[20, 0, 0]], "outside the image"),
        ([[0, -1, 0]], "outside the image"),
        ([["1", "2", "3"]], "expected three voxel indices"),
        (["1,2,3"], "expected three voxel indices"),
        ([[1, 2]], "expected three voxel indices"),
        ([[1, 2, float("nan")]], "expected three voxel indices"),
        ([[1, 2, True]], "expected three voxel indices"),
        ("[[1,2,3]]", "expected a list"),
        ({"a": 1}, "expected a list"),
    ],
)
def test_what_is_no_voxel_is_refused(clicks: object, word: str) -> None:
    with pytest.raises(ClickError, match=word):
        kept({"liver": clicks})


def test_a_spot_is_drawn_in_its_slice_and_class_alone() -> None:
    maps = draw_clicks(np.array([[2, 5.0, 3.0, 7.0]]), [6, 7], (12, 10), 3)
    assert maps.shape == (2, 3, 12, 10)
    assert maps[1, 2].argmax() == 5 * 10 + 3
    assert maps[1, 2].max() == 1.0
    maps[1, 2] = 0
    assert not maps.any()


def test_slices_within_reach_see_a_weaker_spot() -> None:
    click = np.array([[1, 5.0, 3.0, 7.0]])
    maps = draw_clicks(click, [4, 5, 6, 7, 8], (12, 10), 2, step=2.0)
    np.testing.assert_allclose(maps[:, 1].amax((1, 2)), [0, np.exp(-2), np.exp(-0.5), 1, np.exp(-0.5)], rtol=1e-6)
    assert clicked_slices(click, 20, 2.0) == [5, 6, 7, 8, 9]
    assert clicked_slices(click, 20, 5.0) == [7]
    assert clicked_slices(click, 8, 2.0) == [5, 6, 7]


def test_the_step_between_slices_is_in_pixels() -> None:
    assert slice_step(meta_tensor(np.zeros((1, 4, 4, 4)), np.diag([0.5, 2.0, 3.0, 1.0]))) == 3.0
    assert slice_step(torch.zeros(1, 4, 4, 4)) == np.inf


def test_a_model_without_clicks_looks_as_it_did() -> None:
    """`model.json` of before, which says nothing of clicks, means none."""
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((0.0, 1.0),))
    assert (prep.n_guidance, prep.in_channels) == (0, 3)


def test_one_class_fills_the_stem_of_three_channels() -> None:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((0.0, 1.0),), n_neighbors=1, n_guidance=2)
    assert prep.in_channels == 3


def test_a_study_with_another_affine_gives_the_click_another_place(tmp_path: Path) -> None:
    array = ct_array(label_array())
    places = []
    for plane in ("axial", "oblique"):
        path = write_nifti(tmp_path / f"{plane}.nii.gz", array, affine_of(plane))
        loaded = inference_preprocessing(spec())({"image": str(path), "liver": [[3, 4, 1]]})["image"]
        places.append(loaded.meta["clicks"][0, 1:])
        np.testing.assert_allclose(places[-1], (affine_of(plane) @ [3, 4, 1, 1])[:3], atol=1e-4)
    assert not np.allclose(*places)
