"""One helper process: started, given work and heard through pipes, ended. See `spread` for its purpose."""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeVar

__all__ = ["Helper", "serve"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# How long a helper waits for more work: idle, it holds some 40 MB, and the next study may be minutes away.
IDLE_SEC = 300.0
# One plane's result fits into the pipe, so that a helper need not wait for its reader.
_PIPE_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")
# Signals that end a process when it meets data that it cannot survive; others, such as SIGKILL, come from outside.
_CRASH_SIGNALS = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})
# A helper is one of several: none of its libraries is to use all cores (OpenJPEG does, unless told).
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPJ_NUM_THREADS")}
_CHILD = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); import {__name__} as this; this.serve()"


class Helper:
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
            self.busy = _receive(self.answers, bytearray()) is None  # a helper that failed to start is never used
        return self.started

    def wait_until_started(self) -> None:
        """Wait until it is ready for work, or has failed to start."""
        if not self.started:
            select.select([self.answers], [], [])
            self.has_started()

    def is_alive(self) -> bool:
        """Whether it can be given work."""
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

    def crashed(self) -> bool:
        """Whether what it was given ended it; to be called when a call got no answer."""
        return -self.process.wait() in _CRASH_SIGNALS

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def serve() -> None:
    """Answer requests from standard input until it closes or nothing comes for long: what a helper process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles it
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    from monai_vggunet.privacy import protect_output

    protect_output()  # a library's warnings, which go to the caller's terminal, may quote a header
    _send(answers, None)
    while select.select([requests], [], [], IDLE_SEC)[0]:
        request = _receive(requests, bytearray())
        if request is None:
            return
        function, item = request[0]
        try:
            answer: tuple[bool, Any] = (True, function(item))
        except Exception as error:  # whatever it is, the caller gets it
            answer = (False, error)
        _send(answers, answer)


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
