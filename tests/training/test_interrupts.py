"""Ctrl-C ends a training in order, and the same command resumes it."""

from __future__ import annotations

import logging
import signal
import threading

import pytest
from checkpoint_runs import (
    EPOCHS,
    STEPS,
    assert_same_result,
    assert_usable_pair,
    interrupt,
    make_run,
    raise_at,
    train,
    train_until,
    weights,
)
from ignite.engine import Events


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


def test_error_in_a_step_reaches_the_caller(tmp_path):
    former = signal.getsignal(signal.SIGINT)

    def fail() -> None:
        raise ValueError("a step went wrong")

    train_until(tmp_path, Events.ITERATION_COMPLETED(once=2), fail, (ValueError, "a step went wrong"))
    assert signal.getsignal(signal.SIGINT) is former
