"""A finished run is not run again, but can be prolonged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from checkpoint_runs import EPOCHS, assert_same_result, make_run, train


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
