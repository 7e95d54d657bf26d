"""What training takes where the user says nothing and the data do not decide."""

from __future__ import annotations

from typing import Any

import torch

from monai_vggunet.data import is_on
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training.param_groups import DECODER_LR, ENCODER_LR

__all__ = ["default_lr", "default_workers"]

FROM_SCRATCH_LR = 3e-4  # there is nothing that large steps could destroy
CUDA_WORKERS = 4  # a GPU waits for a single process that draws and augments; a CPU has no cores to spare


def default_lr(part: str, from_scratch: Any) -> float:
    """Return the learning rate of a part of the network.

    Args:
        part: "encoder" or "decoder".
        from_scratch: whether the encoder starts without pretrained weights; see `is_on`.

    Raises:
        ConfigurationError: an unknown part.
    """
    rates = {"encoder": ENCODER_LR, "decoder": DECODER_LR}
    if part not in rates:
        raise ConfigurationError(f"got the part {part!r} of the network, expected one of {', '.join(rates)}")
    return FROM_SCRATCH_LR if is_on(from_scratch, "from_scratch") else rates[part]


def default_workers(device: torch.device | str) -> int:
    """Return how many processes load training cases for a device; 0 loads them in the training process itself."""
    return CUDA_WORKERS if torch.device(device).type == "cuda" else 0
