"""A volume through a two-dimensional network: batches of whole slices, reduced to labels batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, sliding_window_inference

from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.networks.autocast import AutocastInferer
from monai_vggunet.transforms import NormalizeImageNet, slice_channels

__all__ = ["VolumeSliceInferer"]

# A slice up to this size goes through whole: windows with overlap would cost more arithmetic. The limit is
# a guess at what a workstation can hold, not measured.
MAX_SLICE_PIXELS = 1024 * 1024
WINDOW_PIXELS = 512  # side of the windows for larger slices
BATCH_PIXELS = 512 * 512  # slices are batched up to this many pixels; not tuned


class VolumeSliceInferer(Inferer):
    """Segment a volume slice by slice.

    Whole slices go through in batches; slices larger than `max_slice_pixels` in Gaussian-weighted windows. Only the
    label of each voxel is kept, so that memory does not grow with the number of classes.

    Args:
        spec: of the model: says how slices become channels.
        output: `labels` `(B, 1, X, Y, Z)` uint8, or `probabilities` `(B, K, X, Y, Z)` float16.
        batch_size: slices at once; None chooses by their size.
        overlap: of the windows, as a share of their side.
        max_slice_pixels: the largest slice that goes through whole.
        precision: see `autocast_dtype`.
        flip_views: average the probabilities over the slice and its left-right mirror image; twice the arithmetic.

    Raises:
        ConfigurationError: an argument that makes no sense.
    """

    def __init__(
        self,
        spec: ModelSpec,
        output: str = "labels",
        batch_size: int | None = None,
        overlap: float = 0.25,
        max_slice_pixels: int = MAX_SLICE_PIXELS,
        precision: str = "auto",
        flip_views: bool = False,
    ) -> None:
        super().__init__()
        if output not in ("labels", "probabilities"):
            raise ConfigurationError(f"output is {output!r}; expected 'labels' or 'probabilities'")
        if not 0.0 <= overlap < 1.0:
            raise ConfigurationError(f"overlap is {overlap}; expected a share from 0 up to, but not including, 1")
        if batch_size is not None and batch_size < 1:
            raise ConfigurationError(
                f"batch_size is {batch_size}; expected 1 or more slices, or None to choose by size"
            )
        self.channels = slice_channels(spec.preprocessing)
        self.n_classes = len(spec.class_names)
        self.normalize = NormalizeImageNet()
        self.forward = AutocastInferer(precision)
        self.output, self.batch_size, self.overlap = output, batch_size, overlap
        self.max_slice_pixels, self.flip_views = max_slice_pixels, flip_views

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Segment `(B, C, X, Y, Z)`, slices along Z; the result has the inputs' device and, if any, their metadata."""
        volumes = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        with torch.inference_mode():
            results = [self._segment(volume, network, args, kwargs) for volume in volumes]
        stacked = torch.stack(results).clone()  # cloned outside of inference mode: transforms may write to it
        # `Invertd` passes over a plain tensor with a mere warning, and the mask would lie on the network's grid.
        return MetaTensor(stacked).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else stacked

    def _segment(self, volume: torch.Tensor, network: Callable[..., torch.Tensor], args: Any, kwargs: Any) -> Any:
        depth, size = volume.shape[-1], volume.shape[1:3]
        labels_only = self.output == "labels"
        result = torch.zeros(
            (1 if labels_only else self.n_classes, *volume.shape[1:]),
            dtype=torch.uint8 if labels_only else torch.float16,
            device=volume.device,
        )
        batch = self.batch_size or max(1, BATCH_PIXELS // (size[0] * size[1]))
        for start in range(0, depth, batch):
            indices = range(start, min(start + batch, depth))
            slices = self.normalize(self.channels(volume, indices))
            scores = self._scores(slices, network, args, kwargs)
            chosen = scores.argmax(1, keepdim=True) if labels_only else scores.softmax(1)
            result[..., start : start + len(indices)] = chosen.permute(1, 2, 3, 0).to(result.dtype)
        return result

    def _scores(self, slices: torch.Tensor, network: Callable[..., torch.Tensor], args: Any, kwargs: Any) -> Any:
        """Return values `(n, K, X, Y)` whose largest is the class: logits, or log-probabilities averaged over views."""
        logits = self._logits(slices, network, args, kwargs)
        if not self.flip_views:
            return logits
        mirrored = self._logits(slices.flip(-1), network, args, kwargs).flip(-1)
        return (0.5 * (logits.softmax(1) + mirrored.softmax(1))).clamp_min(1e-12).log()

    def _logits(self, slices: torch.Tensor, network: Callable[..., torch.Tensor], args: Any, kwargs: Any) -> Any:
        rows, columns = slices.shape[-2:]
        if rows * columns <= self.max_slice_pixels:
            return self.forward(slices, network, *args, **kwargs)

        def predict(windows: torch.Tensor) -> torch.Tensor:
            return self.forward(windows, network, *args, **kwargs)

        window: Sequence[int] = (min(rows, WINDOW_PIXELS), min(columns, WINDOW_PIXELS))
        return sliding_window_inference(slices, window, 1, predict, overlap=self.overlap, mode="gaussian")
