"""The configuration from which a function of ours is being called."""

from __future__ import annotations

import inspect
from typing import TypeVar

from monai.bundle import ConfigParser

from monai_vggunet.errors import ConfigurationError

__all__ = ["caller_of_kind", "parser_at_work"]

Kind = TypeVar("Kind")


def parser_at_work() -> ConfigParser:
    """Return the parser that is evaluating the configuration from which we are called.

    MONAI gives a component what it refers to, and never the configuration itself; but the parser is among our callers,
    whoever started it: `monai.bundle run`, a workflow class, MONAI Label.

    Raises:
        ConfigurationError: there is none.
    """
    parser = caller_of_kind(ConfigParser)
    if parser is None:
        raise ConfigurationError("the options of a MONAI configuration are asked for outside of one: call it from one")
    return parser


def caller_of_kind(kind: type[Kind]) -> Kind | None:
    """Return the nearest of our callers' objects that is of a class; None where there is none."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, kind):
            return caller
        frame = frame.f_back
    return None
