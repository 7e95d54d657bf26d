"""A run killed at any moment goes on to the result of the uninterrupted one, and always leaves a usable pair."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from checkpoint_runs import (
    EPOCHS,
    STEPS,
    Killed,
    assert_same,
    assert_same_result,
    assert_usable_pair,
    kill,
    make_network,
    make_run,
    raise_at,
    train,
    train_until,
    weights,
)
from ignite.engine import Events

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import ConfigurationError, ModelMismatchError, OutputWriteError
from monai_vggunet.training import LabelDice, RunCheckpoint, checkpoints, save_model


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


def test_word_that_is_neither_on_nor_off_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="--resume is 'flase'; expected True or False"):
        make_run(tmp_path, resume="flase")


def test_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    torch.save({"run_id": "0", "epoch": 1, "objects": {}}, tmp_path / "last.pt")
    with pytest.raises(ConfigurationError, match=r"last\.pt is of an earlier version.* pass --resume False .*previous"):
        train(tmp_path)
    assert train(tmp_path, resume=False).trainer.state.epoch == EPOCHS


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


def test_two_runs_alike_leave_the_same_files(tmp_path, uninterrupted):
    """`model.json` holds the hash of `model.pt`, so it can be compared across machines."""
    train(tmp_path)
    for name in ("model.pt", "model.json", "last.pt"):
        assert sha256_of_file(tmp_path / name) == sha256_of_file(uninterrupted[0] / name), name
