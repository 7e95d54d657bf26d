"""Classes of one side of the body: mirroring would exchange left and right."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["sided_class"]


def sided_class(class_names: Sequence[str]) -> str | None:
    """Return the first name with the word left or right in it, None if there is none."""
    return next((n for n in class_names if {"left", "right"} & set(re.split(r"[\s_-]+", n.lower()))), None)
