"""The network in PyTorch itself: channels last, batch norm folded, bf16 or fp16 where the device has it."""

from __future__ import annotations

import torch
from torch import nn

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference.engines.engine import Engine
from monai_vggunet.networks.autocast import AutocastInferer, autocast_dtype
from monai_vggunet.networks.fold_batch_norm import fold_batch_norm

__all__ = ["TorchEngine"]

NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", None: "fp32"}


class TorchEngine(Engine):
    """Eager PyTorch.

    Args:
        network: in float32, left as it is.
        device: where it runs.
        precision: see `autocast_dtype`.

    Raises:
        ConfigurationError: int8, which this engine does not have.
    """

    def __init__(self, network: nn.Module, device: torch.device | str, precision: str = "auto") -> None:
        if precision == "int8":
            raise ConfigurationError("engine torch has no int8; quantize the model and use engine openvino or auto")
        self.name, self.version = "torch", torch.__version__
        self.device = torch.device(device)
        self.precision = NAMES[autocast_dtype(self.device, precision)]
        self.forward = AutocastInferer(precision)
        folded = fold_batch_norm(network)
        self.network = folded.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, slices: torch.Tensor) -> torch.Tensor:
        """See `Engine.run`."""
        with torch.inference_mode():
            return self.forward(slices.to(self.device), self.network)
