"""Work spread over helper processes, because header parsing and most codecs hold the interpreter's lock.

Codecs may also crash on damaged data, and take their process with them: they run in helpers only.

A helper is a fresh Python that is told what to do through a pipe. It is no `multiprocessing` child: nothing of the
caller's `__main__` runs again, nothing is forked beside running threads. Helpers stay for the next call, leave when
idle, and end with the process that started them.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from monai_vggunet.dicom.parallel.helper_process import Helper
from monai_vggunet.stopping import at_forced_end

__all__ = ["HelperCrashError", "available_cores", "spread", "spread_contained"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# A helper needs some 0.3 s to start: work alone nearly as long first, and ask for help only for more than twice that.
START_SEC = 0.25
WORTH_STARTING_SEC = 2 * START_SEC
# Helpers that are there already are asked for less.
WORTH_ASKING_SEC = 0.05

_lock = threading.Lock()
_idle: list[Helper] = []
_all: set[Helper] = set()


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    consume: Callable[[int, Result], None],
    num_workers: int,
) -> None:
    """Call a function for every item, by helpers where that pays, and hand each result over as soon as it is there.

    The caller does the work alone if there is little, in a worker of a data loader, and on one core.

    Args:
        function: a function of a module, so that a helper can import it; items and results must be picklable.
        items: arguments of one call each. Calls should take milliseconds, not microseconds.
        consume: called with an item's index and result, by several threads at once; arrays in a result are valid until
            it returns.
        num_workers: at most this many calls at once.

    Raises:
        HelperCrashError: if a helper crashes in a call, as on damaged data that a codec does not survive. Such a call
            is not repeated here, where it would end the caller.
        Exception: the first one that a call raises.
    """
    waiting = deque(enumerate(items))
    started = time.monotonic()
    crew: list[Helper] = []
    asked = not _possible(num_workers)
    try:
        while waiting:
            if crew and all(helper.has_started() for helper in crew):
                _by_helpers(function, waiting, consume, crew)
                _release(crew)
                crew = []  # what is left now was lost with a helper: the caller does it
                continue
            if not asked and len(waiting) < len(items):
                elapsed = time.monotonic() - started
                remaining = elapsed / (len(items) - len(waiting)) * len(waiting)
                if _idle and remaining > WORTH_ASKING_SEC:
                    crew, asked = _take_idle(num_workers), True
                elif elapsed > START_SEC and remaining > WORTH_STARTING_SEC:
                    crew, asked = _start(num_workers), True
                if crew:
                    continue
            index, item = waiting.popleft()
            consume(index, function(item))
    finally:
        _release(crew)


def spread_contained(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    consume: Callable[[int, Result], None],
    num_workers: int,
) -> None:
    """Call a function for every item as `spread` does, but always in helpers: a crash never ends the caller.

    A single helper does small jobs, and every job in a worker of a data loader.

    Args:
        function, items, consume, num_workers: as of `spread`.

    Raises:
        HelperCrashError: a call crashed its helper, or two helpers went away during it.
        NoHelperError: no helper can be started.
        Exception: the first one that a call raises.
    """
    waiting, lost = deque(enumerate(items)), set[int]()
    while waiting:
        crew = _ready_crew(num_workers)
        if not crew:
            raise NoHelperError
        try:
            lost_now = _begin(function, waiting, consume, crew, num_workers)
            lost_now += _by_helpers(function, waiting, consume, crew)
        finally:
            _release(crew)
        if twice := lost.intersection(lost_now):
            raise HelperCrashError(min(twice))
        lost.update(lost_now)


class NoHelperError(RuntimeError):
    """This process cannot start others: a limit of the system, or an interpreter that cannot be run by itself."""


class HelperCrashError(RuntimeError):
    """A call that a helper process did not survive; `index` is the item's."""

    def __init__(self, index: int) -> None:
        super().__init__(f"a helper process crashed on item {index}")
        self.index = index


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_helpers(
    function: Callable[[Item], Result],
    waiting: deque[tuple[int, Item]],
    consume: Callable[[int, Result], None],
    crew: list[Helper],
) -> list[int]:
    """Let helpers work off what is waiting; return the items whose helper went away, which are waiting again."""
    lost: list[tuple[int, Item]] = []

    def drive(helper: Helper) -> None:
        helper.wait_until_started()
        while helper.is_alive():
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            answer = helper.call(function, item)
            if answer is None:
                if helper.crashed():
                    raise HelperCrashError(index)
                lost.append((index, item))
                return
            succeeded, result = answer
            if not succeeded:
                raise result
            consume(index, result)

    with ThreadPoolExecutor(len(crew)) as pool:
        tasks = [pool.submit(drive, helper) for helper in crew]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            waiting.clear()  # given up: each helper finishes what it has in hand
            raise
    waiting.extend(lost)
    return [index for index, _ in lost]


