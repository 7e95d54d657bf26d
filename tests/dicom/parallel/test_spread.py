from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helper_tasks
import numpy as np
import pytest

from monai_vggunet.dicom.parallel import spread as helpers

pytestmark = pytest.mark.skipif(
    os.name != "posix" or helpers.available_cores() < 2, reason="helpers need POSIX and two cores"
)


@pytest.fixture(autouse=True)
def helpers_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ask for helpers from the second item on, whatever the work; leave none behind."""
    for name in ("START_SEC", "WORTH_STARTING_SEC", "WORTH_ASKING_SEC"):
        monkeypatch.setattr(helpers, name, 0.0)
    helpers._end_all()
    yield
    helpers._end_all()


def call(function: Callable[[Any], Any], items: list[Any], num_workers: int = 2) -> dict[int, Any]:
    results: dict[int, Any] = {}
    helpers.spread(function, items, results.__setitem__, num_workers)
    return results


def call_until_helped(function: Callable[[Any], Any], items: list[Any]) -> dict[int, Any]:
    """Start helpers, wait until they are there, and call by them."""
    call(helper_tasks.square_and_process, [1, 2, 3])
    assert len(helpers._idle) == 2
    deadline = time.monotonic() + 60
    while not all(helper.has_started() for helper in helpers._idle):
        assert time.monotonic() < deadline, "helpers do not start"
        time.sleep(0.05)
    return call(function, items)


def test_every_item_is_worked_off_once_by_other_processes() -> None:
    results = call_until_helped(helper_tasks.square_and_process, list(range(20)))
    assert [results[index][0] for index in range(20)] == [number * number for number in range(20)]
    assert len({process for _, process in results.values()} - {os.getpid()}) == 2


def test_arrays_come_back_whole_though_their_memory_is_used_again() -> None:
    call_until_helped(helper_tasks.square_and_process, [1])
    seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    helpers.spread(
        helper_tasks.array_of, list(range(12)), lambda index, pair: seen.update({index: (pair[0].copy(), pair[1])}), 2
    )
    assert all((seen[number][0] == number).all() and seen[number][0].shape == (300, 400) for number in range(12))


def test_exception_of_a_call_is_raised_and_the_helpers_stay_usable() -> None:
    with pytest.raises(ValueError, match="seven is refused"):
        call_until_helped(helper_tasks.refuse_seven, list(range(30)))
    assert call(helper_tasks.refuse_seven, [1, 2, 3]) == {0: 1, 1: 2, 2: 3}


def test_a_crash_in_a_helper_is_an_error_and_not_repeated_here() -> None:
    with pytest.raises(helpers.HelperCrashError, match="crashed on item") as caught:
        call_until_helped(helper_tasks.abort_elsewhere, [os.getpid()] * 10)
    assert 0 < caught.value.index < 10


def test_work_of_a_helper_that_is_gone_is_done_by_the_caller() -> None:
    results = call_until_helped(helper_tasks.leave_elsewhere, [os.getpid()] * 10)
    assert results == dict.fromkeys(range(10), os.getpid())


def test_what_libraries_print_does_not_get_between_the_answers() -> None:
    assert call_until_helped(helper_tasks.print_loudly, list(range(10))) == dict(enumerate(range(10)))


def test_little_work_starts_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "START_SEC", 10.0)
    results = call(helper_tasks.square_and_process, list(range(5)))
    assert {process for _, process in results.values()} == {os.getpid()}
    assert not helpers._idle


def test_one_worker_means_the_caller_alone() -> None:
    results = call(helper_tasks.square_and_process, list(range(5)), num_workers=1)
    assert {process for _, process in results.values()} == {os.getpid()}


def _in_child(answers: Any) -> None:
    results = call(helper_tasks.square_and_process, list(range(5)))
    answers.put(({process for _, process in results.values()} == {os.getpid()}, len(helpers._idle)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_daemonic_worker_works_alone_and_leaves_its_parents_helpers(method: str) -> None:
    call_until_helped(helper_tasks.square_and_process, [1])
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=_in_child, args=(answers,), daemon=True)
    process.start()
    assert answers.get(timeout=60) == (True, 0)
    process.join(10)
    assert len(helpers._idle) == 2
    assert len(call(helper_tasks.square_and_process, list(range(9)))) == 9


def test_a_helper_that_cannot_start_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.dicom.parallel.helper_process._CHILD", "raise SystemExit(3)")
    assert call(helper_tasks.refuse_seven, [1] * 40) == dict.fromkeys(range(40), 1)
    assert not [helper for helper in helpers._idle if helper.is_alive()]


def contained(function: Callable[[Any], Any], items: list[Any], num_workers: int = 2) -> dict[int, Any]:
    results: dict[int, Any] = {}
    helpers.spread_contained(function, items, results.__setitem__, num_workers)
    return results


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("count", [1, 12])
def test_contained_work_is_never_done_by_the_caller(count: int, num_workers: int) -> None:
    results = contained(helper_tasks.square_and_process, list(range(count)), num_workers)
    assert [results[index][0] for index in range(count)] == [number * number for number in range(count)]
    assert os.getpid() not in {process for _, process in results.values()}


def test_contained_work_has_a_new_helper_where_the_idle_ones_were_killed() -> None:
    contained(helper_tasks.refuse_seven, [1])
    for helper in helpers._idle:
        helper.process.kill()
        helper.process.wait()
    assert contained(helper_tasks.refuse_seven, [1, 2]) == {0: 1, 1: 2}


def test_a_crash_on_the_first_item_is_survived() -> None:
    with pytest.raises(helpers.HelperCrashError, match="crashed on item 0"):
        contained(helper_tasks.crash, [1])
    assert contained(helper_tasks.refuse_seven, [1, 2, 3]) == {0: 1, 1: 2, 2: 3}


def test_an_exception_of_contained_work_is_raised() -> None:
    with pytest.raises(ValueError, match="seven is refused"):
        contained(helper_tasks.refuse_seven, [7])


def test_contained_work_of_a_helper_that_is_gone_is_done_by_another_once(tmp_path: Path) -> None:
    assert os.getpid() not in contained(helper_tasks.leave_once, [str(tmp_path / "left")] * 3).values()
    with pytest.raises(helpers.HelperCrashError, match="crashed on item 0"):
        contained(helper_tasks.leave, [1])


def _contained_in_child(answers: Any) -> None:
    results = contained(helper_tasks.square_and_process, list(range(5)))
    answers.put(os.getpid() in {process for _, process in results.values()})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_contained_work_in_a_daemonic_worker_has_a_helper_too(method: str) -> None:
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=_contained_in_child, args=(answers,), daemon=True)
    process.start()
    assert answers.get(timeout=60) is False
    process.join(10)


def test_contained_work_is_refused_where_no_helper_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.dicom.parallel.helper_process._CHILD", "raise SystemExit(3)")
    done: list[int] = []
    with pytest.raises(helpers.NoHelperError, match=r"^$"):
        helpers.spread_contained(helper_tasks.refuse_seven, [1] * 3, lambda index, _: done.append(index), 2)
    assert not done


def test_helpers_end_when_told() -> None:
    call_until_helped(helper_tasks.square_and_process, [1])
    processes = [helper.process for helper in helpers._idle]
    helpers._end_all()
    assert all(process.poll() is not None for process in processes)
