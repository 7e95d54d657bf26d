"""Pages to look at: a study's result, a training run, and the index of them."""

from __future__ import annotations

__all__ = ()
