"""Samples for training: they lie where inference's slices lie, and every draw is shared and repeated by its seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, Randomizable
from phantoms import affine_of, ct_array, write_case, write_nifti
from pipeline_phantoms import on_network_grid, spec_of

from monai_vggunet.data import ModelSpec
from monai_vggunet.transforms import inference_preprocessing, loading, slice_channels, training_preprocessing

NO_AUGMENTATION = {
    f"{name}_prob": 0.0 for name in ("affine", "flip", "elastic", "gamma", "jitter", "noise", "smooth", "gray")
}


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
