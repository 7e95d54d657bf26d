"""Parameter groups hold every parameter once, by depth, with decay on weights alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training.param_groups import parameter_groups

NAMES = [f"encoder_stage_{n}{suffix}" for n in range(5) for suffix in ("", "_no_decay")]
NAMES += ["decoder", "decoder_no_decay"]


def network(**arguments) -> VGG16UNet:
    return VGG16UNet(decoder_channels=(8, 8, 8, 8), **arguments)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("frozen", [0, 3])
def test_every_parameter_is_held_once_frozen_or_not(batch_norm, frozen):
    unet = network(batch_norm=batch_norm)
    unet.set_frozen_stages(frozen)
    groups = parameter_groups(unet)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in unet.parameters()}
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in unet.parameters())
    assert [group["name"] for group in groups] == NAMES
    assert all(group["params"] for group in groups)


def test_biases_and_norms_have_no_decay():
    unet = network()
    norms = {id(p) for m in unet.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    biases = {id(p) for name, p in unet.named_parameters() if name.endswith("bias")}
    for group in parameter_groups(unet, weight_decay=0.3):
        held = {id(parameter) for parameter in group["params"]}
        if group["name"].endswith("_no_decay"):
            assert group["weight_decay"] == 0
            assert held <= norms | biases
        else:
            assert group["weight_decay"] == 0.3
            assert not held & (norms | biases)


def test_defaults_are_the_article_rates():
    rates = {group["name"]: group["lr"] for group in parameter_groups(network())}
    assert rates == {name: 1e-4 if name.startswith("decoder") else 1e-5 for name in NAMES}
    assert {group["weight_decay"] for group in parameter_groups(network())} == {1e-4, 0.0}


def test_layer_decay_slows_shallow_stages():
    rates = {group["name"]: group["lr"] for group in parameter_groups(network(), encoder_lr=1.0, layer_decay=0.5)}
    assert [rates[f"encoder_stage_{number}"] for number in range(5)] == [0.0625, 0.125, 0.25, 0.5, 1.0]
    assert rates["decoder"] == 1e-4


def test_stage_groups_hold_their_stage():
    unet = network()
    groups = {group["name"]: group["params"] for group in parameter_groups(unet)}
    for number, stage in enumerate(unet.encoder_stages()):
        held = groups[f"encoder_stage_{number}"] + groups[f"encoder_stage_{number}_no_decay"]
        assert {id(p) for p in held} == {id(p) for p in stage.parameters()}
    assert any(parameter is unet.head.weight for parameter in groups["decoder"])


def test_optimizer_takes_the_groups_of_a_wrapped_network():
    optimizer = torch.optim.AdamW(parameter_groups(nn.DataParallel(network())))
    assert [group["name"] for group in optimizer.param_groups] == NAMES


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"encoder_lr": -1}, "encoder_lr=-1.*expected 0 or more"),
        ({"layer_decay": 0}, "layer_decay=0, expected a factor"),
        ({"layer_decay": 1.5}, "layer_decay=1.5, expected a factor"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        parameter_groups(network(), **arguments)


def test_another_network_is_refused():
    with pytest.raises(ConfigurationError, match="got a Linear, expected a VGG16UNet"):
        parameter_groups(nn.Linear(2, 2))
