"""A run killed at any moment goes on to the result of the uninterrupted one, and always leaves a usable pair."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.transforms import AsDiscreted, Compose, RandGaussianNoised
from torch import nn

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data import ModelSpec, Preprocessing, load_model_spec
from monai_vggunet.errors import ConfigurationError, ModelMismatchError, OutputWriteError
from monai_vggunet.training import (
    EpochSampler,
    EpochSeedHandler,
    LabelDice,
    LearningRateHandler,
    RunCheckpoint,
    WeightAverageHandler,
    checkpoints,
    dice_metric,
    load_weights,
    log_weights,
    make_lr_schedule,
    save_model,
)
from monai_vggunet.training.run_folder import set_aside
from monai_vggunet.training.run_settings import changed_settings

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


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "SAVE_EVERY_SEC", 0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, SimpleNamespace]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, train(folder)


def assert_same_result(folder: Path, run: SimpleNamespace, uninterrupted: tuple[Path, SimpleNamespace]) -> None:
    expected_folder, expected = uninterrupted
    for name, thing in expected.objects.items():
        assert_same(thing.state_dict(), run.objects[name].state_dict(), name)
    assert_same(weights(expected_folder / "model.pt"), weights(folder / "model.pt"), "model.pt")
    assert_same(weights(expected_folder / "last.pt"), weights(folder / "last.pt"), "last.pt")
    assert_usable_pair(folder)


@pytest.mark.parametrize("iteration", [1, STEPS, STEPS + 1, 2 * STEPS + 2, EPOCHS * STEPS])
def test_killed_run_resumes_to_the_uninterrupted_result(tmp_path, every_epoch, uninterrupted, iteration):
    train_until(tmp_path, Events.ITERATION_COMPLETED(once=iteration), kill, (Killed, "killed"))
    torch.manual_seed(123)
    np.random.seed(123)
    run = train(tmp_path)
    assert run.trainer.state.epoch == EPOCHS
    assert run.trainer.state.iteration == EPOCHS * STEPS
    assert_same_result(tmp_path, run, uninterrupted)


def test_state_saved_some_epochs_ago_is_as_good(tmp_path, monkeypatch, uninterrupted):
    """`last.pt` is of epoch 1 while `model.pt` may be newer: what follows is trained again, to the same result."""
    monkeypatch.setattr(checkpoints, "SAVE_EVERY_SEC", 1e9)
    train_until(tmp_path, Events.ITERATION_COMPLETED(once=3 * STEPS + 1), kill, (Killed, "killed"))
    assert weights(tmp_path / "last.pt")["epoch"] == 1
    assert_same_result(tmp_path, train(tmp_path), uninterrupted)


def test_run_killed_twice_resumes_twice(tmp_path, every_epoch, uninterrupted):
    for iteration in (STEPS + 1, 3 * STEPS + 1):
        train_until(tmp_path, Events.ITERATION_COMPLETED(once=iteration), kill, (Killed, "killed"))
    assert_same_result(tmp_path, train(tmp_path), uninterrupted)


def test_best_model_is_the_one_that_validated_best(tmp_path, every_epoch):
    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    found: list[tuple[float, dict]] = []
    run.evaluator.add_event_handler(
        Events.COMPLETED,
        lambda engine: found.append(
            (
                engine.state.metrics["val_mean_dice"],
                {k: v.clone() for k, v in run.objects["ema"].state_dict().items()},
            )
        ),
    )
    run.trainer.run()
    assert len(found) == EPOCHS
    best, state = max(found, key=lambda pair: pair[0])
    assert_same(state, weights(tmp_path / "model.pt"))
    assert weights(tmp_path / "last.pt")["best_metric"] == best


def test_files_are_plain_and_hold_what_they_say(uninterrupted):
    folder, run = uninterrupted
    model = weights(folder / "model.pt")
    assert model.keys() == make_network().state_dict().keys()
    assert all(type(tensor) is torch.Tensor for tensor in model.values())
    last = weights(folder / "last.pt")
    assert (last["epoch"], last["iteration"], last["stopped_early"]) == (EPOCHS, EPOCHS * STEPS, False)
    assert last["objects"].keys() == run.objects.keys()
    spec = load_model_spec(folder / "model.json")
    assert spec.class_names == ["rest", "disk"]
    assert spec.accepted_sha256 == []
    assert sorted(path.name for path in folder.iterdir()) == ["last.pt", "model.json", "model.pt"]


def test_finished_run_is_not_run_again(tmp_path, caplog):
    train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = make_run(tmp_path)
    with caplog.at_level(logging.INFO):
        run.saver.attach(run.trainer, run.evaluator)
    assert run.saver.is_finished
    assert "last.pt holds epoch 4 of 4 of this run: it is finished; --resume False trains again" in caplog.text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_first_run_is_unfinished_until_its_end(tmp_path):
    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    assert not run.saver.is_finished
    run.trainer.run()
    assert run.saver.is_finished


@pytest.mark.parametrize("resume", [False, "false", "no", 0])
def test_files_of_another_run_are_moved_not_overwritten(tmp_path, resume):
    train(tmp_path)
    for name in ("history.json", "datalist.json"):
        (tmp_path / name).write_text(f"the former {name}")
    (tmp_path / "notes.txt").write_text("the user's own")
    former = weights(tmp_path / "last.pt")
    run = make_run(tmp_path, resume=resume)
    run.saver.attach(run.trainer, run.evaluator)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["notes.txt"]
    (moved,) = (tmp_path / "previous").iterdir()
    assert_usable_pair(moved)
    assert_same(former, weights(moved / "last.pt"))
    assert (moved / "history.json").read_text() == "the former history.json"
    assert (moved / "datalist.json").read_text() == "the former datalist.json"
    assert not run.saver.is_finished
    assert run.trainer.state.epoch == 0


def test_runs_set_aside_within_a_second_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    for number in range(3):
        (tmp_path / "last.pt").write_text(str(number))
        set_aside(tmp_path)
    kept = sorted((tmp_path / "previous").glob("*/last.pt"))
    assert [path.read_text() for path in kept] == ["0", "1", "2"]


def test_word_that_is_neither_on_nor_off_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="--resume is 'flase'; expected True or False"):
        make_run(tmp_path, resume="flase")


@pytest.mark.parametrize("iteration", [2 * STEPS + 1, None], ids=["interrupted", "finished"])
def test_changed_setting_is_refused_and_named(tmp_path, every_epoch, iteration):
    settings = {"weight_decay": 0.0001, "label_smoothing": 0.0, "training cases": "3 (sha256:0123456789abcdef)"}
    if iteration is None:
        train(tmp_path, settings=settings)
    else:
        train_until(tmp_path, Events.ITERATION_COMPLETED(once=iteration), kill, (Killed, "killed"), settings=settings)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    now = {"weight_decay": 0.5, "label_smoothing": 0, "flip_prob": 0.1, "training cases": "2 (sha256:fedcba9876543210)"}
    with pytest.raises(ConfigurationError, match=r"last\.pt holds a run with other settings than these") as caught:
        train(tmp_path, settings=now)
    lines = str(caught.value).splitlines()
    assert lines[1:-1] == [
        "  --weight_decay: 0.0001 before, 0.5 now",
        "  --flip_prob: not given before, 0.1 now",
        "  training cases: 3 (sha256:0123456789ab...) before, 2 (sha256:fedcba987654...) now",
    ]
    assert "It resumes with the former ones. To start again, pass --resume False" in lines[-1]
    assert lines[-1].endswith(f"(its files are moved to {tmp_path / 'previous'}) or another --ckpt_dir")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(tmp_path, settings=settings).trainer.state.epoch == EPOCHS


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"network": {"dropout": 0.1}}, "--network_options#dropout: not given before, 0.1 now"),
        ({"spacing_mm": (2.0, 2.0)}, "--overrides#spacing_mm: [1.0, 1.0] before, [2.0, 2.0] now"),
        ({"n_guidance": 2}, "--clicks: False before, True now"),
        ({"class_names": ["rest", "ring"]}, "names of the classes: ['rest', 'disk'] before, ['rest', 'ring'] now"),
    ],
)
def test_change_of_what_is_planned_is_named_by_its_option(tmp_path, spec, line):
    arguments: dict[str, Any] = {"objects": {}, "network": make_network()}
    former, names = make_spec(), {"class_names", "network"}
    preprocessing = replace(former.preprocessing, **{k: v for k, v in spec.items() if k not in names})
    now = replace(former, preprocessing=preprocessing, **{k: v for k, v in spec.items() if k in names})
    settings = [RunCheckpoint(tmp_path, spec=each, **arguments).settings for each in (former, now)]
    assert changed_settings(*settings) == [line]


def test_number_of_processes_is_part_of_a_run(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"\n  number of processes: 1 before, 2 now\n"):
        train(tmp_path)


def test_other_settings_of_another_version_are_told_as_such(tmp_path, monkeypatch):
    """The configuration itself may have changed between the two."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "__version__", "0.0.1")
        train(tmp_path)
    with pytest.raises(ConfigurationError, match=r"settings than these \(version 0\.0\.1, this is \S+\):\n  --seed"):
        train(tmp_path, settings={"seed": 1})
    assert train(tmp_path).saver.is_finished


