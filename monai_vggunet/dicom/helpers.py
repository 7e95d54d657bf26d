"""Work spread over helper processes, because header parsing and most codecs hold the interpreter's lock.

A helper is a fresh Python that is told what to do through a pipe. It is no `multiprocessing` child: nothing of the
caller's `__main__` runs again, nothing is forked beside running threads. Helpers are started only for work that takes
long, stay for the next call, leave when idle, and end with the process that started them. Where there can be none (in
a worker of a data loader, on one core, outside POSIX) the work is done by the caller alone.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["available_cores", "serve", "spread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# A helper needs about this long to start: work alone as long before asking for help, and only for more than twice it.
START_SEC = 0.4
WORTH_STARTING_SEC = 2 * START_SEC
# Helpers that are there already are asked for less.
WORTH_ASKING_SEC = 0.05
# An idle helper holds some 40 MB; this long it waits for more work.
IDLE_SEC = 60.0
# One plane's result fits into the pipe, so that a helper need not wait for its reader.
_PIPE_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
# A helper is one of several: none of its libraries is to use all cores (OpenJPEG does, unless told).
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPJ_NUM_THREADS")}
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from monai_vggunet.dicom.helpers import serve; serve()"
)

_lock = threading.Lock()
_idle: list[_Helper] = []


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
        Exception: the first one that a call raises.
    """
    waiting = deque(enumerate(items))
    started = time.monotonic()
    crew: list[_Helper] = []
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


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve() -> None:
    """Answer requests from standard input until it closes or nothing comes for long: what a helper process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller's business
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    from monai_vggunet.dicom import decoding, headers  # noqa: F401 so that the first request finds them loaded

    _send(answers, None)
    while select.select([requests], [], [], IDLE_SEC)[0]:
        request = _receive(requests, bytearray())
        if request is None:
            return
        function, item = request[0]
        try:
            answer: tuple[bool, Any] = (True, function(item))
        except Exception as error:  # whatever it is, it is the caller's to see
            answer = (False, error)
        _send(answers, answer)


class _Helper:
    """One helper process, and the pipes to it."""

    def __init__(self) -> None:
        environment = {**os.environ, **_ONE_THREAD}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pipesize=_PIPE_BYTES if sys.platform == "linux" else -1,
            env=environment,
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: PT018 for the types
        self.requests, self.answers = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.started = self.busy = False
        self.scratch = bytearray(_PIPE_BYTES + _PIPE_BYTES // 4)

    def has_started(self) -> bool:
        """Whether it is ready for work, or has failed to start."""
        if not self.started and select.select([self.answers], [], [], 0)[0]:
            self.started = True
            self.busy = _receive(self.answers, bytearray()) is None  # then it is never used
        return self.started

    def is_alive(self) -> bool:
        return not self.busy and self.process.poll() is None

    def call(self, function: Callable[[Item], Result], item: Item) -> tuple[bool, Any] | None:
        """Return whether the call succeeded, and its result or exception; None if the helper is gone."""
        self.busy = True
        try:
            _send(self.requests, (function, item))
            answer = _receive(self.answers, self.scratch)
        except OSError:
            return None
        if answer is None:
            return None
        self.busy = False
        return answer[0]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def _by_helpers(
    function: Callable[[Item], Result],
    waiting: deque[tuple[int, Item]],
    consume: Callable[[int, Result], None],
    crew: list[_Helper],
) -> None:
    """Let helpers work off what is waiting; an item whose helper is gone goes back, for the caller."""
    lost: list[tuple[int, Item]] = []

    def drive(helper: _Helper) -> None:
        while helper.is_alive():
            try:
                index, item = waiting.popleft()
            except IndexError:
                return
            answer = helper.call(function, item)
            if answer is None:
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


def _take_idle(num_workers: int) -> list[_Helper]:
    with _lock:
        taken, _idle[:] = _idle[:num_workers], _idle[num_workers:]
    return taken


def _start(num_workers: int) -> list[_Helper]:
    crew: list[_Helper] = []
    try:
        for _ in range(min(num_workers, available_cores())):
            crew.append(_Helper())
    except OSError:  # no more processes: as many as there are
        pass
    return crew


def _release(crew: list[_Helper]) -> None:
    """Keep the helpers that can be of use again, end the others."""
    for helper in crew:
        if helper.is_alive():
            with _lock:
                _idle.append(helper)
        else:
            helper.end()


def _send(stream: int, message: Any) -> None:
    """Write lengths, the pickled message, and the contents of its arrays."""
    arrays: list[pickle.PickleBuffer] = []
    content = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(content), *(array.raw() for array in arrays)]
    lengths = [len(part) for part in parts]
    for part in (memoryview(struct.pack(f"<Q{len(parts)}Q", len(parts), *lengths)), *parts):
        left = part
        while left:
            left = left[os.write(stream, left) :]


def _receive(stream: int, scratch: bytearray) -> tuple[Any] | None:
    """Return one message, whose arrays lie in `scratch` (replaced when too small); None at the end of the stream."""
    head = bytearray(_LENGTH.size)
    if not _filled(stream, memoryview(head)):
        return None
    table = bytearray(_LENGTH.size * _LENGTH.unpack(head)[0])
    if not _filled(stream, memoryview(table)):
        return None
    lengths = [length for (length,) in _LENGTH.iter_unpack(table)]
    if sum(lengths) > len(scratch):
        scratch = bytearray(sum(lengths))
    whole = memoryview(scratch)[: sum(lengths)]
    if not _filled(stream, whole):
        return None
    ends = list(accumulate(lengths))
    content, *arrays = (whole[end - length : end] for end, length in zip(ends, lengths, strict=True))
    return (pickle.loads(content, buffers=arrays),)


def _filled(stream: int, buffer: memoryview) -> bool:
    """Fill a buffer; return whether the stream held enough."""
    while buffer:
        count = os.readv(stream, [buffer])
        if not count:
            return False
        buffer = buffer[count:]
    return True


def _forget() -> None:
    """After a fork the helpers are the parent's."""
    _idle.clear()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
