"""Precision follows the device, and what leaves the network is float32."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference import AutocastInferer, autocast_dtype, describe_device


class Witness(nn.Module):
    """A convolution that notes what it is given and in which precision it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.seen: dict[str, object] = {}

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        logits = scale * self.convolution(x)
        self.seen = {
            "type": type(x),
            "computed_in": logits.dtype,
            "channels_last": x.is_contiguous(memory_format=torch.channels_last),
        }
        return logits


@pytest.mark.parametrize(("precision", "expected"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_stated_precision_is_taken(precision, expected):
    assert autocast_dtype("cpu", precision) == expected
    assert autocast_dtype("cuda", precision) == expected


@pytest.mark.parametrize(("has_tiles", "expected"), [(True, torch.bfloat16), (False, None)])
def test_auto_on_a_cpu_takes_bf16_only_with_tiles(monkeypatch, has_tiles, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    assert autocast_dtype(torch.device("cpu")) == expected


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_cuda_takes_fp16_where_bf16_is_missing(monkeypatch, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert autocast_dtype(torch.device("cuda")) == expected


def test_unknown_precision_is_refused():
    with pytest.raises(ConfigurationError, match=r"precision is 'int8'; expected auto, bf16, fp16, fp32"):
        autocast_dtype("cpu", "int8")


@pytest.mark.parametrize(("precision", "computed_in"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_network_sees_plain_channels_last_slices_and_gives_float32(precision, computed_in):
    torch.manual_seed(0)
    network, slices = Witness(), torch.randn(2, 3, 5, 7)
    with torch.no_grad():
        logits = AutocastInferer(precision)(MetaTensor(slices), network)
        expected = network.convolution(slices)
    assert type(logits) is torch.Tensor
    assert logits.dtype == torch.float32
    assert network.seen == {"type": torch.Tensor, "computed_in": computed_in, "channels_last": True}
    torch.testing.assert_close(logits, expected, atol=0.05 if precision == "bf16" else 1e-6, rtol=0.01)


def test_further_arguments_reach_the_network():
    network, slices = Witness(), torch.ones(1, 3, 4, 4)
    inferer = AutocastInferer("fp32")
    with torch.no_grad():
        torch.testing.assert_close(inferer(slices, network, scale=2.0), 2.0 * inferer(slices, network))


def test_device_line_names_device_engine_and_precision():
    line = describe_device("cpu", "bf16")
    assert line.startswith(f"CPU, {torch.get_num_threads()} threads; engine torch {torch.__version__}")
    assert "bfloat16" in line
    assert "float32" in describe_device(torch.device("cpu"), "fp32")