def test_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    torch.save({"run_id": "0", "epoch": 1, "objects": {}}, tmp_path / "last.pt")
    with pytest.raises(ConfigurationError, match=r"last\.pt is of an earlier version.* pass --resume False .*previous"):
        train(tmp_path)
    assert train(tmp_path, resume=False).trainer.state.epoch == EPOCHS


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_finished_run_can_be_prolonged_to_what_a_longer_one_gives(tmp_path, caplog, schedule):
    train(tmp_path / "a", epochs=2, schedule=schedule)
    with caplog.at_level(logging.INFO):
        prolonged = train(tmp_path / "a", schedule=schedule)
    assert "last.pt holds epoch 2 of 4 of this run: resuming" in caplog.text
    assert "max_epochs was" not in caplog.text
    assert_same_result(tmp_path / "a", prolonged, (tmp_path / "b", train(tmp_path / "b", schedule=schedule)))


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_prolonging_a_run_says_where_the_schedule_spans_it(tmp_path, caplog, schedule):
    train(tmp_path, epochs=2, schedule=schedule)
    assert train(tmp_path, schedule=schedule).trainer.state.epoch == EPOCHS
    assert "the schedule spans the run, so its rates are now those of a run of 4 epochs" in caplog.text


def test_shortened_run_is_finished(tmp_path):
    train(tmp_path)
    assert train(tmp_path, epochs=3).saver.is_finished


