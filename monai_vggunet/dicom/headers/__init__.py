"""One file's header -> a plain record of its planes, or the reason why it is left out."""

from __future__ import annotations

__all__ = ()
