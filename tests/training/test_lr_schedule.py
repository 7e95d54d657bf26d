"""Schedules follow the article, are resumed from a checkpoint, and every group's rate is logged."""

from __future__ import annotations

import io
import logging
import math

import pytest
import torch
from ignite.engine import Engine
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training.lr_schedule import LearningRateHandler, make_lr_schedule


def make_optimizer() -> torch.optim.Optimizer:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    return torch.optim.AdamW(
        [
            {"name": "encoder_stage_0", "params": layers[0].parameters(), "lr": 0.1},
            {"name": "decoder", "params": layers[1].parameters(), "lr": 1.0},
        ]
    )


def rates_per_epoch(optimizer, schedule, epochs: int) -> list[float]:
    """The decoder's rate in each epoch; the encoder's is a tenth throughout."""
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[1]["lr"])
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * rates[-1])
        optimizer.step()
        schedule.step()
    return rates


def test_plateau_is_the_article_schedule():
    schedule = make_lr_schedule("plateau", make_optimizer(), max_epochs=10)
    assert isinstance(schedule, ReduceLROnPlateau)
    assert (schedule.mode, schedule.factor, schedule.patience) == ("max", 0.5, 3)


def test_cosine_falls_to_zero_after_its_warmup():
    optimizer = make_optimizer()
    rates = rates_per_epoch(optimizer, make_lr_schedule("cosine", optimizer, 10, warmup_epochs=2), 10)
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(0.5)
    assert rates == rates[:3] + sorted(rates[3:], reverse=True)
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0, abs=1e-9)


def test_onecycle_rises_then_falls():
    optimizer = make_optimizer()
    rates = rates_per_epoch(optimizer, make_lr_schedule("onecycle", optimizer, 10), 12)
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.index(max(rates)) == 3
    assert max(rates) == pytest.approx(1.0)
    assert rates[10] == rates[11] == pytest.approx(1 / 25e4, rel=1e-3)


def test_constant_stays():
    optimizer = make_optimizer()
    rates = rates_per_epoch(optimizer, make_lr_schedule("constant", optimizer, 5, warmup_epochs=1), 5)
    assert rates == pytest.approx([0.5, 1, 1, 1, 1])


@pytest.mark.parametrize("name", ["cosine", "onecycle", "constant"])
def test_resumed_schedule_goes_on_as_uninterrupted(name):
    optimizer = make_optimizer()
    expected = rates_per_epoch(optimizer, make_lr_schedule(name, optimizer, 8, warmup_epochs=2), 8)
    optimizer = make_optimizer()
    schedule = make_lr_schedule(name, optimizer, 8, warmup_epochs=2)
    first = rates_per_epoch(optimizer, schedule, 3)
    saved = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, saved)
    saved.seek(0)
    checkpoint = torch.load(saved, weights_only=True)
    optimizer = make_optimizer()
    schedule = make_lr_schedule(name, optimizer, 8, warmup_epochs=2)
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["schedule"])
    assert first + rates_per_epoch(optimizer, schedule, 5) == expected


def dice_after(epoch: int) -> float:
    return [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, math.nan][epoch - 1]


def train_on_plateau(epochs: int, checkpoint: dict | None = None) -> tuple[list[float], dict]:
    """Rates in each epoch of a training whose validation yields `dice_after`, and its checkpoint."""
    optimizer = make_optimizer()
    schedule = make_lr_schedule("plateau", optimizer, max_epochs=20)
    start = 0
    if checkpoint is not None:
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        start = checkpoint["epoch"]
    rates: list[float] = []
    trainer = Engine(lambda engine, batch: rates.append(optimizer.param_groups[1]["lr"]))
    evaluator = Engine(lambda engine, batch: None)

    def validate() -> None:
        evaluator.state.metrics = {"val_mean_dice": torch.tensor(dice_after(trainer.state.epoch + start))}
        evaluator.run([0])

    # before the handler that validates: the order among the trainer's handlers does not matter
    LearningRateHandler(schedule, "val_mean_dice", evaluator).attach(trainer)
    trainer.add_event_handler("EPOCH_COMPLETED", validate)
    trainer.run([0], max_epochs=epochs)
    saved = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "epoch": start + epochs}, saved)
    saved.seek(0)
    return rates, torch.load(saved, weights_only=True)


def test_plateau_halves_after_four_validations_without_gain():
    rates, _ = train_on_plateau(13)
    assert rates == [1.0] * 6 + [0.5] * 6 + [0.25]


def test_plateau_resumes_where_it_stood():
    first, checkpoint = train_on_plateau(4)
    assert first + train_on_plateau(9, checkpoint)[0] == train_on_plateau(13)[0]


def test_plateau_may_be_attached_to_the_evaluator():
    optimizer = make_optimizer()
    schedule = make_lr_schedule("plateau", optimizer, 10, patience=0)
    evaluator = Engine(lambda engine, batch: engine.state.metrics.update(dice=0.5))
    LearningRateHandler(schedule, "dice").attach(evaluator)
    for _ in range(2):
        evaluator.run([0])
    assert optimizer.param_groups[1]["lr"] == 0.5


def test_every_group_is_logged_by_name(caplog):
    optimizer = make_optimizer()
    trainer = Engine(lambda engine, batch: optimizer.step())
    handler = LearningRateHandler(make_lr_schedule("cosine", optimizer, 4))
    handler.attach(trainer)
    with caplog.at_level(logging.INFO):
        trainer.run([0, 1], max_epochs=2)
    assert handler.rates() == {"encoder_stage_0": pytest.approx(0.05), "decoder": pytest.approx(0.5)}
    messages = [record.message for record in caplog.records if "learning rates" in record.message]
    assert len(messages) == 2
    assert messages[1] == "learning rates: encoder_stage_0 0.05, decoder 0.5"


def test_missing_metric_is_named():
    evaluator = Engine(lambda engine, batch: engine.state.metrics.update(val_mean_dice=0.5))
    LearningRateHandler(make_lr_schedule("plateau", make_optimizer(), 5), "val_dice").attach(evaluator)
    with pytest.raises(ConfigurationError, match=r"no validation metric 'val_dice'.*one of val_mean_dice"):
        evaluator.run([0])


def test_plateau_without_a_metric_is_refused():
    with pytest.raises(ConfigurationError, match="plateau schedule without a metric"):
        LearningRateHandler(make_lr_schedule("plateau", make_optimizer(), 5))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "step", "max_epochs": 5}, "'step', expected one of plateau, cosine, onecycle, constant"),
        ({"name": "cosine", "max_epochs": 0}, "max_epochs=0, expected 1 or more"),
        ({"name": "cosine", "max_epochs": 5, "warmup_epochs": 5}, "warmup_epochs=5, expected 0 or more and fewer"),
        ({"name": "plateau", "max_epochs": 5, "warmup_epochs": 2}, "warmup_epochs=2 for 'plateau', which has none"),
    ],
)
def test_impossible_schedules_are_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        make_lr_schedule(optimizer=make_optimizer(), **arguments)
