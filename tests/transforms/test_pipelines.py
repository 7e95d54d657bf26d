"""From a source's grid to the network's and back: planes, spacing, intensities, and what a model refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_phantoms import write_series
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, SaveImaged
from phantoms import affine_of, ct_array, label_array, voxels_in_world, write_case, write_nifti
from PIL import Image
from pipeline_phantoms import SERIES_ORIENTATIONS, SHAPE, on_network_grid, spec_of, write_dicom_case

from monai_vggunet.data import ModelSpec
from monai_vggunet.data.model_spec import AXCODES
from monai_vggunet.errors import GridMismatchError, ModelMismatchError
from monai_vggunet.transforms import (
    inference_postprocessing,
    inference_preprocessing,
    loading,
    training_preprocessing,
)


def predicted_and_inverted(case: dict[str, str], spec: ModelSpec, *last: Any) -> MetaTensor:
    """Give the case's own label as the prediction and bring it back."""
    preprocessing = inference_preprocessing(spec)
    data = preprocessing(case)
    pred = on_network_grid(loading()(case)["label"], spec)
    assert pred.shape == data["image"].shape
    data["pred"] = MetaTensor(pred.as_tensor().to(torch.uint8)).copy_meta_from(data["image"])
    return inference_postprocessing(preprocessing, *last)(data)["pred"]


@pytest.mark.parametrize("make", [inference_preprocessing, training_preprocessing])
def test_pipelines_are_flat_with_loading_at_the_top(make: Any) -> None:
    steps = make(spec_of()).transforms
    assert isinstance(steps[0], LoadImaged)
    assert not any(isinstance(step, Compose) for step in steps)


def test_saving_stands_at_the_top_of_postprocessing(tmp_path: Path) -> None:
    save = SaveImaged("pred", output_dir=tmp_path)
    steps = inference_postprocessing(inference_preprocessing(spec_of()), save).transforms
    assert steps[-1] is save
    assert not any(isinstance(step, Compose) for step in steps)


