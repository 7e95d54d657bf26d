"""U-Net with a VGG16 encoder for medical images, as a MONAI plugin: from a DICOM folder to a mask.

Importing the package is light: a name below is imported when it is first used. `import monai_vggunet.networks`
registers the encoders with MONAI's `FlexibleUNet`.
"""

from __future__ import annotations

import importlib
from typing import Any

from monai_vggunet._version import __version__

_LAZY = {
    "VGG16UNet": "monai_vggunet.networks",
    "VGG16Encoder": "monai_vggunet.networks",
    "DiceCrossEntropyLoss": "monai_vggunet.losses",
    "ProgressiveUnfreezeHandler": "monai_vggunet.training",
    "DicomSeriesReader": "monai_vggunet.data",
    "TrainingWorkflow": "monai_vggunet.workflow",
}

_PARTS = frozenset(
    (
        "annotation",
        "data",
        "dicom",
        "inference",
        "losses",
        "networks",
        "options",
        "outputs",
        "privacy",
        "training",
        "transforms",
    )
)

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _PARTS:  # `import monai_vggunet` is enough for an expression in a config to name any part
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
