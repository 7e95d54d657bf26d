"""Files of another run are moved, never overwritten, and a run may begin with the model of its own folder."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

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
    train,
    train_until,
    weights,
)
from ignite.engine import Events

from monai_vggunet.errors import ConfigurationError, OutputWriteError
from monai_vggunet.training import checkpoints, save_model
from monai_vggunet.training.run_folder import set_aside


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


def test_what_a_killed_save_left_goes_when_the_run_goes_on(tmp_path):
    train(tmp_path)
    names = (".model-abcdefgh.pt", ".model-abcdefgh.json", ".last-abcdefgh.pt", ".history-abcdefgh.json")
    for name in names:
        (tmp_path / name).write_bytes(b"half of it")
    (tmp_path / ".other-abcdefgh.pt").write_bytes(b"not ours")
    assert train(tmp_path).saver.is_finished
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".other-abcdefgh.pt"]


def test_file_that_is_no_checkpoint_of_ours_is_set_aside(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "last.pt")
    train(tmp_path)
    assert weights(tmp_path / "last.pt")["epoch"] == EPOCHS
    assert len(list((tmp_path / "previous").glob("*/last.pt"))) == 1


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(OutputWriteError, match=r"cannot write .*models/"):
        train(tmp_path / "models")


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
