"""The pages and what stands on them; they read records and arrays alone."""

from __future__ import annotations

__all__ = ()
