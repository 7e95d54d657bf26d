"""Levels of augmentation: what each draws, with image and label still one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandBiasFieldd
from phantoms import meta_tensor

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.transforms import ForegroundSlicesd, RandEvenZoomd, SliceChannels
from monai_vggunet.transforms.augmentation import LEVELS, augmentation_of, random_steps

# What changes intensities, switched off: image and label can then be compared.
SPATIAL_ALONE = {
    f"{name}_prob": 0.0 for name in ("gamma", "jitter", "noise", "smooth", "low_resolution", "bias_field", "gray")
}
ROI = (32, 32)
UNCHANGED = SliceChannels("window", [(0.0, 1.0)])


def spec_of(modality: str = "MR", names: tuple[str, ...] = ("background", "liver"), **changes: Any) -> ModelSpec:
    prep = Preprocessing(modality, "axial", (1.0, 1.0), ROI, ((0.0, 1.0),)).overridden(changes)
    return ModelSpec({"in_channels": prep.in_channels, "out_channels": len(names)}, prep, list(names))


def case_of(label: np.ndarray) -> dict[str, Any]:
    """A case whose image is its label."""
    return ForegroundSlicesd("label")(
        {"image": meta_tensor(label[None].astype(np.float32)), "label": meta_tensor(label[None])}
    )


def blocks() -> np.ndarray:
    label = np.zeros((60, 70, 5), dtype=np.uint8)
    label[20:40, 22:35], label[5:12, 50:64] = 1, 1
    return label


def samples(level: str, spec: ModelSpec, seed: int, channels: SliceChannels | None = None, **own: Any) -> list[Any]:
    steps = random_steps(augmentation_of(level, **own), spec, channels or UNCHANGED, 4)
    return Compose(steps).set_random_state(seed)(case_of(blocks()))


@pytest.mark.parametrize("level", list(LEVELS))
def test_image_and_label_share_every_spatial_draw(level: str) -> None:
    """Away from borders, where the image is interpolated and the label is not."""
    for seed in range(5):
        for sample in samples(level, spec_of(), seed, **SPATIAL_ALONE):
            image, label = sample["image"][0], sample["label"][0]
            assert image.shape == label.shape == ROI
            assert ((image > 0.5) == (label > 0.5)).float().mean() > 0.97
            assert set(label.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("level", list(LEVELS))
def test_a_level_gives_finite_slices_and_repeats_them_by_its_seed(level: str) -> None:
    for modality in ("MR", "CT", PICTURE):
        first, again, other = (samples(level, spec_of(modality), seed) for seed in (3, 3, 4))
        assert all(torch.isfinite(sample["image"]).all() for sample in first)
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again))
        assert not all(torch.equal(a["image"], b["image"]) for a, b in zip(first, other))


def test_a_stronger_level_changes_slices_more() -> None:
    """The share of foreground in slices varies with the zoom, and with where they are drawn."""
    spread = {
        level: np.std([float(s["label"].mean()) for seed in range(12) for s in samples(level, spec_of(), seed)])
        for level in LEVELS
    }
    assert spread["article"] < spread["strong"]
    assert spread["standard"] < spread["strong"]


@pytest.mark.parametrize("level", list(LEVELS))
def test_foreground_drawn_as_such_stays_in_the_networks_input(level: str) -> None:
    label = np.zeros((100, 100, 3), dtype=np.uint8)
    label[0:3, 0:3], label[97:, 48:51] = 1, 1
    steps = random_steps(augmentation_of(level, foreground_share=1.0), spec_of(), UNCHANGED, 4)
    # a rotation may turn out of the input what lies at the crop's border
    found = [
        bool(sample["label"].any())
        for seed in range(25)
        for sample in Compose(steps).set_random_state(seed)(case_of(label))
    ]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize(
    ("names", "expected"), [(("background", "left kidney", "right kidney"), 1), (("background", "liver"), 4)]
)
def test_no_level_mirrors_where_names_tell_sides_apart(names: tuple[str, ...], expected: int) -> None:
    only_mirrors = {"affine_prob": 0.0, "elastic_prob": 0.0, **SPATIAL_ALONE}
    level = augmentation_of("strong", **only_mirrors)
    steps = Compose(random_steps(level, spec_of(names=names), UNCHANGED, 1))
    small = case_of(blocks()[20:50, 22:52, :1])  # it lies in the middle of its crop
    found = {tuple(steps.set_random_state(seed)(small)[0]["label"].flatten().tolist()) for seed in range(30)}
    assert len(found) == expected


def test_pictures_are_turned_all_around_and_bodies_are_not() -> None:
    steps = {
        kind: random_steps(LEVELS["strong"], spec_of(kind), SliceChannels("color", [(0, 1)]), 1)
        for kind in ("MR", PICTURE)
    }
    ranges = {kind: steps[kind][1].rand_affine.rand_affine_grid.rotate_range[0] for kind in steps}
    assert ranges[PICTURE] == pytest.approx(np.pi)
    assert ranges["MR"] == pytest.approx(np.pi / 6)


@pytest.mark.parametrize(("modality", "expected"), [("MR", True), ("CT", False), (PICTURE, False)])
def test_bias_fields_are_for_mr_alone(modality: str, expected: bool) -> None:
    steps = random_steps(LEVELS["strong"], spec_of(modality), UNCHANGED, 1)
    assert any(isinstance(step, RandBiasFieldd) for step in steps) is expected


@pytest.mark.parametrize(("modality", "expected"), [("MR", 1), ("CT", 20)])
def test_windows_are_jittered_in_ct_alone(modality: str, expected: int) -> None:
    own = {"affine_prob": 0.0, "elastic_prob": 0.0, "foreground_share": 1.0, **SPATIAL_ALONE}
    wide = SliceChannels("window", [(-1.0, 3.0)])
    draws = [samples("strong", spec_of(modality), seed, wide, **own) for seed in range(5)]
    brightest = {float(sample["image"].max()) for draw in draws for sample in draw}
    assert len(brightest) == expected
    assert all(0.36 < value < 0.64 for value in brightest)  # 0.5, moved and widened by a tenth of the width at most


def test_an_even_zoom_keeps_proportions() -> None:
    zoom = RandEvenZoomd(
        ["image"], prob=1.0, scale_range=((-0.3, 0.4), (-0.3, 0.4)), mode="nearest", padding_mode="zeros"
    )
    zoom.set_random_state(0)
    image = torch.zeros(1, 200, 200)
    image[:, 70:130, 70:130] = 1
    sides = []
    for _ in range(20):
        zoomed = zoom({"image": image})["image"][0]
        rows, columns = (int(zoomed.amax(axis).sum()) for axis in (1, 0))
        assert abs(rows - columns) <= 1
        sides.append(rows)
    assert min(sides) < 55
    assert max(sides) > 70


def test_an_unknown_level_and_an_unknown_attribute_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="augmentation is 'weak'; expected one of article, standard, strong"):
        augmentation_of("weak")
    assert augmentation_of("standard", flip_prob=0.25) == replace(LEVELS["standard"], flip_prob=0.25)
