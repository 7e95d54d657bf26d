"""The command `monai-vggunet`."""

from __future__ import annotations

from monai_vggunet.cli.main import main

__all__ = ["main"]
