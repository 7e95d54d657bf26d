"""DeepEdit as the radiology sample app of MONAI Label 0.8.5 configures it (arXiv 2305.10655), from MONAI's own parts.

Differences for small MR volumes are noted beside the constant or in the function's first sentence. MONAI's parts need
scikit-image (extra `bench`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.apps.deepedit.transforms import (
    AddGuidanceSignalDeepEditd,
    AddInitialSeedPointMissingLabelsd,
    AddRandomGuidanceDeepEditd,
    FindAllValidSlicesMissingLabelsd,
    FindDiscrepancyRegionsDeepEditd,
)
from monai.networks.nets import DynUNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    RandFlipd,
    RandShiftIntensityd,
    ScaleIntensityd,
    SelectItemsd,
    SpatialPadd,
    ToNumpyd,
    ToTensord,
)
from simulated_user import Click

from monai_vggunet.transforms.loading import loading_steps

__all__ = [
    "CLICKED_SHARE",
    "LEARNING_RATE",
    "PATCH",
    "STRIDES",
    "Session",
    "deepedit_network",
    "fixed_steps",
    "simulated_clicks",
    "training_steps",
]

BOTH = ("image", "label")
CLICKED_SHARE = 0.4  # deepgrow_probability_train: share of the steps with clicks; the others have none
PATCH = (48, 64, 48)  # the sample app resizes to 128 x 128 x 128; these volumes are padded, nothing is resampled
# The sample app has a sixth level, [2, 2, 1]; of 48 voxels four halvings leave 3, which it could not halve.
STRIDES = (1, 2, 2, 2, 2)
FILTERS = (32, 64, 128, 256, 320)  # DynUNet's own, for five levels
LEARNING_RATE = 1e-4  # the sample app's, for Adam, which goes on from trained weights; --lr for a start from scratch


class Session:
    """One volume under correction: clicks go in by DeepEdit's own convention, masks come out on the volume's grid."""

    def __init__(self, network: torch.nn.Module, names: Sequence[str], image: torch.Tensor) -> None:
        self.network = network.eval()
        self.names = names
        self.image = SpatialPadd("image", PATCH)({"image": image})["image"].as_tensor()
        if self.image.shape[1:] != PATCH:
            sys.exit(f"a volume of {tuple(image.shape[1:])} voxels does not fit the patch {PATCH}: widen PATCH")
        self.shape = tuple(image.shape[1:])
        self.before = [(size - own) // 2 for size, own in zip(PATCH, self.shape)]
        self.clicks: list[Click] = []
        self.signal = AddGuidanceSignalDeepEditd("image")

    def __call__(self, clicks: list[Click]) -> np.ndarray:
        """Return the mask `(X, Y, Z)` for all clicks so far; without clicks all guidance is zero, as in training."""
        self.clicks = list(clicks)
        guidance: dict[str, list[list[int]]] = {name: [] for name in self.names}
        for name, voxel in clicks:
            guidance[name].append([i + before for i, before in zip(voxel, self.before)])
        image = self.signal({"image": self.image.numpy(), "guidance": guidance})["image"]
        with torch.no_grad():
            mask = self.network(torch.as_tensor(image)[None]).argmax(1)[0].numpy().astype(np.uint8)
        return mask[tuple(slice(b, b + size) for b, size in zip(self.before, self.shape))]


def deepedit_network(n_classes: int, shrink: int) -> torch.nn.Module:
    """Return the sample app's DynUNet for PATCH: the image and one channel of guidance per class go in."""
    return DynUNet(
        spatial_dims=3,
        in_channels=1 + n_classes,
        out_channels=n_classes,
        kernel_size=[3] * len(STRIDES),
        strides=STRIDES,
        upsample_kernel_size=STRIDES[1:],
        filters=[number // shrink for number in FILTERS],
        norm_name="instance",
        deep_supervision=False,
        res_block=True,
    )


def fixed_steps(n_classes: int) -> list[Any]:
    """Return loading and scaling to 0..1 by the volume's own range (the sample app's range is of CT)."""
    return [*loading_steps(True, 1, n_classes, None, None), ScaleIntensityd("image")]


def training_steps(n_classes: int) -> list[Any]:
    """Return the sample app's steps without turns by 90 degrees: a turned volume would not fit into the patch."""
    return [
        *fixed_steps(n_classes),
        *(RandFlipd(BOTH, spatial_axis=[axis], prob=0.10) for axis in range(3)),
        RandShiftIntensityd("image", offsets=0.10, prob=0.50),
        SpatialPadd(BOTH, PATCH),
        ToNumpyd(BOTH),
        FindAllValidSlicesMissingLabelsd("label", sids="sids"),
        AddInitialSeedPointMissingLabelsd("label", guidance="guidance", sids="sids"),
        AddGuidanceSignalDeepEditd("image", guidance="guidance"),
        ToTensord(BOTH),
        SelectItemsd((*BOTH, "guidance", "label_names")),
    ]


def simulated_clicks() -> list[Any]:
    """Return the trainer's part of a step with clicks: it draws clicks where the network is wrong, and shows them."""
    return [
        Activationsd("pred", softmax=True),
        AsDiscreted("pred", argmax=True),
        ToNumpyd((*BOTH, "pred")),
        FindDiscrepancyRegionsDeepEditd("label", pred="pred", discrepancy="discrepancy"),
        AddRandomGuidanceDeepEditd("NA", guidance="guidance", discrepancy="discrepancy", probability="probability"),
        AddGuidanceSignalDeepEditd("image", guidance="guidance"),
        ToTensord(BOTH),
    ]