def test_run_that_stopped_early_goes_on_with_more_patience(tmp_path):
    def no_better(engine: Any) -> float:
        return 0.5

    assert train(tmp_path, patience=1, score=no_better).trainer.state.epoch == 2
    assert train(tmp_path, patience=1, score=no_better).saver.is_finished
    assert train(tmp_path, patience=2, score=no_better).trainer.state.epoch == 3


def test_what_a_killed_save_left_goes_when_the_run_goes_on(tmp_path):
    train(tmp_path)
    names = (".model-abcdefgh.pt", ".model-abcdefgh.json", ".last-abcdefgh.pt", ".history-abcdefgh.json")
    for name in names:
        (tmp_path / name).write_bytes(b"half of it")
    (tmp_path / ".other-abcdefgh.pt").write_bytes(b"not ours")
    assert train(tmp_path).saver.is_finished
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".other-abcdefgh.pt"]


# A run that begins with the model of its own folder


@pytest.fixture
def own(tmp_path) -> tuple[Path, dict[str, Any]]:
    """A folder with a finished run, and how another run is started from its model."""
    train(tmp_path / "own", settings={"seed": 7})
    model = tmp_path / "own" / "model.pt"
    return tmp_path / "own", {"first": model, "start_from": model}


@pytest.mark.parametrize("iteration", [1, STEPS + 1, 2 * STEPS + 2])
def test_run_from_its_own_folders_model_goes_on_by_the_same_command(tmp_path, every_epoch, own, iteration):
    folder, arguments = own
    former = (folder / "model.pt").read_bytes()
    shutil.copytree(folder, tmp_path / "whole")
    whole = tmp_path / "whole" / "model.pt"
    uninterrupted = train(whole.parent, first=whole, start_from=whole)

    train_until(folder, Events.ITERATION_COMPLETED(once=iteration), kill, (Killed, "killed"), **arguments)
    assert_usable_pair(folder)
    assert ((folder / "model.pt").read_bytes() == former) == (iteration == 1)
    (kept,) = (folder / "previous").iterdir()
    assert_usable_pair(kept)
    assert (kept / "model.pt").read_bytes() == former
    assert json.loads(weights(kept / "last.pt")["settings"])["seed"] == 7
    run = train(folder, **arguments)
    assert_same_result(folder, run, (whole.parent, uninterrupted))
    assert train(folder, **arguments).saver.is_finished


