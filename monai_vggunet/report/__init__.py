"""Pages to look at: of a study's result, of a training run, and an index of studies."""

from __future__ import annotations

__all__ = ()
