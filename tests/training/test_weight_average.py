"""The averaged weights follow the trainer's iteration, so that a resumed run averages as the uninterrupted one."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_vggunet.training import WeightAverageHandler


def momenta(first: int, last: int, **arguments) -> list[float]:
    """The momentum after each iteration of a trainer that goes on after iteration `first - 1`."""
    handler = WeightAverageHandler(nn.Linear(1, 1), momentum=0.1, **arguments)
    seen: list[float] = []
    trainer = Engine(lambda engine, batch: None)
    handler.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.ema_momentum))
    trainer.load_state_dict({"epoch": first - 1, "max_epochs": last, "epoch_length": 1})
    trainer.run([0], max_epochs=last)
    return seen


def test_warm_up_falls_in_equal_steps():
    expected = [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1]
    assert momenta(1, 7, momentum_warmup=0.5, warmup_iters=5) == pytest.approx(expected)


@pytest.mark.parametrize("first", [2, 4, 7])
def test_resumed_warm_up_goes_on_where_it_stood(first):
    whole = momenta(1, 8, momentum_warmup=0.5, warmup_iters=5)
    assert momenta(first, 8, momentum_warmup=0.5, warmup_iters=5) == whole[first - 1 :]


def test_momentum_without_warm_up_is_constant():
    assert momenta(1, 3) == [0.1, 0.1, 0.1]


def test_average_is_of_the_weights_after_each_step():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    handler = WeightAverageHandler(network, momentum=0.25)
    trainer = Engine(lambda engine, batch: nn.init.constant_(network.weight, batch))
    handler.attach(trainer)
    trainer.run([4.0, 8.0])
    assert torch.equal(handler.ema_model.weight, torch.tensor([[0.75 * 1.0 + 0.25 * 8.0]]))
