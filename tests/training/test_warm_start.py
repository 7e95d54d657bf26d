"""A training that begins with a trained model begins with what that model knows, or says why it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import vgg16_bn

from monai_vggunet import VGG16UNet
from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.training import initial_network, save_model, start_from

NAMES = ["background", "liver"]


def spec(n_guidance: int = 0, **preprocessing: object) -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-900.0, 200.0),), n_guidance=n_guidance)
    prep = replace(prep, **preprocessing)  # type: ignore[arg-type]
    network = {"in_channels": prep.in_channels, "out_channels": 2, "decoder_channels": [16, 16, 8, 8]}
    return ModelSpec(network, prep, NAMES)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, VGG16UNet]:
    torch.manual_seed(0)
    network = VGG16UNet(**spec().network)
    save_model(network, spec(), tmp_path)
    return tmp_path / "model.pt", network.eval()


def test_a_model_takes_clicks_and_segments_as_before(trained: tuple[Path, VGG16UNet]) -> None:
    path, former = trained
    guided = spec(n_guidance=2, roi_size=(64, 64))
    network = start_from(VGG16UNet(**guided.network), guided, path).eval()
    image, clicks = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    torch.testing.assert_close(network(torch.cat([image, clicks], 1)), former(image))
    # and the new channels can learn
    network(torch.cat([image, clicks], 1)).sum().backward()
    stem = next(network.parameters())
    assert stem.shape[1] == 5
    assert stem.grad[:, 3:].any()


def test_the_same_kind_of_model_goes_on(trained: tuple[Path, VGG16UNet]) -> None:
    path, former = trained
    network = start_from(VGG16UNet(**spec().network), spec(), path).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network(image), former(image))


def test_a_trained_model_wins_over_pretrained_weights(trained: tuple[Path, VGG16UNet]) -> None:
    path, former = trained
    network = initial_network(spec(), pretrained="imagenet", model=path)
    assert torch.equal(network.head.weight, former.head.weight)
    assert network.pretrained_source == "scratch"


@pytest.mark.parametrize("pretrained", [None, False, "scratch", "false", "no"])
def test_no_pretrained_weights_where_none_are_wanted(pretrained: object) -> None:
    assert initial_network(spec(), pretrained).pretrained_source == "scratch"


def test_pretrained_weights_come_from_the_file_that_is_named(tmp_path: Path) -> None:
    torch.save(vgg16_bn(weights=None).features.state_dict(), tmp_path / "vgg.pth")
    network = initial_network(spec(), str(tmp_path / "vgg.pth"))
    assert network.pretrained_source == "file:vgg.pth"


def test_without_a_model_nothing_changes() -> None:
    network = VGG16UNet(**spec().network)
    assert start_from(network, spec(), None) is network


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (spec(spacing_mm=(2.0, 2.0)), r"spacing_mm \(1\.0, 1\.0\), expected \(2\.0, 2\.0\)"),
        (replace(spec(), class_names=["background", "spleen"]), "knows the classes .*, or train without"),
        (replace(spec(), network={**spec().network, "decoder_channels": [32, 16, 8, 8]}), "does not fit this network"),
    ],
)
def test_another_kind_of_model_is_refused(trained: tuple[Path, VGG16UNet], other: ModelSpec, word: str) -> None:
    with pytest.raises(ModelMismatchError, match=word):
        start_from(VGG16UNet(**other.network), other, trained[0])
