"""How many slices go through the network at once, and whether whole, by the memory that is free."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from monai_vggunet.data.model_limits import STRIDE
from monai_vggunet.memory import available_memory
from monai_vggunet.networks.vgg_unet import MIN_SIZE

__all__ = ["Tiling", "plan_tiling"]

# Activations of VGG16UNet per input pixel in float32 without gradients: 1.6 to 1.9 kB seen at 384 and 512 pixels.
BYTES_PER_PIXEL = 2048
SHARE_OF_FREE = 0.4  # of the free memory; the rest is for the volume, its result and whoever else computes
BATCH_PIXELS = {"cpu": 512 * 512, "cuda": 16 * 512 * 512}  # more at once gains nothing
WINDOW_SIDE = 512  # of the windows for slices that do not fit


@dataclass(frozen=True)
class Tiling:
    """`batch_size` slices at once; `window` is the side of the windows, or None for whole slices."""

    batch_size: int
    window: int | None = None

    @property
    def description(self) -> str:
        """The same in words, for the log."""
        if self.window is None:
            return f"whole slices, {self.batch_size} at once"
        return f"windows of {self.window} pixels, slice by slice"

    def smaller(self) -> Tiling | None:
        """Return the next one that needs less memory, or None when there is none."""
        if self.window is None:
            return Tiling(self.batch_size // 2) if self.batch_size > 1 else Tiling(1, WINDOW_SIDE)
        return Tiling(1, self.window // 2) if self.window > 64 else None


def plan_tiling(rows: int, columns: int, device: torch.device | str, max_slice_pixels: int | None = None) -> Tiling:
    """Choose by size and free memory.

    Args:
        rows, columns: of a slice.
        device: where the network runs.
        max_slice_pixels: the largest slice that goes through whole; None asks the memory.
    """
    device = torch.device(device)
    pixels = rows * columns
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    fitting = int(free * SHARE_OF_FREE) // BYTES_PER_PIXEL
    if pixels > (fitting if max_slice_pixels is None else max_slice_pixels):
        window = WINDOW_SIDE
        while window > 64 and window * window > fitting:
            window //= 2
        return Tiling(1, window)
    batch_pixels = min(fitting, BATCH_PIXELS.get(device.type, BATCH_PIXELS["cpu"]))
    padded_rows, padded_columns = (max(MIN_SIZE, n + -n % STRIDE) for n in (rows, columns))
    return Tiling(max(1, batch_pixels // (padded_rows * padded_columns)))
