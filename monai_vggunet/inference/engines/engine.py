"""What every engine is: something that turns a batch of slices into logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch.nn import functional as F

from monai_vggunet.networks.vgg_unet import MIN_SIZE

__all__ = ["ENGINES", "PRECISIONS", "Engine", "Logits", "pad_to_smallest"]

ENGINES = ("auto", "torch", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

# What gives logits `(n, K, H, W)` of slices `(n, C, H, W)`: an engine, or the network itself.
Logits = Callable[[torch.Tensor], torch.Tensor]


class Engine(ABC):
    """A network made ready to run on one device in one precision.

    Attributes:
        name: `torch`, `openvino` or `onnx`.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        description: both with the library's version, for the log and the record.
    """

    name: str = ""
    precision: str = "fp32"
    version: str = ""

    @property
    def description(self) -> str:
        """Name, library's version and precision on one line."""
        return f"{self.name} {self.version}, {self.precision}"

    @abstractmethod
    def run(self, slices: torch.Tensor) -> torch.Tensor:
        """Return logits `(n, K, H, W)` float32 of slices `(n, C, H, W)` float32, each side 32 pixels or more."""

    def __call__(self, slices: torch.Tensor) -> torch.Tensor:
        """Return logits `(n, K, H, W)` float32 of slices `(n, C, H, W)` float32 of any size.

        A side below 32 pixels is filled by repeating the border, as the network itself does, and the result cropped.
        """
        rows, columns = slices.shape[-2:]
        return self.run(pad_to_smallest(slices))[..., :rows, :columns]


def pad_to_smallest(slices: torch.Tensor) -> torch.Tensor:
    """Return slices `(n, C, H, W)` with sides of 32 pixels at least, the border repeated: graphs take none below."""
    missing = [max(0, MIN_SIZE - n) for n in slices.shape[-2:]]
    return F.pad(slices, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else slices