def _ready_crew(num_workers: int) -> list[Helper]:
    """Return idle helpers, or else a new one; none where there can be none."""
    crew = _started(_take_idle(max(1, num_workers)))
    if not crew and _can_start():  # those that were idle may have been killed meanwhile
        crew = _started(_start(1))
    return crew


def _started(crew: list[Helper]) -> list[Helper]:
    for helper in crew:
        helper.wait_until_started()
    _release([helper for helper in crew if not helper.is_alive()])
    return [helper for helper in crew if helper.is_alive()]


def _begin(
    function: Callable[[Item], Result],
    waiting: deque[tuple[int, Item]],
    consume: Callable[[int, Result], None],
    crew: list[Helper],
    num_workers: int,
) -> list[int]:
    """Let the first helper see how long the work takes, and add others where that pays; return what was lost."""
    if len(crew) >= num_workers or not _possible(num_workers):
        return []
    began, n_items = time.monotonic(), len(waiting)
    while waiting:
        one = deque([waiting.popleft()])
        lost = _by_helpers(function, one, consume, crew[:1])
        waiting.extendleft(one)
        if lost:
            return lost
        elapsed, n_done = time.monotonic() - began, n_items - len(waiting)
        if elapsed > START_SEC:
            if elapsed / n_done * len(waiting) > WORTH_STARTING_SEC:
                crew += _start(num_workers - len(crew))
            break
    return []


def _can_start() -> bool:
    """Whether this system and this interpreter can run helpers."""
    return (
        os.name == "posix"
        and not getattr(sys, "frozen", False)
        and Path(sys.executable or "").name.lower().startswith("python")  # not so in an application that embeds Python
    )


def _possible(num_workers: int) -> bool:
    """Whether several helpers pay: not in a worker of a data loader, whose siblings are the parallel work."""
    return num_workers > 1 and available_cores() > 1 and multiprocessing.parent_process() is None and _can_start()


def _take_idle(num_workers: int) -> list[Helper]:
    with _lock:
        taken, _idle[:] = _idle[:num_workers], _idle[num_workers:]
    return taken


def _start(num_workers: int) -> list[Helper]:
    crew: list[Helper] = []
    try:
        for _ in range(min(num_workers, available_cores())):
            crew.append(Helper())
            _all.add(crew[-1])
    except OSError:  # no more processes: as many as there are
        pass
    return crew


def _release(crew: list[Helper]) -> None:
    """Keep the helpers that can be of use again, end the others."""
    for helper in crew:
        if helper.is_alive():
            with _lock:
                _idle.append(helper)
        else:
            _all.discard(helper)
            helper.end()


def _forget() -> None:
    """After a fork the helpers are the parent's."""
    _idle.clear()
    _all.clear()


def _end_all() -> None:
    """End the helpers with the process that started them, those in the middle of something too."""
    _idle.clear()
    helpers = tuple(_all)
    _all.clear()
    for helper in helpers:
        helper.process.kill()
    for helper in helpers:
        helper.end()


atexit.register(_end_all)
at_forced_end(_end_all)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
