"""Devices by name: one that is not there is refused at once, not when the network is moved to it."""

from __future__ import annotations

from typing import Any

import torch

from monai_vggunet.errors import ConfigurationError

__all__ = ["usable_device"]

KINDS = ("cpu", "cuda")


def usable_device(device: Any = None) -> torch.device:
    """Return a device that is there.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...; None takes a GPU if there is one, else the CPU.

    Raises:
        ConfigurationError: an unknown word, or a GPU that is not there.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = "cpu" if not n_gpus else "cpu or cuda" if n_gpus == 1 else f"cpu, cuda, or cuda:0 to cuda:{n_gpus - 1}"
    try:
        found = torch.device(device if isinstance(device, torch.device) else str(device))
    except RuntimeError:
        raise ConfigurationError(f"--device is {device!r}; expected {there}") from None
    if found.type not in KINDS:
        raise ConfigurationError(f"--device is {device!r}; expected {there}")
    if found.type == "cuda" and (found.index or 0) >= n_gpus:
        seen = f"{n_gpus} GPUs" if n_gpus > 1 else "1 GPU" if n_gpus else "no GPU"
        raise ConfigurationError(f"--device is {str(device)!r}, but torch sees {seen} here; expected {there}")
    return found
