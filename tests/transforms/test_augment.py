from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from phantoms import meta_tensor

from monai_vggunet.transforms import (
    ForegroundSlicesd,
    RandColorJitterd,
    RandGrayscaled,
    RandSliceSamplesd,
    SliceChannels,
)

IDENTITY = SliceChannels("windows", [(0.0, 1.0)])


def volume_of(label: np.ndarray) -> dict[str, Any]:
    """Return a volume whose image is its label, scaled to 0..1, with the slices of each class noted."""
    data = {"image": meta_tensor(label[None].astype(np.float32) / 8), "label": meta_tensor(label[None])}
    return ForegroundSlicesd("label")(data)


def label_with(shape: tuple[int, int, int], points: dict[int, tuple[int, int, int]]) -> np.ndarray:
    label = np.zeros(shape, dtype=np.uint8)
    for number, point in points.items():
        label[point] = number
    return label


def samples_of(label: np.ndarray, roi: tuple[int, int], seed: int = 0, **options: Any) -> list[dict[Any, Any]]:
    return RandSliceSamplesd(IDENTITY, roi, **options).set_random_state(seed)(volume_of(label))


def input_part(crop: torch.Tensor, roi: tuple[int, int]) -> torch.Tensor:
    """Return the middle of a crop, which the network sees where nothing is rotated."""
    start = [(n - size) // 2 for n, size in zip(crop.shape[1:], roi)]
    return crop[:, start[0] : start[0] + roi[0], start[1] : start[1] + roi[1]]


# Slices with foreground


def test_slices_of_each_class_are_noted() -> None:
    label = np.zeros((4, 4, 6), dtype=np.uint8)
    label[1, 1, [0, 3]], label[2, 2, 3] = 1, 5
    noted = volume_of(label)["foreground_slices"]
    assert {number: slices.tolist() for number, slices in noted.items()} == {1: [0, 3], 5: [3]}


def test_samples_have_the_size_of_a_crop_with_its_margin() -> None:
    samples = samples_of(label_with((50, 60, 4), {1: (20, 30, 2)}), (32, 48), num_samples=3)
    assert [(s["image"].shape, s["label"].shape) for s in samples] == [((1, 40, 60), (1, 40, 60))] * 3
    assert set(samples[0]) == {"image", "label"}


@pytest.mark.parametrize(("share", "certain"), [(0.0, 0), (0.1, 1), (0.5, 2), (0.67, 3), (1.0, 4)])
def test_share_of_the_samples_that_hold_foreground_is_certain(share: float, certain: int) -> None:
    label = label_with((64, 64, 200), {1: (30, 40, 117)})  # random slices nearly never hold the only foreground voxel
    found = [
        sum(bool(s["label"].any()) for s in samples_of(label, (16, 16), seed, num_samples=4, foreground_share=share))
        for seed in range(10)
    ]
    assert min(found) == certain


@pytest.mark.parametrize("place", [(0, 0), (0, 99), (99, 50), (99, 99), (40, 60)])
@pytest.mark.parametrize("roi", [(32, 32), (64, 80), (96, 96), (128, 128)])
def test_foreground_at_the_border_of_a_slice_is_in_the_networks_input(
    place: tuple[int, int], roi: tuple[int, int]
) -> None:
    label = label_with((100, 100, 3), {2: (*place, 1)})
    for seed in range(10):
        for sample in samples_of(label, roi, seed, num_samples=2, foreground_share=1.0):
            assert (input_part(sample["label"], roi) == 2).sum() == 1


def test_rare_class_is_drawn_as_often_as_a_frequent_one() -> None:
    label = np.zeros((32, 32, 20), dtype=np.uint8)
    label[4:28, 4:12] = 1  # everywhere
    label[20, 24, 7] = 2  # a single voxel
    samples = samples_of(label, (16, 16), num_samples=200, foreground_share=1.0)
    with_rare = sum(bool((s["label"] == 2).any()) for s in samples)
    assert 70 < with_rare < 130


def test_volume_without_foreground_gives_background() -> None:
    samples = samples_of(np.zeros((20, 20, 5), dtype=np.uint8), (16, 16), num_samples=2, foreground_share=1.0)
    assert [int(s["label"].max()) for s in samples] == [0, 0]


@pytest.mark.parametrize("shape", [(50, 60, 4), (10, 12, 4), (10, 60, 1), (36, 36, 2)])
def test_image_and_label_are_cut_at_the_same_place(shape: tuple[int, int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 8, shape).astype(np.uint8)
    for sample in samples_of(label, (32, 32), num_samples=20, foreground_share=0.5):
        torch.testing.assert_close(sample["image"] * 8, sample["label"])


def test_small_slice_lies_in_the_middle_of_its_crop() -> None:
    label = np.full((10, 12, 2), 3, dtype=np.uint8)
    sample = samples_of(label, (16, 16), num_samples=1)[0]["label"]
    assert sample.shape == (1, 20, 20)
    rows, columns = (torch.nonzero(sample[0].amax(axis)).flatten().tolist() for axis in (1, 0))
    assert rows == list(range(5, 15))
    assert columns == list(range(4, 16))


def test_foreground_is_not_always_in_the_middle() -> None:
    label = label_with((100, 100, 1), {1: (50, 50, 0)})
    samples = samples_of(label, (32, 32), num_samples=30, foreground_share=1.0)
    assert len({tuple(s["label"].nonzero()[0].tolist()) for s in samples}) > 20


def test_same_seed_draws_the_same_samples_and_another_seed_others() -> None:
    label = np.random.default_rng(0).integers(0, 3, (50, 60, 8)).astype(np.uint8)
    first, again, other = (samples_of(label, (16, 16), seed, num_samples=4) for seed in (1, 1, 2))
    assert all(torch.equal(a["label"], b["label"]) for a, b in zip(first, again))
    assert not all(torch.equal(a["label"], b["label"]) for a, b in zip(first, other))


def test_seed_of_a_pipeline_reaches_the_draw() -> None:
    data = volume_of(np.random.default_rng(0).integers(0, 3, (50, 60, 8)).astype(np.uint8))
    draws = []
    for _ in range(2):
        pipeline = Compose([RandSliceSamplesd(IDENTITY, (16, 16), 3)]).set_random_state(7)
        draws.append(torch.stack([s["label"] for s in pipeline(data)]))
    assert torch.equal(*draws)


# Colors


def colors(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(seed))


def test_gray_is_the_luminance_in_three_channels() -> None:
    gray = RandGrayscaled("image", prob=1.0)({"image": colors()})["image"]
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601, as torchvision
    torch.testing.assert_close(gray, (colors() * weights).sum(0, keepdim=True).expand(3, -1, -1), atol=2e-4, rtol=0)


def test_gray_leaves_other_numbers_of_channels_alone() -> None:
    image = torch.rand(2, 8, 9)
    assert RandGrayscaled("image", prob=1.0)({"image": image})["image"] is image


def test_gray_comes_with_its_probability() -> None:
    transform = RandGrayscaled("image", prob=0.2).set_random_state(0)
    turned = sum(not torch.equal(transform({"image": colors()})["image"], colors()) for _ in range(500))
    assert 70 < turned < 130


@pytest.mark.parametrize("transform", [RandGrayscaled("image", prob=0.0), RandColorJitterd("image", prob=0.0)])
def test_nothing_changes_without_probability(transform: Any) -> None:
    image = colors()
    assert transform({"image": image})["image"] is image


@pytest.mark.parametrize("color", [False, True])
def test_jitter_stays_between_zero_and_one_and_changes_values(color: bool) -> None:
    transform = RandColorJitterd("image", 1.0, 0.9, 0.9, 0.9, 0.4, color=color).set_random_state(0)
    for seed in range(20):
        changed = transform({"image": colors(seed)})["image"]
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not torch.allclose(changed, colors(seed))


def test_brightness_is_a_factor_within_its_range() -> None:
    transform = RandColorJitterd("image", 1.0, brightness=0.2, contrast=0.0).set_random_state(0)
    image = colors() * 0.5  # bright enough for a factor of 1.2 without clipping
    factors = [(transform({"image": image})["image"] / image).mean().item() for _ in range(50)]
    assert 0.8 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.2


def test_contrast_keeps_the_mean() -> None:
    transform = RandColorJitterd("image", 1.0, brightness=0.0, contrast=0.3).set_random_state(0)
    image = colors() * 0.4 + 0.3
    changed = transform({"image": image})["image"]
    assert changed.mean().item() == pytest.approx(image.mean().item(), abs=1e-5)
    assert changed.std().item() != pytest.approx(image.std().item(), rel=0.01)


def test_channels_that_are_no_colors_are_not_mixed() -> None:
    image = torch.stack([torch.full((8, 9), v) for v in (0.2, 0.5, 0.5)])
    changed = RandColorJitterd("image", 1.0, hue=0.5, color=False).set_random_state(0)({"image": image})["image"]
    assert torch.equal(changed[1], changed[2])


def test_hue_turns_colors() -> None:
    image = torch.zeros(3, 8, 9)
    image[0] = 0.8
    transform = RandColorJitterd("image", 1.0, 0.0, 0.0, 0.0, hue=0.3, color=True).set_random_state(0)
    changed = transform({"image": image})["image"]
    assert changed[0].min() < 0.79 or changed[1:].max() > 0.01
    assert changed.amax(0).mean().item() == pytest.approx(0.8, abs=1e-3)  # the value stays, the hue turns


def test_keys_share_one_draw() -> None:
    transform = RandColorJitterd(("a", "b"), 0.5).set_random_state(0)
    for _ in range(10):
        result = transform({"a": colors(), "b": colors()})
        assert torch.equal(result["a"], result["b"])


def test_jitter_is_repeated_by_its_seed() -> None:
    first, again, other = (
        RandColorJitterd("image", 1.0).set_random_state(seed)({"image": colors()})["image"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_label_is_not_touched() -> None:
    label = torch.ones(1, 8, 9)
    data = {"image": colors(), "label": label}
    assert RandColorJitterd("image", 1.0)(RandGrayscaled("image", 1.0)(data))["label"] is label
