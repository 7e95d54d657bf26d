"""Stored pixels -> rescaled values, read straight into place or decoded where a crash can be survived."""

from __future__ import annotations

__all__ = ()
