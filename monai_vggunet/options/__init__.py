"""The options of a bundle's run, checked before any data are read."""

from __future__ import annotations

from monai_vggunet.options.check_options import check_options

__all__ = ["check_options"]
