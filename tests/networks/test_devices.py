"""A device that is not there is refused before anything is moved to it."""

from __future__ import annotations

import pytest
import torch

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks.devices import usable_device


@pytest.fixture(params=[0, 1, 4])
def n_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


def test_what_is_there_can_be_used(n_gpus: int) -> None:
    assert usable_device().type == ("cuda" if n_gpus else "cpu")
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")
    for index in range(n_gpus):
        assert usable_device(f"cuda:{index}").index == index


def test_a_gpu_that_is_not_there_is_refused(n_gpus: int) -> None:
    seen = {
        0: "no GPU here; expected cpu",
        1: "1 GPU here; expected cpu or cuda",
        4: "4 GPUs here; .* cuda:0 to cuda:3",
    }
    with pytest.raises(ConfigurationError, match=f"--device is 'cuda:{n_gpus}', but torch sees {seen[n_gpus]}"):
        usable_device(f"cuda:{n_gpus}")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "CPU ", 3.5, "mps", "meta", ""])
def test_an_unknown_word_is_refused(n_gpus: int, device: object) -> None:
    with pytest.raises(ConfigurationError, match=r"--device is .*; expected cpu"):
        usable_device(device)
