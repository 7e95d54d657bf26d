"""Stand-ins for packages that MONAI Label imports and that do not fit pydicom 3; their folder goes on its path."""

from __future__ import annotations

__all__ = ()
