"""A trained model ready to segment: load a case, compute, bring the result back onto the source's grid."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from torch import nn

from monai_vggunet.data import ModelSpec
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.datalist import Case
from monai_vggunet.data.padded_voxels import is_measured
from monai_vggunet.errors import ClickError
from monai_vggunet.inference import EngineChoice, VolumeSliceInferer
from monai_vggunet.inference.test_time_views import SCALES
from monai_vggunet.layout import spec_beside
from monai_vggunet.names import counted
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.networks.devices import usable_device
from monai_vggunet.training import load_weights
from monai_vggunet.transforms import (
    clicked_slices,
    clicks_on_grid,
    inference_postprocessing,
    inference_preprocessing,
    slice_step,
)
from monai_vggunet.transforms.clicks import CLICKS

__all__ = ["Segmentation", "Segmenter"]

_log = logging.getLogger(__name__)

MOST_SAMPLED = 1_000_000  # voxels sampled for the median intensity


@dataclass(frozen=True)
class Segmentation:
    """The result of one case.

    Attributes:
        labels: `(X, Y, Z)`, or `(X, Y)` of a picture, uint8, on the source's grid.
        affine: voxel index to RAS mm, `(4, 4)`.
        meta: the source's metadata.
        confidence: see `Confidence.as_dict`.
        disagreement: percentage of test-time views that would have given another class, like `labels`; None with one.
        foreground_median: median intensity inside the mask, HU; None for other modalities than CT.
        probabilities: of every class, background first, `(K, X, Y[, Z])`, uint8 0..255; None if not asked for.
    """

    labels: np.ndarray
    affine: np.ndarray
    meta: dict[str, Any]
    confidence: dict[str, Any]
    disagreement: np.ndarray | None = None
    foreground_median: float | None = None
    probabilities: np.ndarray | None = None


class Segmenter:
    """A trained model: preprocessing from its `model.json`, whole slices in batches.

    `load`, `compute` and `finish` may run in three threads, each on another case.

    Args:
        model: `model.pt`, with its `model.json` beside it.
        device: None takes `cuda` if there is one, else `cpu`.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`, see `EngineChoice`.
        tta: `none`, `flip`, `scale` or `full`: see `views_of`.
        scales: zoom factors of the modes `scale` and `full`.
        reslice: segment a series of another plane across its slices.
        reader_options: arguments of `DicomSeriesReader`.
        batch_size: slices at once; None chooses by size and memory.
        engine: what runs the network, see `EngineChoice`; exports are looked for beside the model.
        probabilities: also give the probability of every class; memory then grows with their number, by a byte per
            voxel and class.

    Raises:
        EngineUnavailableError: an engine that is not installed, or lacks its export.
        ModelMismatchError: the two files are missing or do not belong together.
        ConfigurationError: an argument does not fit this model.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        device: torch.device | str | None = None,
        precision: str = "auto",
        tta: str = "none",
        scales: Sequence[float] = SCALES,
        reslice: bool = False,
        reader_options: dict[str, Any] | None = None,
        batch_size: int | None = None,
        engine: str = "auto",
        probabilities: bool = False,
    ) -> None:
        weights = Path(model)
        self.spec: ModelSpec = ModelSpec.read(spec_beside(weights))
        self.spec.require_weights(weights)
        self.device = usable_device(device or None)
        self.probabilities = probabilities
        network: nn.Module = load_weights(VGG16UNet(**self.spec.network), weights, self.device).eval()
        choice = EngineChoice(self.spec, engine, precision, weights)
        self.engine = choice.prepare(network, self.device)
        self.inferer = VolumeSliceInferer(
            self.spec,
            "probabilities" if probabilities else "labels",
            tta=tta,
            scales=scales,
            batch_size=batch_size,
            probability_dtype="uint8",
        )
        self.preprocessing = inference_preprocessing(self.spec, reslice=reslice, reader_options=reader_options)
        self.postprocessing = inference_postprocessing(self.preprocessing)
        self.blending = inference_postprocessing(self.preprocessing, nearest=False)
        self.settings = {
            "tta": tta,
            "scales": list(scales) if tta in ("scale", "full") else [],
            "engine": engine,
            "precision": precision,
            "reslice": reslice,
            "reader": {name: value for name, value in (reader_options or {}).items() if value is not None},
        }
        # Inverting switches flags of the very transforms that load the next case.
        self._transforms = threading.Lock()

    def __call__(self, case: Case) -> Segmentation:
        """Segment one case.

        Raises:
            VGGUNetError: of the kind that fits.
        """
        return self.finish(self.compute(self.load(case)))

    def load(self, case: Case) -> dict[str, Any]:
        """Read and preprocess a case; return it as a batch of one.

        Raises:
            VGGUNetError: of the kind that fits, see `load_case`.
        """
        with self._transforms:
            # Callers that segment several cases report a failure beside the case's name.
            return dict(load_case(lambda one: list_data_collate([self.preprocessing(one)]), case, named=False))

    def compute(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Run the network over a loaded batch; return it with the result, on the CPU."""
        image = batch["image"]
        result = self.inferer(image.to(self.device), self.engine).cpu()
        batch["pred"] = self.inferer.labels.cpu() if self.probabilities else result  # type: ignore[union-attr]
        if self.probabilities:
            batch["probabilities"] = result
        batch["confidence"] = self.inferer.confidence[0].as_dict()
        if self.inferer.disagreement is not None:
            batch["disagreement"] = self.inferer.disagreement.cpu()
        if self.spec.preprocessing.modality == "CT":
            labels = batch["pred"].as_tensor()[0, 0]
            batch["foreground_median"] = _median_inside(image.as_tensor()[0, 0], labels, image.meta)
        return batch

    def correct(self, batch: dict[str, Any], clicks: np.ndarray) -> dict[str, Any]:
        """Return a computed batch in which the slices that clicks reach are recomputed; the others stay as they were.

        Args:
            batch: of a case without clicks, as `compute` left it; it is not changed.
            clicks: all clicks so far, `(n, 4)`: class number and RAS mm, as `KeepClicksd` keeps them.

        Raises:
            ClickError: the model was trained without clicks.
        """
        if not self.spec.preprocessing.n_guidance:
            raise ClickError("this model was trained without clicks: train one with --clicks True")
        image = batch["image"].clone()
        image.meta = {**image.meta, CLICKS: np.asarray(clicks, dtype=np.float64)}
        slices = clicked_slices(clicks_on_grid(image), image.shape[-1], slice_step(image))
        of_all = f"{len(slices)} of {counted(image.shape[-1], 'slice')}"
        _log.info("%s: %s recomputed", counted(len(clicks), "click"), of_all)
        self.inferer.only_slices = slices
        try:
            redone = self.inferer(image.to(self.device), self.engine).cpu()
        finally:
            self.inferer.only_slices = None
        result = {**batch, "pred": batch["pred"].clone()}
        result["pred"][..., slices] = redone[..., slices]
        return result

    def finish(self, batch: dict[str, Any]) -> Segmentation:
        """Bring a computed batch's result back onto the source's grid; the batch loses its image."""
        # Inverting needs the image's metadata, not its voxels, so a large volume's memory is freed first.
        image = batch["image"]
        batch["image"] = MetaTensor(torch.empty(1, 1, 1, 1, 1)).copy_meta_from(image)
        del image
        confidence, median = batch.pop("confidence"), batch.pop("foreground_median", None)
        disagreement, scores = batch.pop("disagreement", None), batch.pop("probabilities", None)
        with self._transforms:
            result = self.postprocessing(decollate_batch(dict(batch))[0])["pred"]
            unsure = None
            if disagreement is not None:
                unsure = self.postprocessing(decollate_batch({**batch, "pred": disagreement})[0])["pred"].numpy()[0]
            probabilities = None if scores is None else self._on_own_grid(scores, batch)
        affine = np.asarray(result.affine, dtype=np.float64)
        return Segmentation(result.numpy()[0], affine, dict(result.meta), confidence, unsure, median, probabilities)

    def _on_own_grid(self, scores: Any, batch: dict[str, Any]) -> np.ndarray:
        """Bring probabilities `(1, K, ...)` onto the source's grid, one class after the other, linearly."""
        classes = []
        for number in range(scores.shape[1]):
            one = scores[:, number : number + 1].float()
            classes.append(self.blending(decollate_batch({**batch, "pred": one})[0])["pred"].numpy()[0])
        return np.stack(classes)


def _median_inside(image: torch.Tensor, labels: torch.Tensor, meta: Mapping[str, Any]) -> float | None:
    """Return the median of an image `(X, Y, Z)` where labels are not 0, from about a million voxels at most.

    Padded voxels do not count.
    """
    n = int(torch.count_nonzero(labels))
    if not n:
        return None
    step = n // MOST_SAMPLED + 1
    # Part by part, because selecting a large foreground at once takes several times the volume's memory.
    values = torch.cat([part[inside > 0][::step] for part, inside in zip(image, labels)])
    measured = is_measured(values, meta)
    values = values if measured is None else values[measured]
    return float(values.float().median()) if len(values) else None
