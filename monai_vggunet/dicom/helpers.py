"""Work spread over helper processes, because header parsing and most codecs hold the interpreter's lock.

A helper is a fresh Python that is told what to do through a pipe. It is no `multiprocessing` child: nothing of the
caller's `__main__` runs again, nothing is forked beside running threads. Helpers are started only for work that takes
long, stay for the next call, leave when idle, and end with the process that started them. Where there can be none (in
a worker of a data loader, on one core, outside POSIX) the work is done by the caller alone.
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

from monai_vggunet.dicom.helper_process import Helper

__all__ = ["HelperCrashError", "available_cores", "spread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# A helper needs some 0.3 s to start: work alone nearly as long before asking for help, and only for more than twice it.
START_SEC = 0.25
WORTH_STARTING_SEC = 2 * START_SEC
# Helpers that are there already are asked for less.
WORTH_ASKING_SEC = 0.05


_lock = threading.Lock()
_idle: list[Helper] = []


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    consume: Callable[[int, Result], None],
    num_workers: int,
) -> None:
    """Call a function for every item, by helpers where that pays, and hand each result over as soon as it is there.

    Args:
        function: a function of a module, so that a helper can import it; items and results must be picklable.
        items: arguments of one call each. Calls should take milliseconds, not microseconds.
        consume: is given an item's index and result, by several threads at once; arrays in a result are valid until it
            returns.
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
                crew = []  # what is left now is what a helper did not survive: for the caller
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
) -> None:
    """Let helpers work off what is waiting; an item whose helper is gone goes back, for the caller."""
    lost: list[tuple[int, Item]] = []

    def drive(helper: Helper) -> None:
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


def _possible(num_workers: int) -> bool:
    """Whether helpers may be started: not from a worker of a data loader, whose siblings are the parallel work."""
    return (
        num_workers > 1
        and os.name == "posix"
        and available_cores() > 1
        and multiprocessing.parent_process() is None
        and not getattr(sys, "frozen", False)
        and Path(sys.executable or "").name.startswith("python")  # an application that embeds Python is none
    )


def _take_idle(num_workers: int) -> list[Helper]:
    with _lock:
        taken, _idle[:] = _idle[:num_workers], _idle[num_workers:]
    return taken


def _start(num_workers: int) -> list[Helper]:
    crew: list[Helper] = []
    try:
        for _ in range(min(num_workers, available_cores())):
            crew.append(Helper())
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
            helper.end()


def _forget() -> None:
    """After a fork the helpers are the parent's."""
    _idle.clear()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
