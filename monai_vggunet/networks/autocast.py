"""In which precision the network computes on a device: lower where the hardware has it, never emulated."""

from __future__ import annotations

import os
from typing import Any

import torch
from monai.inferers import SimpleInferer

from monai_vggunet.errors import ConfigurationError

__all__ = [
    "TRAINING_PRECISIONS",
    "AutocastInferer",
    "autocast_dtype",
    "describe_device",
    "describe_hardware",
    "own_device",
    "trainer_amp",
]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}
TRAINING_PRECISIONS = ("auto", *_DTYPES)


def autocast_dtype(device: torch.device | str, precision: str = "auto") -> torch.dtype | None:
    """Return the autocast type for a device, or None for float32.

    Args:
        device: where the network runs.
        precision: `auto`, `fp32`, `bf16` or `fp16`. `auto` takes bf16 (fp16 before Ampere) on CUDA; on a CPU bf16
            only with AMX tiles, because convolutions in emulated bf16 are slower than in float32.

    Raises:
        ConfigurationError: an unknown precision.
    """
    if precision in _DTYPES:
        return _DTYPES[precision]
    if precision != "auto":
        raise ConfigurationError(f"precision is {precision!r}; expected auto, {', '.join(_DTYPES)}")
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else None


def trainer_amp(device: torch.device | str, precision: str = "auto") -> bool:
    """Return `amp` of MONAI's `SupervisedTrainer`, which knows CUDA alone; on a CPU `AutocastInferer` does it."""
    return torch.device(device).type == "cuda" and precision != "fp32"


def describe_device(device: torch.device | str, precision: str = "auto") -> str:
    """Return device, engine and precision on one line, for the log."""
    device = torch.device(device)
    dtype = autocast_dtype(device, precision)
    kind = str(dtype or torch.float32).removeprefix("torch.")
    return f"{describe_hardware(device)}; engine torch {torch.__version__}, {kind}, channels last"


def describe_hardware(device: torch.device | str) -> str:
    """Return the device, for the log."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def own_device() -> str:
    """Return the device of this process under `torchrun`: a GPU of its own where there are enough, else the CPU."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    return f"cuda:{local % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


class AutocastInferer(SimpleInferer):
    """Run the network on a batch of slices, channels last, under autocast where that is faster.

    MONAI's trainer opens autocast on CUDA alone (`amp=True`); this does it for a CPU with bf16 units too.

    Args:
        precision: see `autocast_dtype`.

    Raises:
        ConfigurationError: an unknown precision.
    """

    def __init__(self, precision: str = "auto") -> None:
        super().__init__()
        autocast_dtype("cpu", precision)  # an unknown word is refused now, not at the first batch
        self.precision = precision

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return logits `(B, K, H, W)` in float32 from `(B, C, H, W)`."""
        plain = torch.as_tensor(inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs)
        dtype = autocast_dtype(plain.device, self.precision)
        with torch.autocast(plain.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits = network(plain.contiguous(memory_format=torch.channels_last), *args, **kwargs)
        return logits.float()
