"""What the processes of a training under `torchrun` share, so that all of them see the same figures and weights."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from torch import nn
from torch.utils.data import Dataset, DistributedSampler

__all__ = ["gathered_rows", "share_buffers", "validation_sampler"]


def validation_sampler(dataset: Dataset) -> DistributedSampler | None:
    """Return the sampler of this process's share of the cases under `torchrun`; None where there is one process.

    Each process gets every n-th case. Where that does not come out even, some cases are given to a second process, so
    that none waits in vain for another; `gathered_rows` leaves out what is judged twice.
    """
    return DistributedSampler(dataset, shuffle=False) if idist.get_world_size() > 1 else None


def gathered_rows(gathered: torch.Tensor, n_cases: int) -> torch.Tensor:
    """Return figures gathered from all processes in the order of the cases, each case once, as one process has them.

    Args:
        gathered: a row per judged case, the first process's rows first, as `validation_sampler` shared them.
        n_cases: how many cases there are.
    """
    n_processes = idist.get_world_size()
    if n_processes == 1:
        return gathered
    by_process = gathered.reshape(n_processes, -1, *gathered.shape[1:])
    return by_process.transpose(0, 1).flatten(0, 1)[:n_cases]


def share_buffers(network: nn.Module) -> None:
    """Give the buffers of a network, such as batch-norm statistics, the first process's values in every process.

    `DistributedDataParallel` does so when the next batch begins; whatever reads them in between would see the
    statistics of each process's own last batch.
    """
    if idist.get_world_size() == 1:
        return
    floating = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if not floating:
        return
    shared = idist.broadcast(torch.cat([buffer.detach().flatten() for buffer in floating]), src=0)
    for buffer, values in zip(floating, shared.split([buffer.numel() for buffer in floating])):
        buffer.copy_(values.view_as(buffer))
