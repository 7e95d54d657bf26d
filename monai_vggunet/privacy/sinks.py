"""Where texts leave a process: its log, its warnings, its last words. Whatever goes there passes through here."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from monai_vggunet.errors import handles_headers
from monai_vggunet.escaped_output import escape_missing_characters
from monai_vggunet.layout import require_path_kept
from monai_vggunet.names import readable_lines
from monai_vggunet.privacy.known_names import redact
from monai_vggunet.privacy.name_book import keep_names
from monai_vggunet.privacy.setting import is_yes, show_phi, shows_phi
from monai_vggunet.privacy.tracebacks import WITHHELD, private_text, private_traceback, refusal_text
from monai_vggunet.progress_bars import keep_lines_above_bars

__all__ = ["hide_names", "protect_logs", "protect_output", "tell"]

# Libraries that log what they read in headers.
_QUOTING_LOGGERS = ("pydicom", "highdicom", "pynetdicom", "dicomweb_client")
# Our own records hold names in what is filled into them, never in their words, which stay as they are.
_OWN_LOGGER = "monai_vggunet"
_MARK = "_monai_vggunet_hides_names"
_also: list[Callable[[str], str]] = []


def hide_names(
    folder: str | os.PathLike[str], like: str | os.PathLike[str] | None = None, show: bool | str = False
) -> None:
    """Keep this process from telling names, and lines of its log from sticking to bars, for a bundle's `initialize`.

    Calling it again changes nothing.

    Args:
        folder: where `names.json` is kept, see `keep_names`.
        like: another folder whose pseudonyms a new list continues.
        show: show names after all: True, or a word for it, as a command line passes. Whatever else leaves it to the
            environment (`MONAI_VGGUNET_SHOW_PHI`).

    Raises:
        ConfigurationError: the folder's path holds a `#`, see `require_path_kept`.
    """
    require_path_kept(folder)
    if is_yes(show):
        show_phi()
    keep_names(folder, like)
    protect_output()
    keep_lines_above_bars()


def tell(text: str = "", error: bool = False) -> None:
    """Print a line for the user, to the standard output or error, with pseudonyms and readable."""
    print(readable_lines(redact(text)), file=sys.stderr if error else sys.stdout)


def protect_output() -> None:
    """Let logs, warnings and the tracebacks that end a program or a thread show pseudonyms in place of names.

    A program that stops on one of our errors ends with its text, below the traceback of whoever wrapped it:
    `python -m monai.bundle` otherwise ends with "Failed to evaluate ...", and the reason stands a screen above. What
    the terminal's encoding lacks is escaped. Calling it again changes nothing.
    """
    protect_logs()
    escape_missing_characters()
    for owner, name, hook in (
        (sys, "excepthook", _before_ending),
        (threading, "excepthook", _before_ending_of_thread),
        (sys, "unraisablehook", _unraisable),
    ):
        former = getattr(owner, name)
        if not hasattr(former, _MARK):
            setattr(owner, name, _marked(hook(former)))


def protect_logs(also: Callable[[str], str] | None = None) -> None:
    """Let every record that any logger makes, and every warning, show pseudonyms in place of names.

    It is done where records are made, so that handlers that others add, now or later, are covered too.

    Args:
        also: what else texts of records pass through, names shown or not; given again, it is applied once.
    """
    if also is not None and also not in _also:
        _also.append(also)
    former = logging.getLogRecordFactory()
    if not hasattr(former, _MARK):

        def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = former(*args, **kwargs)
            if _also or not shows_phi():
                _make_private(record)
            return record

        logging.setLogRecordFactory(_marked(make))
    if not hasattr(warnings.formatwarning, _MARK):
        plain = warnings.formatwarning

        def formatted(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
        ) -> str:
            withheld = handles_headers(filename) and not shows_phi()
            return redact(plain(WITHHELD if withheld else message, category, filename, lineno, line))

        warnings.formatwarning = _marked(formatted)


def _make_private(record: logging.LogRecord) -> None:
    """Replace names in a record: in its text, in what is filled into it, in the traceback it carries."""
    if record.name.partition(".")[0] in _QUOTING_LOGGERS and not shows_phi():
        record.msg, record.args = f"{record.name} {WITHHELD}", None
    if not (record.args and record.name.partition(".")[0] == _OWN_LOGGER):
        record.msg = _private(record.msg)
    if isinstance(record.args, Mapping):
        record.args = {key: _private(value) for key, value in record.args.items()}
    elif record.args:
        record.args = tuple(_private(value) for value in record.args)
    try:
        record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit, which logging would show as they are
        record.msg, record.args = f"{record.msg} {record.args}", None
    if record.exc_info and record.exc_info[1] is not None:
        text = private_traceback(record.exc_info[1]).rstrip("\n")
        record.exc_text, record.exc_info = _also_cleaned(text), None


def _private(value: Any) -> Any:
    """Return a value of a record without names; what holds none stays what it is, for `%d` and the like."""
    if isinstance(value, (bool, int, float, type(None))):
        return value
    plain = str(value)
    shown = _also_cleaned(private_text(value) if isinstance(value, BaseException) else redact(plain))
    return value if shown == plain else shown


def _also_cleaned(text: str) -> str:
    for clean in _also:
        text = clean(text)
    return text


def _before_ending(former: Callable[..., Any]) -> Callable[..., Any]:
    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if shows_phi() or issubclass(kind, KeyboardInterrupt):
            former(kind, error, trace)
        else:
            print(private_traceback(error), end="", file=sys.stderr)
        refusal = refusal_text(error)
        if refusal:
            print(f"\nmonai-vggunet: {refusal}", file=sys.stderr)

    return hook


def _before_ending_of_thread(former: Callable[..., Any]) -> Callable[..., Any]:
    def hook(ending: Any) -> None:
        if shows_phi() or ending.exc_value is None or issubclass(ending.exc_type, SystemExit):
            former(ending)
            return
        name = ending.thread.name if ending.thread else "without a name"
        print(f"Exception in thread {name}:\n{private_traceback(ending.exc_value)}", end="", file=sys.stderr)

    return hook


def _unraisable(former: Callable[..., Any]) -> Callable[..., Any]:
    def hook(raised: Any) -> None:
        if shows_phi() or raised.exc_value is None:
            former(raised)
            return
        print(f"Exception ignored:\n{private_traceback(raised.exc_value)}", end="", file=sys.stderr)

    return hook


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    setattr(function, _MARK, True)
    return function
