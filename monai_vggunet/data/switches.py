"""Options that are on or off, as a command line passes them."""

from __future__ import annotations

from typing import Any

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.switch_words import NO, YES

__all__ = ["SWITCH_WORDS", "is_on"]

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
    word = str(value).strip().lower()
    if not isinstance(value, (bool, int, str)) or word not in SWITCH_WORDS:
        raise ConfigurationError(f"--{name} is {value!r}; expected True or False")
    return SWITCH_WORDS[word]
