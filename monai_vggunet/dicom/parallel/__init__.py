"""Work spread over helper processes."""

from __future__ import annotations

__all__ = ()