def test_run_from_its_own_folders_model_is_not_begun_from_its_own_first_epoch(tmp_path, monkeypatch, own):
    """Killed when `model.pt` is replaced and `last.pt` of that epoch is not written yet."""
    folder, arguments = own
    shutil.copytree(folder, tmp_path / "whole")
    whole = tmp_path / "whole" / "model.pt"
    uninterrupted = train(whole.parent, first=whole, start_from=whole)
    run = make_run(folder, **arguments)
    run.saver.attach(run.trainer, run.evaluator)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_model", lambda *arguments: (save_model(*arguments), kill()))
        with pytest.raises(Killed, match="killed"):
            run.trainer.run()
    assert_same_result(folder, train(folder, **arguments), (whole.parent, uninterrupted))


def test_run_from_its_own_folders_model_refuses_other_settings_once_it_is_begun(every_epoch, own):
    folder, arguments = own
    train_until(folder, Events.ITERATION_COMPLETED(once=1), kill, (Killed, "killed"), **arguments)
    with pytest.raises(ConfigurationError, match=r"\n  --seed: 0 before, 1 now\n"):
        train(folder, **arguments, settings={"seed": 1})


def test_run_from_its_own_folders_model_starts_anew_from_what_is_there(own):
    folder, arguments = own
    for _ in range(2):
        former = (folder / "model.pt").read_bytes()
        train_until(folder, Events.ITERATION_COMPLETED(once=1), kill, (Killed, "killed"), **arguments, resume=False)
        assert (folder / "model.pt").read_bytes() == former


def test_model_of_the_run_is_kept_where_nothing_was_validated(own):
    """The model that lies there is the one it began with."""
    folder, arguments = own
    run = make_run(folder, **arguments)
    run.saver.attach(run.trainer)
    run.trainer.run()
    assert_same(run.objects["ema"].state_dict(), weights(folder / "model.pt"))
    assert_usable_pair(folder)


def test_model_from_elsewhere_counts_by_its_content(tmp_path, own):
    folder, _ = own
    for name in ("a.pt", "b.pt"):
        shutil.copy(folder / "model.pt", tmp_path / name)
    train(tmp_path / "run", first=tmp_path / "a.pt", start_from=tmp_path / "a.pt")
    assert train(tmp_path / "run", first=tmp_path / "b.pt", start_from=tmp_path / "b.pt").saver.is_finished
    torch.save(make_network().state_dict(), tmp_path / "b.pt")
    with pytest.raises(ConfigurationError, match=r"--start_from: sha256:\w{12}\.\.\. before, sha256:\w{12}\.\.\. now"):
        train(tmp_path / "run", first=tmp_path / "b.pt", start_from=tmp_path / "b.pt")


def test_another_model_is_another_run(tmp_path):
    arguments = {"objects": {}, "network": make_network(), "settings": {"seed": 0}}
    first = RunCheckpoint(tmp_path, spec=make_spec(), **arguments)
    other = RunCheckpoint(tmp_path, spec=make_spec(network={"dropout": 0.1}), **arguments)
    assert first.run_id == RunCheckpoint(tmp_path, spec=make_spec(fingerprint={"n": 1}), **arguments).run_id
    assert first.run_id != other.run_id


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 torn"])
def test_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(
        ModelMismatchError, match=r"last\.pt cannot be read \(.*remove it, or start again with --resume"
    ):
        train(tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == content


def test_torn_checkpoint_is_named(tmp_path):
    train(tmp_path)
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelMismatchError, match=r"last\.pt cannot be read"):
        train(tmp_path)


def test_file_that_is_no_checkpoint_of_ours_is_set_aside(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "last.pt")
    train(tmp_path)
    assert weights(tmp_path / "last.pt")["epoch"] == EPOCHS
    assert len(list((tmp_path / "previous").glob("*/last.pt"))) == 1


