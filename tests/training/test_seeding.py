"""Draws follow seed and epoch alone, so that a resumed run draws what the uninterrupted one drew."""

from __future__ import annotations

from collections import Counter

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, RandGaussianNoised

from monai_vggunet.training import EpochSampler, EpochSeedHandler


def order(size: int, n_draws: int, epoch: int, seed: int = 0) -> list[int]:
    sampler = EpochSampler(range(size), n_draws, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(("size", "n_draws", "epochs"), [(5, 5, 3), (5, 20, 1), (3, 7, 6), (20, 4, 5), (1, 4, 2)])
def test_every_case_is_drawn_equally_often(size, n_draws, epochs):
    drawn = Counter(case for epoch in range(epochs) for case in order(size, n_draws, epoch))
    assert drawn.total() == n_draws * epochs
    assert set(drawn) == set(range(size))
    assert max(drawn.values()) - min(drawn.values()) <= (1 if n_draws * epochs % size else 0)


def test_no_case_is_left_out_while_another_comes_twice():
    """Epochs cut one endless sequence of permutations: each stretch of `size` draws is a permutation."""
    drawn = [case for epoch in range(7) for case in order(6, 4, epoch)]
    for start in range(0, 24, 6):
        assert sorted(drawn[start : start + 6]) == list(range(6))


def test_order_is_a_function_of_seed_and_epoch():
    assert order(30, 30, epoch=4) == order(30, 30, epoch=4)
    assert order(30, 30, epoch=4) != order(30, 30, epoch=5)
    assert order(30, 30, epoch=4) != order(30, 30, epoch=4, seed=1)


def test_length_is_the_number_of_draws():
    sampler = EpochSampler(range(3), 7)
    assert len(sampler) == len(list(sampler)) == 7


@pytest.mark.parametrize(("size", "n_draws"), [(10, 6), (3, 5), (40, 4)])
@pytest.mark.parametrize("epoch", [0, 3])
def test_shares_of_two_processes_make_up_the_order_of_one(monkeypatch, size, n_draws, epoch):
    whole = order(size, 2 * n_draws, epoch)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(idist, "get_world_size", lambda: 2)
        monkeypatch.setattr(idist, "get_rank", lambda rank=rank: rank)
        shares.append(order(size, n_draws, epoch))
    assert [len(share) for share in shares] == [n_draws, n_draws]
    assert [case for pair in zip(*shares) for case in pair] == whole
    if size >= 2 * n_draws and epoch == 0:
        assert not set(shares[0]) & set(shares[1])


def make_loader(seed: int = 0) -> DataLoader:
    cases = [{"image": torch.full((1, 2, 2), float(number))} for number in range(5)]
    dataset = Dataset(cases, Compose([RandGaussianNoised("image", prob=0.5, std=0.1)]))
    return DataLoader(dataset, batch_size=2, sampler=EpochSampler(dataset, 6, seed))


def drawn_per_epoch(first_epoch: int, last_epoch: int, seed: int = 0) -> list[tuple[np.ndarray, float]]:
    """Per epoch every image that was drawn, with its noise, and a number from torch's own generator."""
    loader = make_loader()
    seen: dict[int, list] = {}

    def step(engine: Engine, batch: dict) -> None:
        seen.setdefault(engine.state.epoch, []).append((batch["image"].numpy().copy(), torch.rand(1).item()))

    trainer = Engine(step)
    EpochSeedHandler(seed, loader).attach(trainer)
    trainer.load_state_dict({"epoch": first_epoch - 1, "max_epochs": last_epoch, "epoch_length": len(loader)})
    trainer.run(loader, max_epochs=last_epoch)
    return [
        (np.concatenate([image for image, _ in seen[epoch]]), sum(number for _, number in seen[epoch]))
        for epoch in range(first_epoch, last_epoch + 1)
    ]


def test_resumed_epochs_draw_what_the_uninterrupted_ones_drew():
    whole = drawn_per_epoch(1, 4)
    np.random.seed(99)
    torch.manual_seed(99)
    for (images, number), (again, number_again) in zip(whole[2:], drawn_per_epoch(3, 4), strict=True):
        np.testing.assert_array_equal(images, again)
        assert number == number_again


def test_epochs_and_seeds_draw_apart():
    first, second = drawn_per_epoch(1, 2)
    (other_seed,) = drawn_per_epoch(1, 1, seed=1)
    assert not np.array_equal(first[0], second[0])
    assert first[1] != second[1]
    assert first[1] != other_seed[1]


def test_processes_draw_apart(monkeypatch):
    numbers = []
    for rank in range(2):
        monkeypatch.setattr(idist, "get_rank", lambda rank=rank: rank)
        loader = make_loader()
        engine = Engine(lambda engine, batch: None)
        engine.state.epoch = 3
        EpochSeedHandler(0, loader)(engine)
        numbers.append((torch.rand(1).item(), loader.dataset.transform.transforms[0].R.rand()))
    assert numbers[0][0] != numbers[1][0]
    assert numbers[0][1] != numbers[1][1]


def test_loader_with_a_sampler_of_its_own_is_left_its_order():
    dataset = Dataset([{"image": torch.zeros(1, 2, 2)}] * 3, Compose([RandGaussianNoised("image")]))
    loader = DataLoader(dataset, batch_size=1, shuffle=False)
    trainer = Engine(lambda engine, batch: None)
    EpochSeedHandler(0, loader).attach(trainer)
    epochs = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: epochs.append(engine.state.epoch))
    trainer.run(loader, max_epochs=2)
    assert epochs == [1, 2]
