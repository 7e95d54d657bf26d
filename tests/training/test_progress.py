"""A user sees where the training runs, how long it will take and how it goes; the curve outlives the run."""

from __future__ import annotations

import logging

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import nn

from monai_vggunet.errors import DatasetError
from monai_vggunet.training import History, TrainingProgressHandler, dice_metric

STEPS = 7


def make_trainer(history, max_epochs: int, val_interval: int = 1, bar: bool = False, rank: int = 0):
    """A trainer of one convolution on 2 x 2 pictures, with validation; one epoch has seven steps."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 1)
    optimizer = torch.optim.SGD([{"params": [network.weight], "lr": 0.5}, {"params": [network.bias], "lr": 0.25}])
    case = {"image": torch.ones(1, 2, 2), "label": torch.ones(1, 2, 2)}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([case]), batch_size=1),
        network=network,
        postprocessing=lambda data: {**data, "pred": data["pred"].argmax(0, keepdim=True)},
        key_val_metric=dice_metric(2),
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Dataset([case] * STEPS), batch_size=1),
        network=network,
        loss_function=lambda logits, label: nn.functional.cross_entropy(logits, label[:, 0].long()),
        optimizer=optimizer,
    )
    trainer.state.rank = rank
    ValidationHandler(val_interval, evaluator).attach(trainer)
    TrainingProgressHandler(history, evaluator, precision="fp32", bar=bar).attach(trainer)
    return trainer


def test_history_has_a_row_per_epoch(tmp_path):
    trainer = make_trainer(tmp_path / "run" / "history.json", max_epochs=3)
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    rows = History.read(tmp_path / "run" / "history.json").epochs
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for number, row in enumerate(rows):
        mean = sum(losses[number * STEPS : (number + 1) * STEPS]) / STEPS
        assert row["loss"] == pytest.approx(mean, abs=1e-5)
        assert row["learning_rates"] == [0.5, 0.25]
        assert row["val_mean_dice_per_class"] == [row["val_mean_dice"]]
        assert row["val_mean_dice"] in (0.0, 1.0)
    assert rows[0]["seconds"] <= rows[1]["seconds"] <= rows[2]["seconds"]


def test_epochs_without_validation_state_no_figure(tmp_path):
    make_trainer(tmp_path / "history.json", max_epochs=4, val_interval=2).run()
    rows = History.read(tmp_path / "history.json").epochs
    assert ["val_mean_dice" in row for row in rows] == [False, True, False, True]


def test_resumed_run_goes_on_with_the_curve(tmp_path):
    make_trainer(tmp_path / "history.json", max_epochs=3).run()
    former = History.read(tmp_path / "history.json").epochs
    trainer = make_trainer(tmp_path / "history.json", max_epochs=4)
    trainer.state.epoch, trainer.state.iteration = 2, 2 * STEPS  # the checkpoint was one epoch behind
    trainer.run()
    rows = History.read(tmp_path / "history.json").epochs
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[:2] == former[:2]


def test_new_run_begins_a_new_curve(tmp_path):
    make_trainer(tmp_path / "history.json", max_epochs=3).run()
    make_trainer(tmp_path / "history.json", max_epochs=1).run()
    assert [row["epoch"] for row in History.read(tmp_path / "history.json").epochs] == [1]


def test_a_damaged_curve_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "history.json").write_text("{")
    trainer = make_trainer(tmp_path / "history.json", max_epochs=1)
    with pytest.raises(DatasetError, match=r"history\.json is not a curve as training writes it"):
        trainer.run()
    assert trainer.state.iteration == 0
    assert (tmp_path / "history.json").read_text() == "{"


def test_log_says_device_expected_time_and_how_it_goes(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="monai_vggunet"):
        make_trainer(tmp_path / "history.json", max_epochs=2).run()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("monai_vggunet")]
    assert len(lines) == 4
    assert lines[0].startswith("training on CPU")
    assert "engine torch" in lines[0]
    assert "float32" in lines[0]
    assert " s per step: about 0 s for 2 epochs" in lines[1]
    assert lines[2].startswith("epoch 1/2: loss ")
    assert "val_mean_dice " in lines[2]
    assert lines[3].startswith("epoch 2/2: ")
    assert lines[3].endswith(", 0 s left")


def test_expected_time_is_said_once_in_a_resumed_run_too(tmp_path, caplog):
    make_trainer(tmp_path / "history.json", max_epochs=2).run()
    trainer = make_trainer(tmp_path / "history.json", max_epochs=4)
    trainer.state.epoch, trainer.state.iteration = 2, 2 * STEPS
    with caplog.at_level(logging.INFO, logger="monai_vggunet"):
        trainer.run()
    expected = [record.getMessage() for record in caplog.records if "per step" in record.getMessage()]
    assert len(expected) == 1
    assert "for 2 epochs" in expected[0]


def test_bar_is_shown_only_when_asked_for(tmp_path, capsys):
    make_trainer(tmp_path / "history.json", max_epochs=1).run()
    assert "training" not in capsys.readouterr().err
    make_trainer(tmp_path / "history.json", max_epochs=1, bar=True).run()
    assert "training" in capsys.readouterr().err


def test_other_processes_show_and_write_nothing(tmp_path, capsys):
    make_trainer(tmp_path / "history.json", max_epochs=1, bar=True, rank=1).run()
    assert not (tmp_path / "history.json").exists()
    assert "training" not in capsys.readouterr().err


def test_training_without_validation_has_a_curve(tmp_path):
    network = nn.Linear(1, 1)
    trainer = Engine(lambda engine, batch: {"loss": torch.tensor([1.0, 3.0])})
    trainer.optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    trainer.state.device = "cpu"
    TrainingProgressHandler(tmp_path / "history.json", bar=False).attach(trainer)
    trainer.run([0, 1], max_epochs=2)
    rows = History.read(tmp_path / "history.json").epochs
    assert [(row["epoch"], row["loss"], row["learning_rates"]) for row in rows] == [(1, 2.0, [0.1]), (2, 2.0, [0.1])]
