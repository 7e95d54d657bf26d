"""Random draws as a function of seed and epoch, so that a resumed run draws what the uninterrupted one drew."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "EpochSeedHandler"]


class EpochSampler(Sampler[int]):
    """Draw a fixed number of cases per epoch, each as often as the others, in an order that follows seed and epoch.

    A small data set is gone through several times an epoch, a large one in part. Under `torchrun` every process gets
    its own share of the same order.

    Args:
        dataset: anything with a length.
        n_draws: cases per epoch and process.
        seed: of the order.
    """

    def __init__(self, dataset: Sized, n_draws: int, seed: int = 0) -> None:
        self.dataset, self.n_draws, self.seed, self.epoch = dataset, n_draws, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_draws

    def __iter__(self) -> Iterator[int]:
        total = self.n_draws * idist.get_world_size()
        size = len(self.dataset)
        first = self.epoch * total  # position in an endless sequence of permutations
        order = np.concatenate([self._permutation(r, size) for r in range(first // size, (first + total) // size + 1)])
        start = first % size
        yield from order[start : start + total][idist.get_rank() :: idist.get_world_size()].tolist()

    def _permutation(self, number: int, size: int) -> np.ndarray:
        return np.random.default_rng([self.seed, number]).permutation(size)


class EpochSeedHandler:
    """Seed sampler, random transforms and torch at the start of each epoch.

    Args:
        seed: of the run.
        data_loader: the training loader; its data set has a `transform` with `set_random_state`.
    """

    def __init__(self, seed: int, data_loader: Any) -> None:
        self.seed, self.data_loader = seed, data_loader

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed for the epoch that begins; processes draw apart from each other."""
        epoch = int(engine.state.epoch)
        sequence = np.random.SeedSequence([self.seed, epoch, idist.get_rank()])
        for_transforms, for_torch = (int(word) for word in sequence.generate_state(2))
        torch.manual_seed(for_torch)
        self.data_loader.dataset.transform.set_random_state(seed=for_transforms)
        if isinstance(self.data_loader.sampler, EpochSampler):
            self.data_loader.sampler.set_epoch(epoch - 1)
