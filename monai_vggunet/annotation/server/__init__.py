"""Our MONAI Label app. The only part that imports MONAI Label, which has an environment of its own."""

from __future__ import annotations

from monai_vggunet.annotation.server.app import VGGUNetLabelApp

__all__ = ["VGGUNetLabelApp"]