def kill_at_replacement(monkeypatch, number: int) -> None:
    """From now on the process dies right before it would rename its `number`-th file."""
    replace, count = os.replace, [0]

    def replace_or_die(*paths: Any) -> None:
        count[0] += 1
        if count[0] >= number:
            kill()
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_or_die)


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("second", [1, 2, 3])
def test_killed_between_the_two_files_leaves_a_pair(tmp_path, monkeypatch, first, second):
    torch.manual_seed(0)
    networks = [make_network() for _ in range(3)]
    save_model(networks[0], make_spec(), tmp_path)
    for network, number in zip(networks[1:], (first, second)):
        with monkeypatch.context() as patch:
            kill_at_replacement(patch, number)
            with pytest.raises(Killed, match="killed"):
                save_model(network, make_spec(), tmp_path)
        assert_usable_pair(tmp_path)
    present = weights(tmp_path / "model.pt")
    held = [all(torch.equal(present[k], v) for k, v in network.state_dict().items()) for network in networks]
    assert held.index(True) == (2 if second == 3 else 1 if first == 3 else 0)
    save_model(networks[2], make_spec(), tmp_path)
    assert load_model_spec(tmp_path / "model.json").accepted_sha256 == []
    assert_usable_pair(tmp_path)


def test_killed_while_the_first_pair_is_written_is_no_model(tmp_path, monkeypatch):
    kill_at_replacement(monkeypatch, 2)
    with pytest.raises(Killed, match="killed"):
        save_model(make_network(), make_spec(), tmp_path)
    with pytest.raises(ModelMismatchError, match="there is no model at"):
        load_model_spec(tmp_path / "model.json").require_weights(tmp_path / "model.pt")


def test_weights_of_another_model_are_not_accepted_in_between(tmp_path, monkeypatch):
    other = make_spec(network={"dropout": 0.1})
    save_model(make_network(), other, tmp_path)
    kill_at_replacement(monkeypatch, 2)
    with pytest.raises(Killed, match="killed"):
        save_model(make_network(), make_spec(), tmp_path)
    with pytest.raises(ModelMismatchError, match=r"is not the model that its model\.json describes"):
        load_model_spec(tmp_path / "model.json").require_weights(tmp_path / "model.pt")


def test_damaged_description_is_replaced_by_a_whole_one(tmp_path):
    save_model(make_network(), make_spec(), tmp_path)
    (tmp_path / "model.json").write_text("{")
    save_model(make_network(), make_spec(), tmp_path)
    assert_usable_pair(tmp_path)


def test_origin_of_the_first_weights_is_recorded(tmp_path):
    network = make_network()
    network.pretrained_source = "imagenet"
    save_model(network, make_spec(), tmp_path)
    assert load_model_spec(tmp_path / "model.json").pretrained == "imagenet"


