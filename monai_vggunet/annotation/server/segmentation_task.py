"""Segmentation as a MONAI Label task: our own path from the file to the mask on its grid, the model loaded once."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.transform.writer import write_itk

from monai_vggunet.data import ModelSpec
from monai_vggunet.errors import ConfigurationError, DatasetError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, SLICER_ENDING, split_ending
from monai_vggunet.layout import spec_beside
from monai_vggunet.outputs import write_mask
from monai_vggunet.segment.segmenter import Segmentation, Segmenter

__all__ = ["SegmentationTask", "device_of"]

_log = logging.getLogger(__name__)

ENDINGS = (*NIFTI_ENDINGS, SLICER_ENDING, NRRD_ENDING)


class SegmentationTask(InferTask):
    """Segment a study without clicks.

    Args:
        model: `model.pt`, with its `model.json` beside it; what retraining puts there is loaded when it is next asked.
        description: of the model, shown by clients.
    """

    def __init__(self, model: Path, description: str) -> None:
        names = ModelSpec.read(spec_beside(model)).class_names
        labels = {name: number for number, name in enumerate(names) if number > 0}
        super().__init__(InferType.SEGMENTATION, labels, 3, description, {"device": _devices()})
        self.model = model
        self._loaded: tuple[tuple[float, str], Segmenter] | None = None
        self._last: tuple[tuple[str, float, Segmenter], dict[str, Any]] | None = None

    def is_valid(self) -> bool:
        """Whether there is a model to segment with."""
        return self.model.is_file()

    def get_path(self, validate: bool = True) -> str | None:
        """Return the path of the weights."""
        return str(self.model) if not validate or self.model.is_file() else None

    def segmenter(self, device: str) -> Segmenter:
        """Return the model on a device, loaded when it is first asked for or its file has changed.

        Raises:
            ModelMismatchError: the model's files are missing or do not belong together.
        """
        key = (self.model.stat().st_mtime if self.model.is_file() else 0.0, device)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = key, Segmenter(self.model, device)
        return self._loaded[1]

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment `request["image"]`; return the mask's temporary file and what is said beside it.

        Raises:
            VGGUNetError: of the kind that fits.
        """
        started = time.monotonic()
        image = request.get("image")
        if not isinstance(image, str) or not os.path.exists(image):
            raise DatasetError("the study is not there: it was renamed or deleted, or the request named none")
        result = self.compute(request)
        computed = time.monotonic()
        # OHIF asks for plain NRRD: it fails on a compressed one with an odd number of voxels ("something went wrong").
        compress, wanted = bool(request.get("result_compress", True)), request.get("result_write_to_file", True)
        file = _written(result, _ending(request, image), compress) if wanted else None
        latencies = {"infer": round(computed - started, 3), "write": round(time.monotonic() - computed, 3)}
        latencies["total"] = round(time.monotonic() - started, 3)
        said = {"label_names": self.labels, "latencies": latencies, "confidence": result.confidence, "centroids": {}}
        said["found"] = [int(number) for number in np.bincount(result.labels.ravel()).nonzero()[0] if number]
        return file, said

    def compute(self, request: Mapping[str, Any]) -> Segmentation:
        """Return the result for `request["image"]`, an existing file or folder."""
        segmenter = self.segmenter(device_of(request.get("device")))
        return segmenter.finish(dict(self.automatic_result(str(request["image"]), segmenter, again=True)))

    def automatic_result(self, path: str, segmenter: Segmenter, again: bool = False) -> dict[str, Any]:
        """Return what `Segmenter.compute` gives for a study; the last one's is kept if clicks can follow.

        Args:
            path: of the study.
            segmenter: which computes it.
            again: compute it even if it is there.
        """
        key = (path, os.stat(path).st_mtime, segmenter)
        last, self._last = self._last, None  # the former study's memory is free before the next one is loaded
        batch = last[1] if last is not None and last[0] == key and not again else None
        del last
        if batch is None:
            _log.info("automatic segmentation: all slices computed")
            batch = segmenter.compute(segmenter.load({"image": path, "case": Path(path).name}))
        if segmenter.spec.preprocessing.n_guidance:
            self._last = key, batch
        return batch


def _devices() -> list[str]:
    return ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]


def device_of(asked: Any) -> str:
    """Return the device a client asks for, which may send the whole list it was offered; a known one in its stead.

    Raises:
        ConfigurationError: no device is called so.
    """
    word = asked[0] if isinstance(asked, (list, tuple)) and asked else asked
    known = _devices()
    if not word:
        return known[0]
    try:
        kind = torch.device(word).type
    except (RuntimeError, TypeError):
        raise ConfigurationError(f"there is no device {word!r}; expected one of {', '.join(known)}") from None
    return str(word) if kind in known else known[0]


def _ending(request: Mapping[str, Any], image: str) -> str:
    """Return the ending of the mask's file: the one asked for, else the image's own."""
    asked = request.get("result_extension")
    if asked and asked not in ENDINGS:
        raise ConfigurationError(f"result_extension is {asked!r}; expected one of {', '.join(ENDINGS)}")
    return asked or split_ending(Path(image).name, ENDINGS)[1].lower() or NIFTI_ENDINGS[0]


def _written(result: Segmentation, ending: str, compress: bool) -> str:
    """Write the mask, uint8, to a temporary file, which the server removes when it is sent; NRRD plain if asked for."""
    handle, name = tempfile.mkstemp(prefix="mask-", suffix=ending)
    os.close(handle)
    labels = result.labels if result.labels.ndim == 3 else result.labels[..., None]
    if ending in NIFTI_ENDINGS:
        write_mask(name, labels, result.affine)
    else:
        write_itk(labels, name, result.affine, np.uint8, compress)
    return name
