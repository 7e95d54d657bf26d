"""Volumes are scaled by their percentiles, blank and nearly blank ones too, and these are named."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRangePercentiles, ScaleIntensityRangePercentilesd
from phantoms import meta_tensor

from monai_vggunet.transforms import ScaleByPercentiles, ScaleByPercentilesd


def scaled(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = meta_tensor(array[None].astype(np.float32), filename_or_obj="mr.nii")
        found = ScaleByPercentilesd("image", 0.5, 99.5)({"image": image})["image"]
    assert found.meta["filename_or_obj"] == "mr.nii"
    assert found.dtype == torch.float32
    return found.as_tensor()[0]


def test_volumes_are_scaled_to_the_last_bit_as_monai_scales_them() -> None:
    array = np.random.default_rng(0).gamma(2.0, 300.0, (20, 16, 6)).astype(np.float32)
    monai = ScaleIntensityRangePercentilesd("image", 0.5, 99.5, b_min=0.0, b_max=1.0, clip=True)
    assert torch.equal(scaled(array), monai({"image": meta_tensor(array[None])})["image"].as_tensor()[0])


@pytest.mark.parametrize("value", [0.0, 7.0, -3.5])
def test_a_blank_volume_becomes_nothing(value: float) -> None:
    assert not scaled(np.full((8, 8, 4), value)).any()


def test_a_nearly_blank_volume_keeps_its_contrast_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    array = np.zeros((20, 20, 10))
    array[3, 4, 5], array[3, 4, 6] = 400.0, 100.0
    found = scaled(array)
    assert (found[3, 4, 5], found[3, 4, 6], found.sum()) == (1.0, 0.25, 1.25)
    assert "mr.nii holds one value in nearly all of its voxels: its whole range, 0 to 400, is scaled" in caplog.text


def padded_volume(share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a volume `(1, 20, 20, 10)` with so many padded voxels at its lowest value, and where they are."""
    values = torch.rand(1, 20, 20, 10, generator=torch.Generator().manual_seed(0)) * 500 + 20
    padded = torch.zeros(values.shape, dtype=torch.bool)
    padded[:, : round(20 * share)] = True
    values[padded] = values[~padded].min()
    return values, padded


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_padded_voxels_move_no_percentile(share: float) -> None:
    values, padded = padded_volume(share)
    image = MetaTensor(values, meta={"padding_share": float(padded.float().mean()), "background": float(values.min())})
    low, high = torch.quantile(values[~padded], torch.tensor([0.005, 0.995])).tolist()
    scaled = ScaleByPercentilesd("image", 0.5, 99.5)({"image": image})["image"]
    expected = ((values - low) / (high - low)).clamp(0.0, 1.0)
    torch.testing.assert_close(scaled.as_tensor(), expected, atol=2e-3, rtol=0.0)
    assert not scaled.as_tensor()[padded].any()
    assert scaled.meta["padding_share"] == image.meta["padding_share"]


def test_a_volume_of_padding_alone_stays_finite() -> None:
    image = MetaTensor(torch.full((1, 3, 3, 2), 7.0), meta={"padding_share": 1.0, "background": 7.0})
    assert not ScaleByPercentiles(0.5, 99.5)(image).as_tensor().any()


def test_values_without_metadata_are_scaled_by_all_of_them() -> None:
    values, _ = padded_volume(0.0)
    expected = ScaleIntensityRangePercentiles(0.5, 99.5, 0.0, 1.0, clip=True)(values)
    assert torch.equal(ScaleByPercentiles(0.5, 99.5)(values), expected)
