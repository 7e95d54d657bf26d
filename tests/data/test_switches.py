"""A switch is off when a user says so, in whatever way the command line passes it."""

from __future__ import annotations

from typing import Any

import pytest

from monai_vggunet.data import is_on
from monai_vggunet.errors import ConfigurationError


@pytest.mark.parametrize("value", [False, 0, "false", "False", "FALSE", "no", "off", "0", " no "])
def test_what_says_off_is_off(value: Any) -> None:
    assert is_on(value, "resume") is False


@pytest.mark.parametrize("value", [True, 1, "true", "True", "yes", "on", "1"])
def test_what_says_on_is_on(value: Any) -> None:
    assert is_on(value, "resume") is True


@pytest.mark.parametrize("value", ["flase", "", "none", 2, -1, 0.0, None, [], [False]])
def test_anything_else_is_an_error_that_names_the_option(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^--clicks is .*; expected True or False$"):
        is_on(value, "clicks")
