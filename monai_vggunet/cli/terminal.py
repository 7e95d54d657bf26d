"""Standard output and error of a command: letters that a terminal lacks, a full disk, a reader who has left."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import TextIOWrapper
from typing import Any, TextIO

__all__ = ["give_up_output", "steady_terminal"]


@contextmanager
def steady_terminal() -> Iterator[None]:
    """Let nothing that is shown stop a run: what a terminal lacks is escaped, and a log that cannot be written is lost.

    What standard output does not take remains an error, because a program may wait for it.
    """
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        out, err = sys.stdout or nowhere, sys.stderr or nowhere  # none, where a service closed them
        for stream in (out, err):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(_Forgiving(err)))  # type: ignore[type-var]
        yield
        try:
            err.flush()
        except OSError:  # Python would end with another exit status
            _discard(err)


def give_up_output() -> None:
    """Discard what standard output did not take, so that Python does not try again at its end."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Forgiving:
    """A stream that takes everything, whatever becomes of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
