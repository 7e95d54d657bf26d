"""Validation during training: each process evaluates its share of the cases, and one figure decides."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine
from torch.utils.data import Dataset, DistributedSampler

from monai_vggunet.training.metrics import MEAN_DICE

__all__ = ["mean_dice", "validation_sampler"]


def mean_dice(evaluator: Engine) -> float:
    """Return the mean Dice of the validation that has just ended, for a handler that waits for it to rise."""
    return float(evaluator.state.metrics[MEAN_DICE])


def validation_sampler(dataset: Dataset) -> DistributedSampler | None:
    """Return the sampler of this process's share of the cases under `torchrun`; None where there is one process."""
    return DistributedSampler(dataset, shuffle=False) if idist.get_world_size() > 1 else None