def stumbled_over(error: OSError) -> RuntimeError:
    """What torch raises when the file it writes to raised."""
    stumble = RuntimeError("unexpected pos 704 vs 598")
    stumble.__context__ = error
    return stumble


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), "torch could not write it .*data/0"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (stumbled_over(OSError(errno.EFBIG, "File too large")), "File too large"),
    ],
)
@pytest.mark.parametrize("name", ["model.pt", "last.pt"])
def test_full_disk_ends_the_run_with_the_former_files_intact(tmp_path, monkeypatch, every_epoch, error, text, name):
    train_until(tmp_path, Events.ITERATION_COMPLETED(once=STEPS + 1), kill, (Killed, "killed"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save = torch.save

    def fill_the_disk(content: Any, file: BinaryIO) -> None:
        if Path(file.name).name.startswith(f".{name.removesuffix('.pt')}-"):
            file.write(b"half of it")
            raise error
        save(content, file)

    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    monkeypatch.setattr(torch, "save", fill_the_disk)
    monkeypatch.setattr(RunCheckpoint, "_is_best", lambda self, epoch: True)
    with pytest.raises(OutputWriteError, match=rf"cannot write .*{name}: .*{text}"):
        run.trainer.run()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert after["last.pt"] == before["last.pt"]
    if name == "model.pt":
        assert after == before
    assert_usable_pair(tmp_path)


def test_description_that_cannot_be_written_is_the_one_named(tmp_path, monkeypatch):
    save_model(make_network(), make_spec(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def no_space(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_space)
    with pytest.raises(OutputWriteError, match=r"^cannot write \S*model\.json: No space left on device"):
        save_model(make_network(), make_spec(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(OutputWriteError, match=r"cannot write .*models/"):
        train(tmp_path / "models")


@pytest.mark.parametrize("iteration", [STEPS + 1, 2 * STEPS])
def test_interrupt_within_an_epoch_leaves_a_usable_checkpoint(tmp_path, every_epoch, uninterrupted, caplog, iteration):
    former = signal.getsignal(signal.SIGINT)
    with caplog.at_level(logging.WARNING):
        train_until(tmp_path, Events.ITERATION_STARTED(once=iteration), interrupt, (SystemExit, "130"))
    assert signal.getsignal(signal.SIGINT) is former
    assert "interrupted: the same command resumes from the last epoch in" in caplog.text
    assert weights(tmp_path / "last.pt")["epoch"] == 1
    assert_usable_pair(tmp_path)
    run = train(tmp_path)
    assert signal.getsignal(signal.SIGINT) is former
    assert_same_result(tmp_path, run, uninterrupted)


def test_interrupt_before_the_first_epoch_is_over_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train_until(tmp_path, Events.ITERATION_STARTED(once=1), interrupt, (SystemExit, "130"))
    assert "interrupted: the same command starts again, because nothing was saved in" in caplog.text
    assert not list(tmp_path.iterdir())


def test_interrupt_during_validation_keeps_that_epoch(tmp_path, uninterrupted):
    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    run.evaluator.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: interrupt() if engine.state.epoch == 2 else None
    )
    with pytest.raises(SystemExit, match="130"):
        run.trainer.run()
    assert weights(tmp_path / "last.pt")["epoch"] == 2
    assert_same_result(tmp_path, train(tmp_path), uninterrupted)


def test_interrupt_while_training_stops_early_leaves_a_finished_run(tmp_path):
    """Early stopping must not be forgotten because Ctrl-C came in the same epoch."""
    run = make_run(tmp_path, patience=1, score=lambda engine: 0.5)
    run.saver.attach(run.trainer, run.evaluator)
    run.evaluator.add_event_handler(
        Events.EPOCH_STARTED, lambda engine: interrupt() if engine.state.epoch == 2 else None
    )
    with pytest.raises(SystemExit, match="130"):
        run.trainer.run()
    resumed = train(tmp_path, patience=1, score=lambda engine: 0.5)
    assert resumed.saver.is_finished
    assert resumed.trainer.state.epoch == 2


@pytest.fixture
def former_sigint():
    """Python's own handler of Ctrl-C: a run in the background of a shell starts with the signal ignored."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, found)


def test_second_interrupt_stops_at_once(tmp_path, every_epoch, former_sigint):

    def twice() -> None:
        interrupt()
        interrupt()

    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    raise_at(run, Events.ITERATION_STARTED(once=STEPS + 1), twice)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run.trainer.run()
    assert signal.getsignal(signal.SIGINT) is former_sigint
    assert weights(tmp_path / "last.pt")["epoch"] == 1


def test_training_in_a_thread_leaves_signals_alone(tmp_path):
    former = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        run = make_run(tmp_path)
        run.saver.attach(run.trainer, run.evaluator)
        raise_at(run, Events.EPOCH_STARTED, lambda: seen.append(signal.getsignal(signal.SIGINT)))
        run.trainer.run()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [former] * EPOCHS
    assert_usable_pair(tmp_path)


def test_early_stopping_counts_on_after_a_resume(tmp_path, every_epoch):
    arguments: dict[str, Any] = {"patience": 2, "score": lambda engine: 0.5}
    train_until(tmp_path, Events.ITERATION_COMPLETED(once=2 * STEPS + 1), kill, (Killed, "killed"), **arguments)
    resumed = make_run(tmp_path, **arguments)
    resumed.saver.attach(resumed.trainer, resumed.evaluator)
    assert (resumed.early_stop.counter, resumed.early_stop.best_score) == (1, 0.5)
    resumed.trainer.run()
    assert resumed.trainer.state.epoch == 3
    assert weights(tmp_path / "last.pt")["stopped_early"]
    again = train(tmp_path, **arguments)
    assert again.saver.is_finished
    assert again.trainer.state.epoch == 3


def test_best_figure_so_far_survives_a_resume(tmp_path, every_epoch):
    train_until(tmp_path, Events.ITERATION_COMPLETED(once=2 * STEPS + 1), kill, (Killed, "killed"))
    last = weights(tmp_path / "last.pt")
    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    assert run.evaluator.state.best_metric == last["best_metric"] > 0
    assert run.evaluator.state.best_metric_epoch == last["best_metric_epoch"] > 0


def test_model_is_kept_when_validation_has_nothing_to_compare(tmp_path, monkeypatch):
    """Cases without any class give NaN, against which nothing is better: the first real figure must still count."""
    values = iter([math.nan, math.nan, 0.5, 0.25])
    saved = []
    monkeypatch.setattr(LabelDice, "aggregate", lambda metric: torch.tensor(next(values)))

    def note_and_save(*arguments: Any) -> None:
        saved.append(run.trainer.state.epoch)
        save_model(*arguments)

    monkeypatch.setattr(checkpoints, "save_model", note_and_save)
    run = make_run(tmp_path)
    run.saver.attach(run.trainer, run.evaluator)
    run.trainer.run()
    assert saved == [1, 2, 3]


def test_without_validation_the_last_model_is_kept(tmp_path):
    run = make_run(tmp_path)
    run.saver.attach(run.trainer)
    run.trainer.run()
    assert_same(run.objects["ema"].state_dict(), weights(tmp_path / "model.pt"))
    assert_usable_pair(tmp_path)


def test_loss_scale_of_mixed_precision_goes_on(tmp_path, every_epoch):
    """MONAI makes the scaler anew in each `run()`."""

    def with_scaler(scale: float) -> SimpleNamespace:
        run = make_run(tmp_path)
        run.trainer.add_event_handler(
            Events.STARTED,
            lambda engine: setattr(engine, "scaler", torch.amp.GradScaler("cpu", init_scale=scale)),
        )
        run.saver.attach(run.trainer, run.evaluator)
        return run

    first = with_scaler(8.0)
    raise_at(first, Events.ITERATION_COMPLETED(once=STEPS + 1), kill)
    with pytest.raises(Killed, match="killed"):
        first.trainer.run()
    resumed = with_scaler(1024.0)
    resumed.trainer.run()
    assert resumed.trainer.scaler.get_scale() == 8.0


def test_error_in_a_step_reaches_the_caller(tmp_path):
    former = signal.getsignal(signal.SIGINT)

    def fail() -> None:
        raise ValueError("a step went wrong")

    train_until(tmp_path, Events.ITERATION_COMPLETED(once=2), fail, (ValueError, "a step went wrong"))
    assert signal.getsignal(signal.SIGINT) is former


def test_two_runs_alike_leave_the_same_files(tmp_path, uninterrupted):
    """`model.json` holds the hash of `model.pt`, so it can be compared across machines."""
    train(tmp_path)
    for name in ("model.pt", "model.json", "last.pt"):
        assert sha256_of_file(tmp_path / name) == sha256_of_file(uninterrupted[0] / name), name


def test_saved_weights_load_into_their_network(tmp_path):
    torch.manual_seed(0)
    network = make_network()
    save_model(network, make_spec(), tmp_path)
    loaded = load_weights(make_network(), tmp_path / "model.pt")
    assert_same(network.state_dict(), loaded.state_dict())
    assert loaded[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (make_network(8).state_dict(), "does not fit this network: .*size mismatch for 0.weight"),
        ({"0.weight": torch.zeros(4, 1, 3, 3)}, 'does not fit this network: .*Missing key.*"0.bias"'),
        ([1, 2], "does not fit this network: Expected state_dict to be dict-like"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, content, text):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelMismatchError, match=text):
        load_weights(make_network(), tmp_path / "model.pt")


def test_weights_that_are_missing_or_unsafe_are_refused(tmp_path):
    with pytest.raises(ModelMismatchError, match=r"none\.pt does not fit this network: .*No such file"):
        load_weights(make_network(), tmp_path / "none.pt")
    torch.save(make_network(), tmp_path / "pickled.pt")  # a whole module: loading it would run code
    with pytest.raises(ModelMismatchError, match=r"pickled\.pt does not fit this network: Weights only load failed"):
        load_weights(make_network(), tmp_path / "pickled.pt")


def test_hash_of_the_weights_tells_networks_apart(caplog):
    torch.manual_seed(0)
    network, other = make_network(), make_network()
    with caplog.at_level(logging.INFO):
        digest = log_weights(network)
    assert f"process 0 ends with weights {digest[:16]}" in caplog.text
    assert log_weights(network.to(memory_format=torch.channels_last)) == digest
    assert log_weights(other) != digest


def test_description_is_json_that_others_can_read(tmp_path):
    save_model(make_network(), make_spec(), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["class_names"] == ["rest", "disk"]
    assert len(content["weights_sha256"]) == 64
