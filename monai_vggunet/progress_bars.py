"""Lines of the log and warnings stand above a progress bar, not behind it: the bar is wiped, and drawn again below."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any, TextIO, cast

__all__ = ["keep_lines_above_bars"]

_MARK = "_monai_vggunet_above_bars"


def keep_lines_above_bars() -> None:
    """Let all handlers of the log that write to a stream now, and warnings, heed tqdm's bars.

    The bars of MONAI and Ignite are tqdm's too. Calling it again covers handlers that were added since.
    """
    for handler in _handlers():
        if isinstance(handler, logging.StreamHandler) and not hasattr(handler.emit, _MARK):
            handler.emit = _above_bars(handler.emit, partial(getattr, handler, "stream"))  # type: ignore[method-assign]
    if warnings.showwarning.__module__ == warnings.__name__:  # else they go to the log or elsewhere
        warnings.showwarning = _above_bars(warnings.showwarning, lambda: sys.stderr)


def _handlers() -> Iterator[logging.Handler]:
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        yield from getattr(logger, "handlers", ())


def _above_bars(write: Callable[..., None], stream: Callable[[], TextIO]) -> Callable[..., None]:
    process = os.getpid()

    @wraps(write)
    def written(*args: Any, **kwargs: Any) -> None:
        # A helper process has no bar, and must not be killed while it holds a lock that it shares with one that has.
        with _without_bars(stream()) if os.getpid() == process else nullcontext():
            write(*args, **kwargs)

    written.__module__ = __name__
    setattr(written, _MARK, True)
    return written


def _without_bars(stream: TextIO) -> AbstractContextManager[None]:
    """Wipe the bars on a terminal for a moment; where tqdm was never imported there are none."""
    tqdm = sys.modules.get("tqdm")
    return cast("AbstractContextManager[None]", tqdm.tqdm.external_write_mode(stream)) if tqdm else nullcontext()
