"""Encoder weights come from torchvision's cache or a file, whole or in part, and never by halves unasked."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import VGG16_BN_Weights
from vgg16_states import plain_vgg16_state

from monai_vggunet.errors import ConfigurationError, PretrainedWeightsError
from monai_vggunet.networks import VGG16Encoder, VGG16UNet, load_encoder_weights
from monai_vggunet.networks.pretrained import adapt_first_filter

BN_FILE = "vgg16_bn-6c64b313.pth"
OXFORD_BLOCKS = (
    Path(__file__).parents[3] / "shared" / "data" / "weights" / "vgg16_features_blocks1-2_imagenet_oxford.pt"
)


def features_state(batch_norm: bool = True) -> dict[str, torch.Tensor]:
    """The state dict of a `features` module, filled with random values, without the late counter as old files."""
    torch.manual_seed(3)
    state = VGG16Encoder(batch_norm=batch_norm).state_dict()
    return {
        key.split(".", 2)[2]: torch.rand_like(value) if value.is_floating_point() else value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }


@pytest.fixture(scope="module")
def bn_state() -> dict[str, torch.Tensor]:
    return features_state()


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty torch hub on a machine without a network."""

    def unreachable(*_args, **_kwargs):
        raise URLError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path / "hub" / "checkpoints"