def test_series_of_another_plane_is_refused_by_a_model(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a", "sagittal")
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        inference_preprocessing(spec_of())(case)
    assert isinstance(caught.value.__cause__, GridMismatchError)
    assert "acquired in sagittal slices" in str(caught.value.__cause__)
    assert inference_preprocessing(spec_of(), reslice=True)(case)["image"].ndim == 4


def test_series_of_another_modality_is_refused_by_a_model(tmp_path: Path) -> None:
    case = write_dicom_case(tmp_path)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        inference_preprocessing(spec_of(modality="MR"))(case)
    assert isinstance(caught.value.__cause__, ModelMismatchError)
    assert "is of modality CT, the model was trained on MR" in str(caught.value.__cause__)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_stand_as_radiologists_see_them(tmp_path: Path, plane: str) -> None:
    affine = affine_of(plane, (0.6, 0.8, 3.0))
    path = write_nifti(tmp_path / "i.nii", (label_array() * 100).astype(np.int16), affine)
    image = inference_preprocessing(spec_of(plane=plane, spacing_mm=(0.8, 0.6)))({"image": str(path)})["image"]
    assert image.shape == (1, 16, 20, 6)  # rows, columns, slices
    assert "".join(nib.aff2axcodes(image.affine.numpy())) == AXCODES[plane]
    for value in (100, 200):
        np.testing.assert_allclose(
            voxels_in_world(image.numpy()[0], image.affine.numpy(), value),
            voxels_in_world(label_array() * 100, affine, value),
        )


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_label_given_as_prediction_of_a_nifti_returns_exactly_to_its_grid(tmp_path: Path, plane: str) -> None:
    case = write_case(tmp_path, "a", plane, spacing_mm=(0.6, 0.8, 3.0))
    name = "axial" if plane == "oblique" else plane
    pred = predicted_and_inverted(case, spec_of(plane=name, spacing_mm=(0.4, 0.2)))
    assert pred.dtype == torch.uint8
    np.testing.assert_array_equal(pred.numpy()[0], label_array())
    np.testing.assert_allclose(pred.affine.numpy(), nib.load(case["image"]).affine, atol=1e-6)


@pytest.mark.parametrize("plane", list(SERIES_ORIENTATIONS))
def test_label_given_as_prediction_of_a_series_returns_exactly_to_its_grid(tmp_path: Path, plane: str) -> None:
    case = write_dicom_case(tmp_path, plane=plane)
    name = "axial" if plane == "oblique" else plane
    pred = predicted_and_inverted(case, spec_of(plane=name, spacing_mm=(0.4, 0.2)))
    np.testing.assert_array_equal(pred.numpy()[0], label_array())
    np.testing.assert_allclose(pred.affine.numpy(), nib.load(case["label"]).affine, atol=1e-5)
    assert pred.meta["series_uid"]


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (2, 0, 1)])
def test_source_with_its_axes_in_another_order_gets_its_mask_in_that_order(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    affine = affine_of("axial", (0.6, 0.8, 3.0))
    affine[:, :3] = affine[:, order]
    label = label_array().transpose(order)
    image = write_nifti(tmp_path / "i.nii", ct_array(label_array()).transpose(order), affine)
    labels = write_nifti(tmp_path / "l.nii", label, affine)
    pred = predicted_and_inverted({"image": str(image), "label": str(labels)}, spec_of(spacing_mm=(0.4, 0.2)))
    np.testing.assert_array_equal(pred.numpy()[0], label)
    np.testing.assert_allclose(pred.affine.numpy(), affine, atol=1e-6)


def test_sheared_source_gets_its_mask_with_its_shear(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    label = label_array()
    write_series(folder, ct_array(label).transpose(2, 1, 0), shear_mm=0.7)
    affine = loading(with_label=False)({"image": str(folder)})["image"].affine.numpy()
    assert abs(affine[:3, 1] @ affine[:3, 2]) > 0.1
    labels = write_nifti(tmp_path / "l.nii", label, affine)
    pred = predicted_and_inverted({"image": str(folder), "label": str(labels)}, spec_of(spacing_mm=(0.4, 0.2)))
    np.testing.assert_array_equal(pred.numpy()[0], label)
    np.testing.assert_allclose(pred.affine.numpy(), affine, atol=1e-9)


@pytest.mark.parametrize("spacing", [(0.7, 1.3), (1.1, 0.9), (1.8, 1.8)])
def test_any_spacing_returns_to_the_sources_grid_within_a_voxel(tmp_path: Path, spacing: tuple[float, float]) -> None:
    label = np.zeros((40, 44, 3), dtype=np.uint8)
    label[8:30, 14:38] = 1
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    pred = predicted_and_inverted({"image": str(image), "label": str(labels)}, spec_of(spacing_mm=spacing)).numpy()[0]
    assert pred.shape == label.shape
    bounds = [np.concatenate([np.argwhere(a).min(0), np.argwhere(a).max(0)]) for a in (pred, label)]
    assert np.abs(bounds[0] - bounds[1]).max() <= 1  # half a pixel of the network's grid, 0.9 mm


@pytest.mark.parametrize("shape", [(20, 16), (20, 16, 1)], ids=["2D", "one slice"])
def test_flat_source_goes_there_and_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    label = label_array((20, 16, 1)).reshape(shape)
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    pred = predicted_and_inverted({"image": str(image), "label": str(labels)}, spec_of(spacing_mm=(0.5, 0.25)))
    np.testing.assert_array_equal(pred.numpy()[0, ..., 0], label.reshape(20, 16))
    np.testing.assert_allclose(pred.affine.numpy(), affine_of())


def test_label_of_inference_stays_on_the_sources_grid(tmp_path: Path) -> None:
    data = inference_preprocessing(spec_of(spacing_mm=(0.5, 0.5)), with_label=True)(write_case(tmp_path, "a"))
    assert data["image"].shape == (1, 32, 40, 6)
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array())


def test_ct_stays_in_hu(tmp_path: Path) -> None:
    """Windows are taken slice by slice: to clip the volume before would only cost time and memory."""
    image = inference_preprocessing(spec_of())(write_case(tmp_path, "a"))["image"]
    source = ct_array(label_array())
    np.testing.assert_allclose(np.sort(image.numpy().ravel()), np.sort(source.ravel()), atol=1e-3)


@pytest.mark.parametrize("factor", [1.0, 40.0])
def test_mr_is_scaled_by_its_own_percentiles(tmp_path: Path, factor: float) -> None:
    values = np.random.default_rng(0).gamma(2.0, 50.0, SHAPE).astype(np.float32)
    image = write_nifti(tmp_path / "i.nii", values * factor, affine_of())
    spec = spec_of(modality="MR", windows=((0.0, 1.0),))
    scaled = inference_preprocessing(spec)({"image": str(image)})["image"].numpy()
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.clip((values - low) / (high - low), 0, 1)
    np.testing.assert_allclose(np.sort(scaled.ravel()), np.sort(expected.ravel()), atol=1e-4)


def test_constant_mr_volume_stays_finite(tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "i.nii", np.full(SHAPE, 7.0, dtype=np.float32), affine_of())
    spec = spec_of(modality="MR", windows=((0.0, 1.0),))
    scaled = inference_preprocessing(spec)({"image": str(image)})["image"]
    assert bool(torch.isfinite(scaled).all())


def test_color_picture_goes_through_training_and_inference(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    label = np.zeros((40, 36), dtype=np.uint8)
    label[4:12, 6:30] = 1
    Image.fromarray(pixels).save(tmp_path / "i.png")
    Image.fromarray(label).save(tmp_path / "l.png")
    case = {"image": str(tmp_path / "i.png"), "label": str(tmp_path / "l.png")}
    spec = spec_of(
        ("background", "cell"),
        modality="PICTURE",
        plane="picture",
        windows=((0.0, 1.0),),
        channels="color",
        image_channels=3,
    )
    image = inference_preprocessing(spec)(case)["image"]
    assert image.shape == (3, 36, 40, 1)  # MONAI's reader gives columns first
    np.testing.assert_allclose(image.numpy()[..., 0].transpose(2, 1, 0), pixels / 255, atol=1e-6)
    sample = training_preprocessing(spec, num_samples=1, foreground_share=1.0).set_random_state(0)(case)[0]
    assert sample["image"].shape == (3, 32, 32)
    assert bool(sample["label"].any())
