"""Options that are on or off, as a command line passes them."""

from __future__ import annotations

from typing import Any

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.switch_words import NO, YES

__all__ = ["SWITCH_WORDS", "is_on", "is_switch"]

# `python -m monai.bundle` evaluates `False` and 0 as Python does, and leaves `false` and `no` as the words they are
SWITCH_WORDS = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)


def is_on(value: Any, name: str) -> bool:
    """Return whether an option is on.

    Args:
        value: True, False, 1, 0, or one of the words true, yes, on, false, no, off, in any case.
        name: of the option, for the error.

    Raises:
        ConfigurationError: it is none of these.

    Example:
        >>> is_on("false", "resume")
        False
    """
    if not is_switch(value):
        raise ConfigurationError(f"--{name} is {value!r}; expected True or False")
    return SWITCH_WORDS[_word(value)]


def is_switch(value: Any) -> bool:
    """Whether a value says that an option is on or off: see `is_on`."""
    return isinstance(value, (bool, int, str)) and _word(value) in SWITCH_WORDS


def _word(value: Any) -> str:
    return str(value).strip().lower()
