"""A volume through a two-dimensional network: batches of whole slices, reduced to labels batch by batch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, sliding_window_inference
from torch.nn import functional

from monai_vggunet.data.model_limits import STRIDE
from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.inference.body_crop import body_box
from monai_vggunet.inference.confidence import Confidence
from monai_vggunet.inference.engines import Engine, EngineChoice
from monai_vggunet.inference.guidance import Guidance
from monai_vggunet.inference.most_probable import most_probable
from monai_vggunet.inference.neighborhood import Neighborhood
from monai_vggunet.inference.network_memory import Tiling, plan_tiling
from monai_vggunet.inference.test_time_views import SCALES, View, probabilities_of_view, views_of
from monai_vggunet.names import counted
from monai_vggunet.networks.autocast import AutocastInferer
from monai_vggunet.transforms import NormalizeImageNet, slice_channels

__all__ = ["Confidence", "VolumeSliceInferer"]

PERCENT = 100

_log = logging.getLogger(__name__)


class VolumeSliceInferer(Inferer):
    """Segment a volume slice by slice.

    Whole slices go through in batches where they fit into memory, else Gaussian-weighted windows; when memory runs out
    all the same, smaller batches are tried and the log says so. What is empty around the body is background without
    being computed. Only the label of each voxel is kept, so that memory does not grow with the number of classes.

    The clicks that a `MetaTensor` carries (`KeepClicksd`) guide a model that was trained with clicks, each in its own
    slice and those near it; without any the result is the automatic one.

    After a call, `confidence` holds one `Confidence` per volume, `labels` the label maps whatever the output, and
    `disagreement`, with more than one view, the percentage of views that would have given another class, all of them
    `(B, 1, X, Y, Z)` uint8.

    Args:
        spec: of the model: says how slices become channels.
        output: `labels` `(B, 1, X, Y, Z)` uint8, or `probabilities` `(B, K, X, Y, Z)` in `probability_dtype`, whose
            memory grows with the classes.
        batch_size: slices at once; None chooses by size and memory.
        overlap: of the windows, as a share of their side.
        max_slice_pixels: the largest slice that goes through whole; None chooses by memory.
        precision: see `autocast_dtype`.
        tta: `none`, `flip`, `scale` or `full`: see `views_of`.
        scales: zoom factors of the modes `scale` and `full`.
        crop_body: leave out what is empty around the body.
        probability_dtype: `float16`, or `uint8` for 0..255.
        engine: what runs the network; made of the network that the first call is given, with the weights it has then.
            None runs the network itself, as validation between epochs needs it.

    Raises:
        ConfigurationError: an invalid argument.
    """

    def __init__(
        self,
        spec: ModelSpec,
        output: str = "labels",
        batch_size: int | None = None,
        overlap: float = 0.25,
        max_slice_pixels: int | None = None,
        precision: str = "auto",
        tta: str = "none",
        scales: Sequence[float] = SCALES,
        crop_body: bool = True,
        probability_dtype: str = "float16",
        engine: EngineChoice | None = None,
    ) -> None:
        super().__init__()
        if output not in ("labels", "probabilities"):
            raise ConfigurationError(f"output is {output!r}; expected 'labels' or 'probabilities'")
        if probability_dtype not in ("float16", "uint8"):
            raise ConfigurationError(f"probability_dtype is {probability_dtype!r}; expected 'float16' or 'uint8'")
        if len(spec.class_names) > torch.iinfo(torch.uint8).max + 1:
            raise ConfigurationError(
                f"{len(spec.class_names)} classes, but a label is a number from 0 to 255: merge some"
            )
        if not 0.0 <= overlap < 1.0:
            raise ConfigurationError(f"overlap is {overlap}; expected a share from 0 up to, but not including, 1")
        if batch_size is not None and batch_size < 1:
            raise ConfigurationError(
                f"batch_size is {batch_size}; expected 1 or more slices, or None to choose by size"
            )
        self.channels, self.windows = slice_channels(spec.preprocessing), spec.preprocessing.windows
        self.n_classes = len(spec.class_names)
        self.views = views_of(tta, scales, spec.class_names)
        self.normalize = NormalizeImageNet()
        self.forward = AutocastInferer(precision)
        self.engine_choice = engine
        self.engine: Engine | None = None
        self.output, self.batch_size, self.overlap = output, batch_size, overlap
        self.max_slice_pixels, self.crop_body = max_slice_pixels, crop_body and spec.preprocessing.modality == "CT"
        self.dtype = torch.uint8 if output == "labels" or probability_dtype == "uint8" else torch.float16
        self.n_guidance = spec.preprocessing.n_guidance
        self.only_slices: Sequence[int] | None = None  # compute these alone; the others stay background
        self._told = ""
        self.confidence: list[Confidence] = []
        self.labels: torch.Tensor | None = None
        self.disagreement: torch.Tensor | None = None

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Segment `(B, C, X, Y, Z)`, slices along Z; the result has the inputs' device and, if any, their metadata.

        `network` is one, or an `Engine` that runs one.
        """
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        self.confidence = [Confidence(n_views=len(self.views)) for _ in volumes]
        # Made outside of inference mode, so that transforms may write to them.
        labels, maps = (_slice_by_slice(volumes, 1, torch.uint8) for _ in range(2))
        results = labels if self.output == "labels" else _slice_by_slice(volumes, self.n_classes, self.dtype)

        if isinstance(network, Engine):
            self.engine = network
        elif self.engine_choice is not None and self.engine is None:
            self.engine = self.engine_choice.prepare(network, volumes.device)  # type: ignore[arg-type]

        def logits_of(slices: torch.Tensor) -> torch.Tensor:
            return self.engine(slices) if self.engine else self.forward(slices, network, *args, **kwargs)

        guidance = Guidance.of(inputs, self.n_guidance)
        with torch.inference_mode():
            for each in zip(volumes, results, labels, maps, self.confidence):
                self._segment(*each, guidance, logits_of)
        self.labels = self._with_meta(labels, inputs)
        self.disagreement = self._with_meta(maps, inputs) if len(self.views) > 1 else None
        return self._with_meta(results, inputs)

    @staticmethod
    def _with_meta(result: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        # `Invertd` passes over a plain tensor with a mere warning, and the mask would lie on the network's grid.
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _segment(
        self,
        volume: torch.Tensor,
        result: torch.Tensor,
        labels: torch.Tensor,
        disagreement: torch.Tensor,
        sure: Confidence,
        guidance: Guidance,
        logits_of: Any,
    ) -> None:
        """Fill in what is known of a volume `(C, X, Y, Z)`; `result` is `labels`, or `(K, X, Y, Z)`."""
        if self.output == "probabilities":
            result[0] = PROBABILITY_ONE[self.dtype]  # outside the body: certainly background
        crop = self.crop_body and not len(guidance)  # a click beside the body is meant where it is
        box = body_box(volume, self.windows) if crop else tuple(slice(0, n) for n in volume.shape[1:])
        cropped = volume[:, box[0], box[1]]
        if not cropped.numel():
            return
        rows, columns = cropped.shape[1:3]
        tiling = plan_tiling(rows, columns, volume.device, self.max_slice_pixels)
        if self.batch_size and tiling.window is None:
            tiling = Tiling(self.batch_size)
        self._tell(tiling)
        near, pending = Neighborhood(cropped, self.channels.n_neighbors // 2), self._spans(box[2])
        while pending:
            indices = pending[0][: tiling.batch_size]
            place = (slice(None), box[0], box[1], slice(indices.start, indices.stop))
            try:
                part, within = near.around(indices)
                there = guidance.from_slice(indices.start - within.start)
                scores = self._scores(*self.network_input(part, within, there), logits_of, tiling)
                scores.mean = there.insist(scores.mean, within)
            except RuntimeError as error:
                tiling = _after_memory_ran_out(error, tiling)
                continue
            chosen = most_probable(scores.mean)
            labels[place] = chosen.permute(1, 2, 3, 0).to(labels.dtype)
            if self.output == "probabilities":
                kept = scores.mean * PROBABILITY_ONE[self.dtype]
                kept = kept.round() if self.dtype is torch.uint8 else kept
                result[place] = kept.permute(1, 2, 3, 0).to(result.dtype)
            if scores.votes:
                others = torch.stack([vote != chosen[:, 0] for vote in scores.votes]).float().mean(0)
                disagreement[place] = (PERCENT * others).round().to(torch.uint8).permute(1, 2, 0)[None]
            _add(sure, scores, chosen[:, 0])
            pending = [span for span in (pending[0][len(indices) :], *pending[1:]) if span]

    def _spans(self, all_slices: slice) -> list[range]:
        """Return the ranges of slices to compute."""
        if self.only_slices is None:
            return [range(all_slices.start, all_slices.stop)]
        return [range(k, k + 1) for k in self.only_slices if all_slices.start <= k < all_slices.stop]

    def _tell(self, tiling: Tiling) -> None:
        """Say once how slices go through, and again when that changes in kind."""
        told = "windows" if tiling.window else "whole slices"
        level = logging.DEBUG if told == self._told else logging.INFO
        _log.log(level, "inference: %s; %s averaged", tiling.description, counted(len(self.views), "view"))
        self._told = told

    def network_input(
        self, volume: torch.Tensor, indices: range, guidance: Guidance | None = None
    ) -> tuple[torch.Tensor, tuple[slice, slice]]:
        """Return the network's input `(n, C', H, W)` for slices of `(C, X, Y, Z)`, and where in it the slices lie.

        The input is whole strides large. As in training, a slice lies in its middle and what is around it is at the
        window's lower end. At a size that is not a multiple of the stride the decoder would interpolate, which
        training at whole strides never saw.
        """
        slices = self.channels(volume, indices)
        spare = [-n % STRIDE for n in slices.shape[-2:]]
        before = [n // 2 for n in spare]
        padding = (before[1], spare[1] - before[1], before[0], spare[0] - before[0])
        place = tuple(slice(start, start + n) for start, n in zip(before, slices.shape[-2:]))
        prepared = self.normalize(functional.pad(slices, padding))
        if self.n_guidance:
            guidance = Guidance.none(self.n_guidance) if guidance is None else guidance
            channels = guidance.drawn(indices, slices.shape[-2:], slices.device)
            prepared = torch.cat([prepared, functional.pad(channels, padding)], dim=1)
        return prepared, place  # type: ignore[return-value]

    def _scores(self, slices: torch.Tensor, place: tuple[slice, slice], logits_of: Any, tiling: Tiling) -> _Scores:
        """Return the mean probabilities `(n, K, X, Y)` over the views, and each view's classes if there are several."""

        def tiled(whole: torch.Tensor) -> torch.Tensor:
            if tiling.window is None:
                return logits_of(whole)
            window = tuple(min(n, tiling.window) for n in whole.shape[-2:])
            return sliding_window_inference(  # type: ignore[return-value]
                whole, window, 1, logits_of, overlap=self.overlap, mode="gaussian"
            )

        if self.views == (View(),):
            return _Scores(tiled(slices)[(..., *place)].softmax(1), [])
        total, votes = 0.0, []
        for view in self.views:
            probabilities = probabilities_of_view(slices, view, tiled)[(..., *place)]
            votes.append(most_probable(probabilities)[:, 0])
            total = total + probabilities / len(self.views)
        return _Scores(total, votes)  # type: ignore[arg-type]


def _slice_by_slice(volumes: torch.Tensor, channels: int, dtype: torch.dtype) -> torch.Tensor:
    """Return zeros `(B, channels, X, Y, Z)` in which each slice lies in one piece: they are written slice by slice."""
    shape = (len(volumes), channels, volumes.shape[4], *volumes.shape[2:4])
    return volumes.new_zeros(shape, dtype=dtype).permute(0, 1, 3, 4, 2)


OUT_OF_MEMORY = ("memory", "bad alloc", "bad_alloc", "bad allocation")  # in the errors of torch and of the engines
PROBABILITY_ONE = {torch.float16: 1.0, torch.uint8: 255.0}


@dataclass
class _Scores:
    """Mean probabilities `(n, K, X, Y)`, and per view the classes `(n, X, Y)` it would have given."""

    mean: torch.Tensor
    votes: list[torch.Tensor]


def _add(sure: Confidence, scores: _Scores, chosen: torch.Tensor) -> None:
    """Add a batch to the sums; only voxels of the foreground count."""
    inside = chosen > 0
    n = int(inside.sum())
    if not n:
        return
    surprise = scores.mean * scores.mean.clamp_min(torch.finfo(torch.float32).tiny).log()
    entropy = -(surprise.sum(1) * inside).sum() / math.log(scores.mean.shape[1])
    sure.voxels += n
    sure.entropy += float(entropy)
    if scores.votes:
        sure.disagreement += sum(float((vote != chosen)[inside].sum()) for vote in scores.votes) / len(scores.votes)


def _after_memory_ran_out(error: RuntimeError, tiling: Tiling) -> Tiling:
    """Return a tiling that needs less, or raise the error again if it is of another kind or nothing is left to try."""
    text = str(error).lower()
    if not isinstance(error, torch.OutOfMemoryError) and not any(word in text for word in OUT_OF_MEMORY):
        raise error
    smaller = tiling.smaller()
    if smaller is None:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _log.warning("out of memory with %s: going on with %s", tiling.description, smaller.description)
    return smaller
