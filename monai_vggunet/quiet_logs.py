"""Warnings of libraries that a user can do nothing about, suppressed where they are known to come."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_logs"]


@contextmanager
def quiet_logs(*loggers: str) -> Iterator[None]:
    """Suppress Python's warnings within the block, and what these loggers say below the level of an error.

    Args:
        loggers: their names. Their levels are restored afterwards.
    """
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in loggers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in levels:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
