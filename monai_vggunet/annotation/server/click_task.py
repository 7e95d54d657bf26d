"""Correction by clicks as a MONAI Label task: the slices that were clicked are redone, the rest is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferType

from monai_vggunet.annotation.server.segmentation_task import SegmentationTask, device_of
from monai_vggunet.segment.segmenter import Segmentation, Segmenter
from monai_vggunet.transforms.clicks import clicks_in_world

__all__ = ["ClickTask"]

# The number under which clients list the background: no voxel has it. Under 0, which OHIF takes for "no number", that
# one draws some class as a segment "background" once the background was clicked; 3D Slicer passes it over in any case.
BACKGROUND = 255


class ClickTask(SegmentationTask):
    """Segment a study as the clicks of a request say: `{"liver": [[i, j, k]], "background": [...]}`.

    Clients send all clicks each time. The automatic task keeps its result of the study that was last asked for, so that
    a click costs the slices it reaches and the way back to the study's grid.

    Args:
        automatic: the task without clicks, whose loaded model serves both.
    """

    def __init__(self, automatic: SegmentationTask) -> None:
        super().__init__(automatic.model, f"{automatic.description}; corrected by clicks")
        self.type, self.automatic = InferType.DEEPEDIT, automatic
        self.labels: dict[str, int] = {**automatic.labels, "background": BACKGROUND}

    def segmenter(self, device: str) -> Segmenter:
        """Return the model on a device, the very one of the automatic task."""
        return self.automatic.segmenter(device)

    def compute(self, request: Mapping[str, Any]) -> Segmentation:
        """Return the result for `request["image"]` with its clicks.

        Raises:
            ClickError: a click is no voxel of the study.
        """
        path, segmenter = str(request["image"]), self.segmenter(device_of(request.get("device")))
        batch = self.automatic.automatic_result(path, segmenter)
        meta = batch["image"].meta
        affine = np.asarray(meta["original_affine"], dtype=np.float64).reshape(-1, 4, 4)[0]
        shape = [int(n) for n in np.asarray(meta["spatial_shape"]).ravel()]
        clicks = clicks_in_world(request, segmenter.spec.class_names, affine, shape)
        return segmenter.finish(segmenter.correct(batch, clicks) if len(clicks) else dict(batch))
