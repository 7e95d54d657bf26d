"""Processes share the validation cases, and the mean Dice is the figure that decides."""

from __future__ import annotations

import ignite.distributed as idist
import pytest
from ignite.engine import Engine
from monai.data import Dataset

from monai_vggunet.training import mean_dice, validation_sampler


def test_one_process_needs_no_sampler() -> None:
    assert validation_sampler(Dataset([1, 2, 3])) is None


def test_processes_judge_shares_of_the_cases_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idist, "get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.is_available", lambda: True)
    monkeypatch.setattr("torch.utils.data.distributed.dist.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.utils.data.distributed.dist.get_rank", lambda: 1)
    sampler = validation_sampler(Dataset(list(range(6))))
    assert sampler is not None
    assert list(sampler) == [1, 3, 5]


def test_the_figure_is_the_validations_mean_dice() -> None:
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics = {"val_mean_dice": 0.75, "val_hd95_mm": 3.0}
    assert mean_dice(engine) == 0.75
