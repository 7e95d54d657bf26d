"""Batch norms between pretrained convolutions change nothing, until they are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vgg16_states import plain_vgg16_state

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks import VGG16Encoder, VGG16UNet, fit_batch_norm


@pytest.fixture(scope="module")
def plain_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network whose channels differ in scale and offset, as those of ImageNet's do."""
    torch.manual_seed(0)
    state = plain_vgg16_state()
    for name, value in state.items():
        state[name] = (
            torch.randn_like(value) if name.endswith("bias") else value * (torch.rand(len(value), 1, 1, 1) + 0.5)
        )
    path = tmp_path_factory.mktemp("weights") / "vgg16.pt"
    torch.save(state, path)
    return path


def encoders(weights: Path, in_channels: int = 1) -> tuple[VGG16Encoder, VGG16Encoder, torch.Tensor]:
    """The plain encoder, the batch-normed one after its norms are fitted, and the images they were fitted to."""
    torch.manual_seed(1)
    images = torch.rand(4, in_channels, 64, 64)
    plain, normed = (VGG16Encoder(2, in_channels, weights, batch_norm=norm) for norm in (False, True))
    fit_batch_norm(normed, images.split(2))
    return plain, normed, images


def assert_equal_maps(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for ours, plain in zip(found, expected, strict=True):
        assert (ours - plain).abs().max() < 1e-4 * plain.abs().max()


@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_in_evaluation_any_image_gives_the_maps_of_the_plain_encoder(plain_weights: Path, in_channels: int) -> None:
    plain, normed, images = encoders(plain_weights, in_channels)
    for image in (images, 2 * torch.rand(1, in_channels, 80, 48) - 1):
        assert_equal_maps(normed.eval()(image), plain(image))


def test_in_training_the_images_themselves_give_the_maps_of_the_plain_encoder(plain_weights: Path) -> None:
    plain, normed, images = encoders(plain_weights)
    assert_equal_maps(normed.train()(images), plain(images))
    unfitted, expected = VGG16Encoder(2, 1, plain_weights).train()(images)[-1], plain(images)[-1]
    assert (unfitted - expected).abs().max() > 0.1 * expected.abs().max()


def test_fitting_leaves_the_mode_and_trains_nothing(plain_weights: Path) -> None:
    normed = VGG16Encoder(2, 1, plain_weights)
    before = normed.stages[0][0].weight.clone()
    for mode in (True, False):
        normed.train(mode)
        fit_batch_norm(normed, [torch.rand(1, 1, 32, 32)])
        assert normed.training is normed.stages[0][1].training is mode
    assert torch.equal(normed.stages[0][0].weight, before)
    assert not normed.lacks_statistics
    assert all(parameter.grad is None and parameter.requires_grad for parameter in normed.parameters())


def test_a_channel_that_never_changes_stays_finite(plain_weights: Path) -> None:
    _, normed, _ = encoders(plain_weights)
    fit_batch_norm(normed, [torch.zeros(2, 1, 32, 32)])
    assert all(torch.isfinite(value).all() for value in normed.train()(torch.rand(2, 1, 32, 32)))


def test_no_images_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no images to fit batch norms to"):
        fit_batch_norm(VGG16Encoder(in_channels=1), [])


def test_all_of_imagenets_weights_fill_the_default_network(shared_data: Path) -> None:
    weights = shared_data / "weights" / "vgg16_features_imagenet_oxford.pt"
    images = torch.randn(4, 3, 64, 64)
    plain = VGG16UNet(batch_norm=False, pretrained=weights).encoder
    network = VGG16UNet(pretrained=weights)
    fit_batch_norm(network.encoder, [images])
    assert network.pretrained_source == f"file:{weights.name}"
    assert_equal_maps(network.encoder.eval()(images), plain(images))
