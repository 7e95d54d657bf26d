"""A signal ends a run within seconds: in order where possible, by force where a thread waits for what never comes.

Python handles a signal between two steps of its main thread, and waits for all threads before it ends. A thread that
reads from a dead network share, or a long computation in a library, would delay that forever.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

__all__ = ["Stopped", "at_forced_end", "end_now", "stop_on_signals", "told_to_stop"]

GRACE_SEC = 2.0  # for an orderly end, after which the process is forced to end
CLEANING_SEC = 1.0  # for what must not be left behind even then
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_STATUS_OF_SIGNAL = 128

_told: set[threading.Event] = set()
_pipes: set[tuple[int, int]] = set()  # in which the numbers of signals arrive
_at_forced_end: dict[object, Callable[[], object]] = {}


class Stopped(SystemExit):
    """A signal asks the program to end; this is not a study's failure, and must not be recorded as one.

    Attributes:
        status: exit status: 128 plus the signal's number, as shells give it.
    """

    def __init__(self, number: int) -> None:
        self.status = _STATUS_OF_SIGNAL + number
        super().__init__(self.status)


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM (`kill`, `timeout`, a service's stop) and a closed terminal end what runs within.

    The main thread gets `Stopped`, so that unfinished work is undone on the way out. If that takes longer than a
    moment, or a signal comes again, temporary files and helper processes are removed and the process is forced to end.
    Either way the exit status is 128 plus the signal's number. A signal that is ignored, as by `nohup`, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to no other
        yield
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    _pipes.add((reading, writing))
    former_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    seen: list[int] = []
    over = threading.Event()

    def stop(number: int, frame: object) -> None:
        if not seen:
            seen.append(number)
            _tell()
            raise Stopped(number)

    former = {number: signal.signal(number, stop) for number in heeded}
    threading.Thread(target=_watch, args=(reading, heeded, over), name="signals", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_fd)
        if (reading, writing) in _pipes:  # a child process has none
            _pipes.remove((reading, writing))
            os.close(writing)


def end_now(status: int) -> NoReturn:
    """End the process without waiting for its threads; what must not be left behind is removed first."""
    cleaning = threading.Thread(target=_clean_up, daemon=True)
    cleaning.start()
    cleaning.join(CLEANING_SEC)
    os._exit(status)


@contextmanager
def told_to_stop(event: threading.Event) -> Iterator[None]:
    """Set an event as soon as a signal comes, so that other threads give up what they wait for."""
    _told.add(event)
    try:
        yield
    finally:
        _told.discard(event)


def at_forced_end(function: Callable[[], object]) -> Callable[[], None]:
    """Register a function to be called when the process is forced to end; return a function that unregisters it.

    Args:
        function: removes temporary files or ends processes. It runs in a thread of its own while others still run.
    """
    key = object()
    _at_forced_end[key] = function

    def take_back() -> None:
        _at_forced_end.pop(key, None)

    return take_back


def _leave_pipes() -> None:
    """Let a child process not write its signals into its parent's pipes, which would end the parent."""
    if _pipes:
        signal.set_wakeup_fd(-1)
    while _pipes:
        for end in _pipes.pop():
            os.close(end)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_pipes)


def _tell() -> None:
    for event in tuple(_told):
        event.set()


def _watch(reading: int, heeded: list[int], over: threading.Event) -> None:
    """Wait for the numbers of signals, which arrive whatever the main thread does, until nobody can send any more.

    Args:
        reading: the pipe's end; a child process that a library forked may hold the other end open.
        heeded: the signals that end what runs.
        over: set as soon as it has ended in order.
    """
    number = _next(reading, heeded)
    if number and not over.is_set():
        _tell()
        if _next(reading, heeded, GRACE_SEC) is not None and not over.is_set():
            end_now(Stopped(number).status)
    os.close(reading)


def _next(reading: int, heeded: list[int], limit_sec: float | None = None) -> int | None:
    """Return the next of the signals that end the program; 0 when none comes in time, None when none can come."""
    until = None if limit_sec is None else time.monotonic() + limit_sec
    while select.select([reading], [], [], None if until is None else max(0.0, until - time.monotonic()))[0]:
        number = os.read(reading, 1)
        if not number:
            return None
        if number[0] in heeded:
            return number[0]
    return 0


def _clean_up() -> None:
    for function in tuple(_at_forced_end.values()):
        with suppress(Exception):
            function()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
