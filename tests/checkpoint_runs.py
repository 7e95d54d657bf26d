"""Small trainings for the tests of checkpoints: as `train.json` declares one, killed and resumed at will."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.transforms import AsDiscreted, Compose, RandGaussianNoised
from torch import nn

from monai_vggunet.data import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.training import (
    EpochSampler,
    EpochSeedHandler,
    LearningRateHandler,
    RunCheckpoint,
    WeightAverageHandler,
    dice_metric,
    load_weights,
    make_lr_schedule,
)

__all__ = [
    "EPOCHS",
    "Killed",
    "STEPS",
    "assert_same",
    "assert_same_result",
    "assert_usable_pair",
    "interrupt",
    "kill",
    "make_cases",
    "make_network",
    "make_run",
    "make_spec",
    "raise_at",
    "train",
    "train_until",
    "weights",
]

EPOCHS, STEPS = 4, 3


class Killed(BaseException):
    """What a kill looks like from inside: nothing after it is executed."""


def make_network(channels: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Conv2d(channels, 2, 1),
    )


def make_spec(**arguments: Any) -> ModelSpec:
    preprocessing = Preprocessing(
        modality="MR", plane="axial", spacing_mm=(1.0, 1.0), roi_size=(16, 16), windows=((0.0, 1.0),)
    )
    network = {"in_channels": 3, "out_channels": 2, **arguments.pop("network", {})}
    return ModelSpec(network=network, preprocessing=preprocessing, class_names=["rest", "disk"], **arguments)


def make_cases(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, 1, 8, 8, generator=generator) > 0.5).float()
    images = 0.3 * labels + 0.5 * torch.rand(count, 1, 8, 8, generator=generator)
    return [{"image": image, "label": label} for image, label in zip(images, labels)]


def make_run(
    folder: Path,
    patience: int = 100,
    score: Callable | None = None,
    epochs: int = EPOCHS,
    schedule: str = "plateau",
    first: Path | None = None,
    **checkpoint: Any,
) -> SimpleNamespace:
    """A training as `train.json` declares it, small: draws by epoch, averaged weights, validation, early stopping."""
    torch.manual_seed(1)
    network = make_network() if first is None else load_weights(make_network(), first)
    training = Dataset(make_cases(5, 1), Compose([RandGaussianNoised("image", prob=0.7, std=0.2)]))
    loader = DataLoader(training, batch_size=2, sampler=EpochSampler(training, 2 * STEPS, seed=0))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
    lr_schedule = make_lr_schedule(schedule, optimizer, epochs, patience=0)
    ema = WeightAverageHandler(network, momentum=0.1, momentum_warmup=0.5, warmup_iters=6, handle_buffers="update")
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(make_cases(2, 2)), batch_size=1),
        network=ema.ema_model,
        postprocessing=AsDiscreted("pred", argmax=True),
        key_val_metric=dice_metric(2),
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        loss_function=lambda logits, label: nn.functional.cross_entropy(logits, label[:, 0].long()),
        optimizer=optimizer,
        train_handlers=[
            EpochSeedHandler(0, loader),
            ema,
            LearningRateHandler(lr_schedule, "val_mean_dice", evaluator),
            ValidationHandler(1, evaluator),
        ],
    )
    early_stop = EarlyStopping(patience, score or (lambda engine: engine.state.metrics["val_mean_dice"]), trainer)
    evaluator.add_event_handler(Events.COMPLETED, early_stop)
    objects = {
        "network": network,
        "ema": ema.ema_model,
        "optimizer": optimizer,
        "lr_scheduler": lr_schedule,
        "early_stop": early_stop,
    }
    saver = RunCheckpoint(folder, objects, ema.ema_model, make_spec(), **{"settings": {"seed": 0}, **checkpoint})
    return SimpleNamespace(trainer=trainer, evaluator=evaluator, saver=saver, early_stop=early_stop, objects=objects)


def train(folder: Path, **arguments: Any) -> SimpleNamespace:
    """Train to the end, or go on from where the folder's checkpoint stands."""
    run = make_run(folder, **arguments)
    run.saver.attach(run.trainer, run.evaluator)
    if not run.saver.is_finished:
        run.trainer.run()
    return run


def raise_at(run: SimpleNamespace, event: Any, action: Callable[[], None]) -> None:
    run.trainer.add_event_handler(event, lambda engine: action())


def kill() -> None:
    raise Killed("killed")


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)  # to this very thread: `os.kill` may wake another, and two become one


def train_until(folder: Path, event: Any, action: Callable[[], None], expected: Any, **arguments: Any) -> None:
    """Train until an action on an event ends the run with `expected`: an exception and its text."""
    run = make_run(folder, **arguments)
    run.saver.attach(run.trainer, run.evaluator)
    raise_at(run, event, action)
    with pytest.raises(expected[0], match=expected[1]):
        run.trainer.run()


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def assert_same(first: Any, second: Any, where: str = "") -> None:
    """Bit for bit, through dictionaries and lists."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for number, (a, b) in enumerate(zip(first, second)):
            assert_same(a, b, f"{where}/{number}")
    else:
        assert first == second, where


def assert_usable_pair(folder: Path) -> None:
    spec = load_model_spec(folder / "model.json")
    spec.require_weights(folder / "model.pt")
    load_weights(make_network(), folder / "model.pt")


def assert_same_result(folder: Path, run: SimpleNamespace, uninterrupted: tuple[Path, SimpleNamespace]) -> None:
    expected_folder, expected = uninterrupted
    for name, thing in expected.objects.items():
        assert_same(thing.state_dict(), run.objects[name].state_dict(), name)
    assert_same(weights(expected_folder / "model.pt"), weights(folder / "model.pt"), "model.pt")
    assert_same(weights(expected_folder / "last.pt"), weights(folder / "last.pt"), "last.pt")
    assert_usable_pair(folder)
