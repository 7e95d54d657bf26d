"""How the command begins and ends: its log, its exit statuses, signals, and one message for a refusal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from rich.console import Console

from monai_vggunet import privacy
from monai_vggunet.cli.terminal import give_up_output, steady_terminal
from monai_vggunet.errors import OutputWriteError, VGGUNetError
from monai_vggunet.names import ReadableFormatter, readable, readable_lines
from monai_vggunet.privacy import redact
from monai_vggunet.progress_bars import keep_lines_above_bars
from monai_vggunet.stopping import Stopped, end_now, stop_on_signals

__all__ = ["SOME_FAILED", "first_line", "run_to_its_end", "start_logging"]

USAGE_ERROR, SOME_FAILED = 2, 1  # exit statuses
CHATTERERS = {  # log every reader they skip, every module they copy, their threads, every UID they send
    "LoadImage": logging.WARNING,
    "highdicom": logging.WARNING,
    "numexpr": logging.WARNING,
    "dicomweb_client": logging.ERROR,
    "urllib3": logging.ERROR,
    "pynetdicom": logging.CRITICAL,  # we report its failures ourselves
}


def start_logging(show_phi: bool = False) -> None:
    """Log to the terminal; names are shown if this command or the environment asks for them."""
    if show_phi:
        privacy.show_phi()
    handler = logging.StreamHandler()
    handler.setFormatter(ReadableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    keep_lines_above_bars()
    for name, level in CHATTERERS.items():
        logging.getLogger(name).setLevel(level)


def first_line(text: str) -> str:
    """Return the first line of a text, readable."""
    return readable(next(iter(text.splitlines()), ""))


def run_to_its_end(app: Callable[[], object]) -> None:
    """Run a command line; a refusal is one message and exit status 2, not a traceback.

    A failure to write, be it a result or the printed output, gives exit status 1. A signal ends the process within
    seconds, with the signal's own status.
    """
    with stop_on_signals(), steady_terminal():
        try:
            status = _status_of_command(app)
        except Stopped as stopped:
            end_now(stopped.status)  # without waiting for threads, which may be waiting themselves
    raise SystemExit(status)


def _status_of_command(app: Callable[[], object]) -> int:
    try:
        return _run(app)
    except OutputWriteError as error:
        return _refused(str(error), SOME_FAILED)
    except VGGUNetError as error:
        return _refused(str(error), USAGE_ERROR)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno is None:  # not from the system: some libraries derive their own errors from OSError
            raise
        if error.filename is not None:
            return _refused(f"{error.filename}: {reason}", SOME_FAILED)
        give_up_output()
        return _refused(f"standard output cannot be written: {reason}", SOME_FAILED)


def _run(app: Callable[[], object]) -> int:
    """Run the command; return its exit status."""
    status: object = 0
    try:
        app()
    except Stopped:
        raise
    except SystemExit as ending:  # typer ends this way
        status = ending.code
    sys.stdout.flush()
    return status if isinstance(status, int) else int(bool(status))


def _refused(text: str, status: int) -> int:
    message = f"monai-vggunet: {readable_lines(redact(text))}"
    Console(stderr=True).print(message, style="red", highlight=False, markup=False, soft_wrap=True)
    return status