def holds(encoder: VGG16Encoder, state: dict[str, torch.Tensor], stages: int = 5) -> bool:
    own = {
        key: value
        for number, stage in enumerate(encoder.stages)
        if number < stages
        for key, value in stage.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    return all(torch.equal(value, state[key]) for key, value in own.items())


def test_bn_file_is_the_one_torchvision_names():
    assert VGG16_BN_Weights.IMAGENET1K_V1.url.endswith(BN_FILE)


@pytest.mark.parametrize("whole_network", [True, False])
def test_file_is_loaded(tmp_path, bn_state, whole_network):
    path = tmp_path / "weights.pth"
    if whole_network:
        saved = {f"features.{key}": value for key, value in bn_state.items()} | {"classifier.0.weight": torch.zeros(3)}
    else:
        saved = bn_state
    torch.save(saved, path)
    network = VGG16UNet(pretrained=path)
    assert network.pretrained_source == "file:weights.pth"
    assert holds(network.encoder, bn_state)


def test_cached_imagenet_file_is_used_offline(hub, bn_state):
    hub.mkdir(parents=True)
    torch.save({f"features.{key}": value for key, value in bn_state.items()}, hub / BN_FILE)
    for source in ("imagenet", "auto", True):
        encoder = VGG16Encoder(pretrained=source)
        assert encoder.pretrained_source == "imagenet"
        assert holds(encoder, bn_state)


def test_download_goes_to_the_cache_with_a_timeout(hub, bn_state, monkeypatch):
    seen = []

    def download(url, path, hash_prefix, progress):
        seen.append((url, hash_prefix, socket.getdefaulttimeout()))
        torch.save(bn_state, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert VGG16UNet(pretrained="auto").pretrained_source == "imagenet"
    assert seen == [(VGG16_BN_Weights.IMAGENET1K_V1.url, "6c64b313", 5.0)]
    assert socket.getdefaulttimeout() is None
    assert (hub / BN_FILE).is_file()


def test_imagenet_offline_says_which_file_to_put_where(hub):
    with pytest.raises(PretrainedWeightsError, match=rf"{BN_FILE} are not in {hub}.*put the file there, or pass"):
        VGG16UNet(pretrained="imagenet")


def test_auto_offline_warns_and_starts_from_scratch(hub, caplog):
    with caplog.at_level(logging.WARNING):
        assert VGG16UNet(pretrained="auto").pretrained_source == "scratch"
    assert "STARTS FROM SCRATCH" in caplog.text
    assert BN_FILE in caplog.text


@pytest.mark.parametrize("source", [None, False])
def test_nothing_is_loaded_unasked(source):
    assert VGG16UNet(pretrained=source).pretrained_source == "scratch"


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(PretrainedWeightsError, match=r"nowhere\.pth do not exist"):
        VGG16Encoder(pretrained=tmp_path / "nowhere.pth")


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(PretrainedWeightsError, match=r"bad\.pth cannot be read.*restore the file"):
        VGG16Encoder(pretrained=tmp_path / "bad.pth")


def test_file_with_code_in_it_is_refused(tmp_path):
    torch.save({"0.weight": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(PretrainedWeightsError, match=r"code\.pth cannot be read"):
        VGG16Encoder(pretrained=tmp_path / "code.pth")


def test_checkpoint_with_more_than_weights_is_refused(tmp_path):
    torch.save({"epoch": 3, "model": {}}, tmp_path / "run.pt")
    with pytest.raises(PretrainedWeightsError, match="hold a dictionary with 'epoch', 'model', expected a state dict"):
        VGG16Encoder(pretrained=tmp_path / "run.pt")


def test_weights_with_batch_norm_do_not_fit_an_encoder_without(tmp_path, bn_state):
    torch.save(bn_state, tmp_path / "bn.pth")
    with pytest.raises(PretrainedWeightsError, match=r"does not fit the vgg16 encoder.*pass batch_norm=True"):
        VGG16Encoder(pretrained=tmp_path / "bn.pth", batch_norm=False)


@pytest.mark.parametrize("stages", [None, 2])
def test_plain_weights_fill_the_convolutions_between_batch_norms(tmp_path, stages):
    torch.save(plain_vgg16_state("features."), tmp_path / "plain.pth")
    plain, normed = (
        VGG16Encoder(pretrained=tmp_path / "plain.pth", batch_norm=batch_norm, pretrained_stages=stages).eval()
        for batch_norm in (False, True)
    )
    assert normed.lacks_statistics
    assert not plain.lacks_statistics
    image = torch.rand(1, 3, 32, 32)
    for ours, expected in zip(normed(image)[:stages], plain(image)):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_plain_weights_that_lack_a_layer_are_refused(tmp_path):
    state = features_state(batch_norm=False)
    del state["28.weight"]
    torch.save(state, tmp_path / "plain.pth")
    with pytest.raises(PretrainedWeightsError, match=r"does not fit the vgg16_bn encoder: 1 missing \(40\.weight\)"):
        VGG16Encoder(pretrained=tmp_path / "plain.pth")


def test_misfits_are_counted_and_named(tmp_path, bn_state):
    saved = {**bn_state, "extra.weight": torch.zeros(1), "3.weight": torch.zeros(64, 64, 5, 5)}
    for key in ("40.weight", "40.bias"):
        saved.pop(key)
    torch.save(saved, tmp_path / "odd.pth")
    with pytest.raises(PretrainedWeightsError) as caught:
        VGG16Encoder(pretrained=tmp_path / "odd.pth")
    assert "2 missing (40.weight, 40.bias)" in str(caught.value)
    assert "1 unexpected (extra.weight)" in str(caught.value)
    assert "1 mismatched (3.weight (64, 64, 5, 5) instead of (64, 64, 3, 3))" in str(caught.value)


def test_refused_file_leaves_the_encoder_as_it_was(tmp_path, bn_state):
    torch.save({**bn_state, "3.weight": torch.zeros(1)}, tmp_path / "odd.pth")
    encoder = VGG16Encoder()
    before = encoder.stages[0][0].weight.clone()
    with pytest.raises(PretrainedWeightsError, match="mismatched"):
        load_encoder_weights(encoder, tmp_path / "odd.pth")
    assert torch.equal(encoder.stages[0][0].weight, before)


def two_blocks(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    state = {k: v for k, v in features_state(batch_norm=False).items() if int(k.split(".")[0]) <= 7}
    torch.save(state, tmp_path / "blocks.pt")
    return tmp_path / "blocks.pt", state


def test_partial_file_is_refused_unless_asked_for(tmp_path):
    path, _ = two_blocks(tmp_path)
    with pytest.raises(PretrainedWeightsError, match=r"18 missing \(10\.weight.*pass pretrained_stages=2"):
        VGG16Encoder(pretrained=path, batch_norm=False)


def test_partial_file_fills_its_stages_alone(tmp_path):
    path, state = two_blocks(tmp_path)
    torch.manual_seed(1)
    scratch = VGG16Encoder(batch_norm=False)
    torch.manual_seed(1)
    encoder = VGG16Encoder(pretrained=path, batch_norm=False, pretrained_stages=2)
    assert holds(encoder, state, stages=2)
    for ours, untouched in zip(encoder.stages[2:].parameters(), scratch.stages[2:].parameters(), strict=True):
        assert torch.equal(ours, untouched)


@pytest.mark.skipif(not OXFORD_BLOCKS.is_file(), reason="the shared Oxford weights are not here")
def test_oxford_blocks_load():
    network = VGG16UNet(in_channels=1, batch_norm=False, pretrained=OXFORD_BLOCKS, pretrained_stages=2)
    saved = torch.load(OXFORD_BLOCKS, weights_only=True)
    torch.testing.assert_close(network.encoder.stages[0][0].weight, saved["0.weight"].sum(1, keepdim=True))
    assert network.pretrained_source == f"file:{OXFORD_BLOCKS.name}"


@pytest.mark.parametrize("stages", [0, 6])
def test_impossible_number_of_stages_is_refused(stages):
    with pytest.raises(ConfigurationError, match=f"pretrained_stages={stages}, expected 1 to 5"):
        VGG16Encoder(pretrained="imagenet", pretrained_stages=stages)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7])
def test_gray_image_gets_the_same_response_whatever_the_channels(channels):
    weight = torch.randn(64, 3, 3, 3)
    gray = torch.randn(1, 1, 8, 8)
    adapted = adapt_first_filter(weight, channels)
    assert adapted.shape == (64, channels, 3, 3)
    expected = torch.conv2d(gray.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(torch.conv2d(gray.expand(-1, channels, -1, -1), adapted), expected, atol=1e-5, rtol=1e-5)


def test_six_channels_repeat_the_colors_at_half_strength():
    weight = torch.randn(64, 3, 3, 3)
    torch.testing.assert_close(adapt_first_filter(weight, 6), weight.repeat(1, 2, 1, 1) * 3 / 6)


@pytest.mark.parametrize("channels", [1, 5])
def test_file_is_fitted_to_the_channels(tmp_path, bn_state, channels):
    torch.save(bn_state, tmp_path / "weights.pth")
    encoder = VGG16Encoder(in_channels=channels, pretrained=tmp_path / "weights.pth")
    torch.testing.assert_close(encoder.stages[0][0].weight, adapt_first_filter(bn_state["0.weight"], channels))
    assert holds(encoder, {**bn_state, "0.weight": encoder.stages[0][0].weight})
