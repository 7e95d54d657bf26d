"""Further attempts after a failure that may pass, each after twice the wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["Retries", "Stopped"]

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run is being ended: work and waits in other threads are given up."""


@dataclass(frozen=True)
class Retries:
    """How often to try again, and after which wait.

    Attributes:
        attempts: at most, including the first one.
        first_wait_sec: before the second attempt; doubled before each further one.
        stop: when set, waiting ends with `Stopped`.
    """

    attempts: int = 4
    first_wait_sec: float = 1.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, action: Callable[[], Result], may_pass: Callable[[Exception], bool], what: str) -> Result:
        """Return what the action returns; its last error when all attempts failed, or one that will not pass.

        Args:
            action: may be called again after an error.
            may_pass: whether another attempt may succeed after this error.
            what: for the log; names no patient.

        Raises:
            Stopped: the run is being ended.
        """
        for attempt in range(1, self.attempts + 1):
            self.check()
            try:
                return action()
            except Exception as error:
                if attempt == self.attempts or not may_pass(error):
                    raise
                wait = self.first_wait_sec * 2 ** (attempt - 1)
                _log.info("%s: %s; trying again in %g s", what, error, wait)
                if self.stop.wait(wait):
                    raise Stopped from None
        raise AssertionError("attempts is at least 1")

    def check(self) -> None:
        """Raise `Stopped` once the run is being ended."""
        if self.stop.is_set():
            raise Stopped
