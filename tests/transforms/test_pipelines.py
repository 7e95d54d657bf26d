from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, write_series
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, LoadImaged, Orientation, Randomizable, SaveImaged
from phantoms import affine_of, ct_array, label_array, voxels_in_world, write_case, write_nifti
from PIL import Image

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.data.model_spec import AXCODES
from monai_vggunet.errors import (
    GridMismatchError,
    ImageContentError,
    LabelContentError,
    ModelMismatchError,
    SeriesSelectionError,
)
from monai_vggunet.transforms import (
    InPlaneSpacing,
    inference_postprocessing,
    inference_preprocessing,
    loading,
    slice_channels,
    training_preprocessing,
)

SHAPE = (20, 16, 6)
SERIES_ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}
NO_AUGMENTATION = {
    f"{name}_prob": 0.0 for name in ("affine", "flip", "elastic", "gamma", "jitter", "noise", "smooth", "gray")
}


def spec_of(names: tuple[str, ...] = ("background", "liver", "spleen"), **changes: Any) -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-100.0, 300.0),)).overridden(changes)
    network = {"in_channels": prep.in_channels, "out_channels": len(names)}
    return ModelSpec(network, prep, list(names))


def write_dicom_case(root: Path, name: str = "a", plane: str = "axial") -> dict[str, str]:
    """Write a CT series of 0.8 mm between rows and 0.6 mm between columns, and its label as NIfTI on its grid."""
    label = label_array(SHAPE)
    folder = root / "images" / name
    write_series(folder, ct_array(label).transpose(2, 1, 0), orientation=SERIES_ORIENTATIONS[plane])
    affine = loading(with_label=False)({"image": str(folder)})["image"].affine.numpy()
    labels = write_nifti(root / "labels" / f"{name}.nii.gz", label, affine)
    return {"image": str(folder), "label": str(labels), "case": name}


def on_network_grid(label: MetaTensor, spec: ModelSpec) -> MetaTensor:
    """Bring a label where the network's predictions lie."""
    prep = spec.preprocessing
    return InPlaneSpacing(prep.spacing_mm, "nearest")(Orientation(axcodes=AXCODES[prep.plane], labels=None)(label))


def predicted_and_inverted(case: dict[str, str], spec: ModelSpec, *last: Any) -> MetaTensor:
    """Give the case's own label as the prediction and bring it back."""
    preprocessing = inference_preprocessing(spec)
    data = preprocessing(case)
    pred = on_network_grid(loading()(case)["label"], spec)
    assert pred.shape == data["image"].shape
    data["pred"] = MetaTensor(pred.as_tensor().to(torch.uint8)).copy_meta_from(data["image"])
    return inference_postprocessing(preprocessing, *last)(data)["pred"]


def cause_of(error: BaseException) -> BaseException | None:
    return error.__cause__


# Loading


def test_nifti_is_loaded_with_its_label(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a", "oblique")
    data = loading()(case)
    assert data["image"].shape == data["label"].shape == (1, *SHAPE)
    np.testing.assert_array_equal(data["image"].numpy()[0], ct_array(label_array()))
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array())
    np.testing.assert_allclose(data["image"].affine.numpy(), nib.load(case["image"]).affine)
    assert data["label"].dtype == torch.uint8
    assert data["case"] == "a"


@pytest.mark.parametrize("plane", list(SERIES_ORIENTATIONS))
def test_dicom_series_is_loaded_with_its_label(tmp_path: Path, plane: str) -> None:
    data = loading()(write_dicom_case(tmp_path, plane=plane))
    np.testing.assert_array_equal(data["image"].numpy()[0], ct_array(label_array()))
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array())
    assert torch.equal(data["image"].affine, data["label"].affine)
    assert data["image"].meta["modality"] == "CT"


def test_label_with_its_axes_in_another_order_is_brought_onto_the_image(tmp_path: Path) -> None:
    case = write_dicom_case(tmp_path, plane="coronal")
    for codes in ("RAS", "LPI", "SAR", "ASL"):
        stored = nib.load(case["label"])
        axes = nib.orientations.ornt_transform(
            nib.io_orientation(stored.affine), nib.orientations.axcodes2ornt(tuple(codes))
        )
        path = tmp_path / f"{codes}.nii.gz"
        nib.save(stored.as_reoriented(axes), path)
        label = loading()(case | {"label": str(path)})["label"]
        np.testing.assert_array_equal(label.numpy()[0], label_array())


@pytest.mark.parametrize("shape", [(20, 16), (20, 16, 1)], ids=["2D", "one slice"])
def test_flat_nifti_becomes_a_volume_of_one_slice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    label = label_array((20, 16, 1)).reshape(shape)
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    data = loading()({"image": str(image), "label": str(labels)})
    assert data["image"].shape == data["label"].shape == (1, 20, 16, 1)
    np.testing.assert_allclose(data["image"].affine.numpy(), affine_of())


