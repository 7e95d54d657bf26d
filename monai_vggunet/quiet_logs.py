"""Warnings of libraries that a user can do nothing about, left out where they are known to come."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_logs"]


@contextmanager
def quiet_logs(*loggers: str) -> Iterator[None]:
    """Leave out Python's warnings within, and what these loggers say below an error.

    Args:
        loggers: their names. Each has its own level again afterwards.
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
