"""Weights without batch norm are fitted to training slices, all others are left alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, RandomizableTransform
from vgg16_states import plain_vgg16_state

from monai_vggunet import VGG16UNet
from monai_vggunet.training import with_fitted_norms

SIZE = 32


class RandSlices(RandomizableTransform):
    """Two random slices of a case."""

    def __call__(self, data: Any) -> list[dict[str, torch.Tensor]]:
        draws = [self.R.random_sample((3, SIZE, SIZE)) * data for _ in range(2)]
        return [{"image": torch.as_tensor(draw, dtype=torch.float32)} for draw in draws]


class NoData:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the data were asked for")


def dataset() -> CacheDataset:
    return CacheDataset([1.0, 2.0, 3.0], Compose([RandSlices()]), progress=False)


@pytest.fixture
def plain_weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(plain_vgg16_state(), tmp_path / "vgg16.pt")
    return tmp_path / "vgg16.pt"


def test_plain_weights_are_fitted_and_the_log_says_so(plain_weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = VGG16UNet(pretrained=plain_weights, decoder_channels=[8, 8, 8, 8])
    with caplog.at_level(logging.INFO):
        assert with_fitted_norms(network, dataset()) is network
    assert "fitted to 16 training slices" in caplog.text
    norm = network.encoder.stages[0][1]
    assert not torch.equal(norm.running_var, torch.ones(64))
    assert not network.encoder.lacks_statistics


def test_every_process_and_every_run_fits_to_the_same_slices(plain_weights: Path) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(0)
        network = VGG16UNet(pretrained=plain_weights, decoder_channels=[8, 8, 8, 8])
        slices = dataset()
        slices.transform.set_random_state(seed=seed)
        np.random.seed(seed)
        found.append(with_fitted_norms(network, slices).encoder.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_model_that_takes_clicks_is_fitted_to_slices_without_any(plain_weights: Path) -> None:
    network = VGG16UNet(in_channels=5, pretrained=plain_weights, decoder_channels=[8, 8, 8, 8])
    with_fitted_norms(network, dataset())
    assert not network.encoder.lacks_statistics
    assert not torch.equal(network.encoder.stages[0][1].running_var, torch.ones(64))


def test_a_network_that_lacks_nothing_reads_no_data() -> None:
    network = VGG16UNet(pretrained=None, decoder_channels=[8, 8, 8, 8])
    assert with_fitted_norms(network, NoData()) is network