def test_two_dimensional_label_fits_an_image_of_one_slice(tmp_path: Path) -> None:
    label = label_array((20, 16, 1))
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label[..., 0], affine_of())
    np.testing.assert_array_equal(
        loading()({"image": str(image), "label": str(labels)})["label"].numpy()[0], label_array((20, 16, 1))
    )


def test_options_reach_the_dicom_reader(tmp_path: Path) -> None:
    for modality in ("CT", "MR"):
        stored = np.full((3, 8, 6), 7 if modality == "MR" else 9, dtype=np.int16)
        write_series(tmp_path / "study", stored, Modality=modality, prefix=f"{modality}_")
    case = {"image": str(tmp_path / "study")}
    assert loading(False, reader_options={"modality": "MR"})(case)["image"].unique().tolist() == [7.0]
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading(False)(case)
    assert isinstance(cause_of(caught.value), SeriesSelectionError)


# Refusals arrive as the cause


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("nan", ImageContentError, "holds 1 NaN or infinite values"),
        ("4D", ImageContentError, "4 channels or time points"),
        ("3 times", ImageContentError, "3 channels or time points of 6 slices"),
        ("class", LabelContentError, r"holds the values \[9\.?0?\]; expected whole class numbers from 0 to 2"),
        ("grid", GridMismatchError, r"label .*l\.nii does not fit image .*i\.nii"),
        ("shape", GridMismatchError, "are not on one grid"),
    ],
)
def test_case_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, change: str, kind: type[Exception], message: str
) -> None:
    image, label, affine = ct_array(label_array()).astype(np.float32), label_array(), affine_of()
    if change == "nan":
        image[3, 3, 3] = np.nan
    elif change == "4D":
        image = np.stack([image] * 4, -1)
    elif change == "3 times":
        image = np.stack([image] * 3, -1)
    elif change == "class":
        label[0, 0, 0] = 9
    elif change == "shape":
        label = label[:-1]
    image_file = write_nifti(tmp_path / "i.nii", image, affine)
    label_file = write_nifti(tmp_path / "l.nii", label, affine_of("axial", (1, 1, 4)) if change == "grid" else affine)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading(n_classes=3)({"image": str(image_file), "label": str(label_file)})
    with pytest.raises(kind, match=message):
        raise cause_of(caught.value) or caught.value


