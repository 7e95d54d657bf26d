"""A command's standard output and error: characters that a terminal lacks, a full disk, a closed pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

from monai_vggunet.escaped_output import escape_missing_characters

__all__ = ["give_up_output", "steady_terminal"]


@contextmanager
def steady_terminal() -> Iterator[None]:
    """Keep output from stopping a run: characters that a terminal lacks are escaped, and an unwritable log is dropped.

    A failure of standard output remains an error, because another program may wait for the output.
    """
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        out, err = sys.stdout or nowhere, sys.stderr or nowhere  # None if a service closed them
        escape_missing_characters()
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(_Forgiving(err)))  # type: ignore[type-var]
        yield
        try:
            err.flush()
        except OSError:  # left alone, it would change Python's exit status
            _discard(err)


def give_up_output() -> None:
    """Discard what could not be written to standard output, so that Python does not try again at its end."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Forgiving:
    """A stream whose writes never fail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if that is possible."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
