"""A CT model with random weights that finds a bit of everything: small enough for tests to segment with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from monai_vggunet import VGG16UNet
from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.training import save_model

__all__ = ["CLASS_NAMES", "write_tiny_model"]

CLASS_NAMES = ["background", "liver", "spleen"]


def write_tiny_model(folder: Path, fingerprint: dict[str, Any] | None = None, **preprocessing: Any) -> Path:
    """Save the model; return `model.pt`. Attributes of `Preprocessing` may be chosen."""
    torch.manual_seed(0)
    options = {"modality": "CT", "plane": "axial", "spacing_mm": (1.0, 1.0), "roi_size": (32, 32)}
    prepared = Preprocessing(**{**options, "windows": ((-900.0, 1500.0),), **preprocessing})
    network = {"spatial_dims": 2, "in_channels": prepared.in_channels, "out_channels": len(CLASS_NAMES)}
    network |= {"batch_norm": True, "decoder_channels": [16, 16, 8, 8], "upsample": "deconv", "dropout": 0.0}
    spec = ModelSpec(network=network, preprocessing=prepared, class_names=CLASS_NAMES)
    spec.fingerprint.update(fingerprint or {})
    save_model(VGG16UNet(**network), spec, folder)
    return folder / "model.pt"
