"""Room for what the processes that prepare cases hand over: a small `/dev/shm` ends them with a bus error."""

from __future__ import annotations

import shutil
from pathlib import Path

from monai_vggunet.errors import ConfigurationError

__all__ = ["require_shared_memory"]

SHARED_MEMORY = Path("/dev/shm")  # of Linux; elsewhere nothing is checked
PREFETCHED = 2  # batches that torch's loader keeps ready per process
CHANNELS, BYTES = 4, 4  # three of the image and one of the label, float32


def require_shared_memory(num_workers: int, step_pixels: int) -> None:
    """Make sure that the batches which processes prepare ahead fit into the shared memory.

    Args:
        num_workers: processes that prepare cases.
        step_pixels: of all slices of one step.

    Raises:
        ConfigurationError: they do not fit.
    """
    if not num_workers or not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    needed = num_workers * PREFETCHED * step_pixels * CHANNELS * BYTES
    if free < needed:
        raise ConfigurationError(
            f"the shared memory {SHARED_MEMORY} has {free / 1e6:.0f} MB free; expected {needed / 1e6:.0f} MB for "
            f"--num_workers {num_workers}: make it larger (docker run --shm-size 1g), or pass --num_workers 0"
        )
