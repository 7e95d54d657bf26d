"""The words by which a command line or an environment turns something on or off."""

from __future__ import annotations

__all__ = ["NO", "YES"]

YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