def test_series_of_another_plane_is_refused_by_a_model(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a", "sagittal")
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        inference_preprocessing(spec_of())(case)
    assert isinstance(cause_of(caught.value), GridMismatchError)
    assert "acquired in sagittal slices" in str(cause_of(caught.value))
    assert inference_preprocessing(spec_of(), reslice=True)(case)["image"].ndim == 4


def test_series_of_another_modality_is_refused_by_a_model(tmp_path: Path) -> None:
    case = write_dicom_case(tmp_path)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        inference_preprocessing(spec_of(modality="MR"))(case)
    assert isinstance(cause_of(caught.value), ModelMismatchError)
    assert "is of modality CT, the model was trained on MR" in str(cause_of(caught.value))


# Shape of the pipelines


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


# To the network's grid and back


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


# Intensities


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


# Training


def deterministic_part(spec: ModelSpec) -> Compose:
    steps = training_preprocessing(spec).transforms
    first_random = next(i for i, step in enumerate(steps) if isinstance(step, Randomizable))
    return Compose(steps[:first_random])


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_training_sees_what_inference_will_see(tmp_path: Path, modality: str, plane: str) -> None:
    spec = spec_of(plane=plane, modality=modality, spacing_mm=(0.7, 0.6))
    if modality == "MR":
        spec = replace(spec, preprocessing=spec.preprocessing.overridden({"windows": ((0.0, 1.0),)}))
    case = write_case(tmp_path, "a", plane)
    trained, inferred = deterministic_part(spec)(case), inference_preprocessing(spec)(case)
    assert trained["image"].shape == inferred["image"].shape
    torch.testing.assert_close(trained["image"].affine, inferred["image"].affine)
    channels, indices = slice_channels(spec.preprocessing), range(trained["image"].shape[-1])
    half_precision = 2e-3 if modality == "MR" else 1e-3  # of the window: the cache holds float16
    torch.testing.assert_close(
        channels(trained["image"].as_tensor(), indices),
        channels(inferred["image"].as_tensor(), indices),
        atol=half_precision,
        rtol=0,
    )


def test_label_of_training_lies_on_the_images_grid(tmp_path: Path) -> None:
    spec = spec_of(spacing_mm=(0.5, 0.5))
    case = write_case(tmp_path, "a")
    data = deterministic_part(spec)(case)
    assert data["label"].dtype == torch.uint8
    assert torch.equal(data["label"].affine, data["image"].affine)
    assert torch.equal(data["label"].as_tensor(), on_network_grid(loading()(case)["label"], spec).as_tensor().byte())


def test_samples_are_normalized_slices_with_integer_labels(tmp_path: Path) -> None:
    pipeline = training_preprocessing(spec_of(), num_samples=6, elastic_prob=1.0).set_random_state(0)
    samples = pipeline(write_case(tmp_path, "a"))
    assert len(samples) == 6
    for sample in samples:
        assert sample["image"].shape == (3, 32, 32)
        assert sample["label"].shape == (1, 32, 32)
        assert bool(torch.isfinite(sample["image"]).all())
        assert set(sample["label"].unique().tolist()) <= {0.0, 1.0, 2.0}
        assert float(sample["image"].min()) > -6
        assert float(sample["image"].max()) < 7


def test_image_and_label_share_every_spatial_draw(tmp_path: Path) -> None:
    # An image that is its own label tells class by class where it went; only at edges it is interpolated.
    label = np.zeros((48, 40, 4), dtype=np.uint8)
    label[6:26, 4:30], label[30:44, 12:34] = 1, 2
    image = write_nifti(tmp_path / "i.nii", (label * 100).astype(np.int16), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    spec = spec_of(windows=((0.0, 200.0),), roi_size=(48, 48), channels="window")
    options = NO_AUGMENTATION | {"affine_prob": 1.0, "flip_prob": 0.5, "elastic_prob": 1.0}
    pipeline = training_preprocessing(spec, num_samples=12, **options).set_random_state(0)
    shapes = set()
    for sample in pipeline({"image": str(image), "label": str(labels)}):
        mean, std = 0.485, 0.229  # of red
        found = (sample["image"][0] * std + mean) * 2
        agreement = (found.round() == sample["label"][0]).float().mean()
        assert float(agreement) > 0.93
        shapes.add(sample["label"].sum().item())
    assert len(shapes) > 6  # the samples differ: something was drawn


def test_no_batch_is_without_foreground_even_at_the_border_of_a_slice(tmp_path: Path) -> None:
    label = np.zeros((90, 80, 12), dtype=np.uint8)
    label[0:4, 0:4, 5] = 1
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    spec = spec_of(("background", "liver"), roi_size=(48, 48))
    data = deterministic_part(spec)({"image": str(image), "label": str(labels)})
    steps = training_preprocessing(spec, foreground_share=1.0, affine_prob=1.0, num_samples=4).transforms
    random_part = Compose(steps[len(deterministic_part(spec).transforms) :]).set_random_state(0)
    for _ in range(10):
        assert all(bool(sample["label"].any()) for sample in random_part(data))


def sample_without_augmentation(case: dict[str, str], names: tuple[str, ...], flip_prob: float) -> torch.Tensor:
    options = NO_AUGMENTATION | {"flip_prob": flip_prob}
    pipeline = training_preprocessing(spec_of(names), num_samples=1, foreground_share=1.0, **options)
    return pipeline.set_random_state(0)(case)[0]["label"]


@pytest.mark.parametrize(
    "sided", [("background", "left kidney", "right kidney"), ("background", "Kidney_Left", "spleen")]
)
def test_classes_that_tell_the_sides_apart_are_never_mirrored(tmp_path: Path, sided: tuple[str, ...]) -> None:
    case = write_case(tmp_path, "a")
    plain = sample_without_augmentation(case, sided, 0.0)
    assert torch.equal(sample_without_augmentation(case, sided, 1.0), plain)
    unsided = ("background", "upright", "cleft")  # words that only contain a side
    assert torch.equal(sample_without_augmentation(case, unsided, 1.0), plain.flip(-1))


def test_training_is_repeated_by_its_seed(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    runs = []
    for seed in (3, 3, 4):
        samples = training_preprocessing(spec_of(), num_samples=3).set_random_state(seed)(case)
        runs.append(torch.stack([sample["image"] for sample in samples]))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_cache_holds_everything_before_the_first_draw(tmp_path: Path) -> None:
    pipeline = training_preprocessing(spec_of(), num_samples=2).set_random_state(0)
    case = write_case(tmp_path, "a")
    dataset = CacheDataset([case], pipeline, progress=False)
    for file in ("image", "label"):
        Path(case[file]).unlink()
    first, second = dataset[0], dataset[0]
    assert not torch.equal(first[0]["image"], second[0]["image"])


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
