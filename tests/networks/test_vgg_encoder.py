"""The encoder's stages are torchvision's layers, can be frozen, and serve MONAI's FlexibleUNet."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.blocks.encoder import BaseEncoder
from monai.networks.nets import FlexibleUNet
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks import VGG16Encoder, VGG16PooledEncoder

CUTS = {True: (6, 13, 23, 33, 43), False: (4, 9, 16, 23, 30)}


def torchvision_features(batch_norm: bool) -> nn.Sequential:
    """`vgg16_bn().features` or `vgg16().features` with random weights and statistics, without the 124 M classifier."""
    torch.manual_seed(11)
    features = make_layers(cfgs["D"], batch_norm=batch_norm)
    for module in features:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return features.eval()


def with_weights_of(features: nn.Sequential, encoder: VGG16Encoder) -> VGG16Encoder:
    state = features.state_dict()
    encoder.load_state_dict({key: state[key.split(".", 2)[2]] for key in encoder.state_dict()})
    return encoder.eval()


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("size", [(32, 48), (37, 51)])
def test_maps_equal_torchvision_cut_where_the_article_cuts(batch_norm, size):
    features = torchvision_features(batch_norm)
    encoder = with_weights_of(features, VGG16Encoder(batch_norm=batch_norm))
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps = encoder(image)
        for cut, ours in zip(CUTS[batch_norm], maps, strict=True):
            torch.testing.assert_close(ours, features[:cut](image), rtol=0, atol=0)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_pooled_maps_equal_torchvision_after_pooling(batch_norm):
    features = torchvision_features(batch_norm)
    encoder = with_weights_of(features, VGG16PooledEncoder(batch_norm=batch_norm))
    image = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        for cut, ours in zip(CUTS[batch_norm], encoder(image), strict=True):
            torch.testing.assert_close(ours, features[: cut + 1](image), rtol=0, atol=0)


def test_five_maps_with_strides_1_to_16():
    maps = VGG16Encoder(in_channels=1)(torch.zeros(2, 1, 32, 64))
    assert isinstance(maps, list)
    assert [tuple(m.shape) for m in maps] == [
        (2, 64, 32, 64),
        (2, 128, 16, 32),
        (2, 256, 8, 16),
        (2, 512, 4, 8),
        (2, 512, 2, 4),
    ]


@pytest.mark.parametrize("backbone", ["vgg16", "vgg16_bn"])
def test_flexible_unet_takes_the_encoder_by_name(backbone):
    network = FlexibleUNet(in_channels=3, out_channels=2, backbone=backbone, pretrained=False)
    assert isinstance(network.encoder, VGG16PooledEncoder)
    assert network.encoder.batch_norm == backbone.endswith("_bn")
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, 64, 32)).shape == (1, 2, 64, 32)


def test_encoder_follows_monai_protocol():
    assert issubclass(VGG16Encoder, BaseEncoder)
    names = VGG16PooledEncoder.get_encoder_names()
    for answers in (
        VGG16PooledEncoder.get_encoder_parameters(),
        VGG16PooledEncoder.num_channels_per_output(),
        VGG16PooledEncoder.num_outputs(),
    ):
        assert len(answers) == len(names)
    for arguments, channels in zip(
        VGG16PooledEncoder.get_encoder_parameters(), VGG16PooledEncoder.num_channels_per_output()
    ):
        maps = VGG16PooledEncoder(**arguments)(torch.zeros(2, 3, 64, 64))
        assert tuple(m.shape[1] for m in maps) == channels


def test_scripted_encoder_equals_eager():
    encoder = VGG16Encoder().eval()
    encoder.set_frozen_stages(2)
    image = torch.randn(1, 3, 32, 35)
    with torch.no_grad():
        for eager, scripted in zip(encoder(image), torch.jit.script(encoder)(image), strict=True):
            torch.testing.assert_close(scripted, eager)


def test_frozen_stages_survive_train():
    encoder = VGG16Encoder()
    encoder.set_frozen_stages([0, 3])
    assert encoder.frozen_stages == (0, 3)
    for _ in range(2):
        encoder.train()
        assert [stage.training for stage in encoder.stages] == [False, True, True, False, True]
        assert all(m.training == (n in (1, 2, 4)) for n, s in enumerate(encoder.stages) for m in s.modules())
    encoder.set_frozen_stages(0)
    assert all(stage.training for stage in encoder.stages)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_freeing_in_eval_mode_stays_in_eval_mode():
    encoder = VGG16Encoder().eval()
    encoder.set_frozen_stages(3)
    encoder.set_frozen_stages(0)
    assert not any(module.training for module in encoder.modules())


def test_freezing_drops_old_gradients():
    encoder = VGG16Encoder()
    sum(m.sum() for m in encoder(torch.randn(2, 3, 32, 32))).backward()
    encoder.set_frozen_stages(1)
    assert all(parameter.grad is None for parameter in encoder.stages[0].parameters())
    assert all(parameter.grad is not None for parameter in encoder.stages[1].parameters())


def test_copy_of_a_frozen_encoder_is_frozen():
    encoder = VGG16Encoder()
    encoder.set_frozen_stages(2)
    assert copy.deepcopy(encoder).train().frozen_stages == (0, 1)


@pytest.mark.parametrize("stages", [6, -1, [5], [-1, 0]])
def test_unknown_stage_is_refused(stages):
    with pytest.raises(ConfigurationError, match=r"got .*encoder stage.*, expected"):
        VGG16Encoder().set_frozen_stages(stages)


def test_volumes_are_refused():
    with pytest.raises(ConfigurationError, match=r"spatial_dims=3, expected 2"):
        VGG16Encoder(spatial_dims=3)
    with pytest.raises(ConfigurationError, match=r"in_channels=0, expected 1 or more"):
        VGG16Encoder(in_channels=0)
