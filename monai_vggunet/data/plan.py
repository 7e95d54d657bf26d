"""What follows from a training set's fingerprint: preprocessing, network and batch size, unless a user states them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import ignite.distributed as idist
import torch

from monai_vggunet.data.class_codes import resolve_class_codes
from monai_vggunet.data.fingerprint import Fingerprint
from monai_vggunet.data.model_limits import STRIDE
from monai_vggunet.data.model_spec import UNSEEN, ModelSpec, Preprocessing, require_usable
from monai_vggunet.data.switches import is_on
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import spec_beside
from monai_vggunet.memory import available_memory

__all__ = ["cases_per_step", "plan_batch_size", "plan_model"]

WINDOW_MARGIN = 0.25  # the window reaches this share of the foreground's range beyond it on both sides
MIN_WINDOW_HU = 200.0  # a narrower window would amplify noise and leave no contrast around the organs
# Longest crop side in pixels and pixels per training step: judgments, not measurements. The pixels are halved until a
# step fits into half of the memory that is free.
CROP_LIMIT = {"cpu": 160, "cuda": 384}
STEP_PIXELS = {"cpu": 1 << 16, "cuda": 1 << 20}
# Of a training step in float32: 4.1 to 4.2 kB were seen at 128 to 256 pixels a side; the rest is for the loss.
BYTES_PER_PIXEL = 6 << 10
BATCH_RANGE = (4, 64)

_log = logging.getLogger(__name__)


def plan_model(
    fingerprint: Fingerprint,
    device: torch.device | str = "cpu",
    overrides: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    class_codes: Mapping[str, Any] | None = None,
    clicks: bool | str = False,
    start_from: str | os.PathLike[str] | None = None,
) -> ModelSpec:
    """Decide preprocessing and network from the fingerprint; what the user states wins.

    Args:
        fingerprint: of the training set.
        device: sets how large a crop may be.
        overrides: attributes of `Preprocessing` by name.
        network: arguments of `VGG16UNet` other than its channels.
        class_codes: what the classes mean: see `resolve_class_codes`.
        clicks: plan a model that can be corrected by clicks (see `is_on`): each slice alone, and a channel of clicks
            per class. With one class that fills the three channels of VGG16's stem.
        start_from: `model.pt` of a trained model that training goes on with (see `monai_vggunet.training.start_from`):
            images are prepared as it saw them, and the network is the same.

    Raises:
        ModelMismatchError: `start_from` names no model.
        ConfigurationError: a setting that no `model.json` may hold: see `require_honest`.
    """
    kind = torch.device(device).type
    limit = CROP_LIMIT.get(kind, CROP_LIMIT["cpu"])
    modality = fingerprint.modality
    preprocessing = Preprocessing(
        modality=modality,
        plane=fingerprint.plane,
        spacing_mm=fingerprint.in_plane_spacing_mm,
        roi_size=tuple(min(limit, _crop(size)) for size in fingerprint.in_plane_size),  # type: ignore[arg-type]
        windows=(_window(fingerprint),),
        channels=_channel_mode(fingerprint),
        image_channels=fingerprint.image_channels,
    )
    if is_on(clicks, "clicks"):
        preprocessing = preprocessing.overridden({"n_guidance": len(fingerprint.class_names)})
        if fingerprint.image_channels == 1:
            preprocessing = preprocessing.overridden({"channels": "neighbors", "n_neighbors": 1})
    arguments = {"batch_norm": True, "decoder_channels": [256, 128, 64, 32], "upsample": "deconv", "dropout": 0.0}
    if start_from is not None:
        former = ModelSpec.read(spec_beside(start_from))
        seen = asdict(former.preprocessing)
        preprocessing = preprocessing.overridden({name: seen[name] for name in seen.keys() - UNSEEN})
        arguments |= former.network
    preprocessing = preprocessing.overridden(overrides)
    arguments |= dict(network or {})
    arguments |= {"spatial_dims": 2, "in_channels": preprocessing.in_channels}
    spec = ModelSpec(
        network={**arguments, "out_channels": len(fingerprint.class_names)},
        preprocessing=preprocessing,
        class_names=list(fingerprint.class_names),
        class_codes=resolve_class_codes(class_codes, fingerprint.class_names),
        fingerprint=fingerprint.stored(),
    )
    require_usable(spec)
    _log.info("fingerprint of the training set\n%s", fingerprint.summary())
    _log.info("planned from it: %s", preprocessing)
    return spec


def plan_batch_size(spec: ModelSpec, device: torch.device | str = "cpu") -> int:
    """Return how many slices of the crop size fit into one training step, an even number within bounds.

    Under `torchrun` this is the smallest that any process finds: they see the free memory at different moments.
    """
    kind = torch.device(device).type
    pixels = STEP_PIXELS.get(kind, STEP_PIXELS["cpu"])
    free = torch.cuda.mem_get_info()[0] if kind == "cuda" else available_memory()
    while pixels * BYTES_PER_PIXEL > free / 2 and pixels > 1:
        pixels //= 2
    rows, columns = spec.preprocessing.roi_size
    low, high = BATCH_RANGE
    batch_size = min(high, max(low, pixels // (rows * columns) // 2 * 2))
    return int(idist.all_reduce(batch_size, op="MIN"))


def cases_per_step(batch_size: int, samples_per_case: int) -> int:
    """Return how many cases make one training step of `batch_size` slices, at least one.

    Raises:
        ConfigurationError: one of the two is no whole number from 1.
    """
    for name, value in (("batch_size", batch_size), ("samples_per_case", samples_per_case)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigurationError(f"--{name} is {value!r}; expected a whole number from 1")
    return max(1, batch_size // samples_per_case)


def _window(fingerprint: Fingerprint) -> tuple[float, float]:
    """Return the intensity range the network sees: around the foreground's values for CT, 0..1 for the others."""
    if fingerprint.modality != "CT":
        return 0.0, 1.0
    low, _, high = fingerprint.foreground_percentiles
    margin = max(WINDOW_MARGIN * (high - low), (MIN_WINDOW_HU - (high - low)) / 2)
    return round(low - margin), round(high + margin)


def _channel_mode(fingerprint: Fingerprint) -> str:
    if fingerprint.image_channels == 3:
        return "color"
    return "neighbors" if fingerprint.n_slices > 1 else "window"


def _crop(size: int) -> int:
    """Return the next multiple of the network's stride, at least twice the stride."""
    return max(2 * STRIDE, -(-size // STRIDE) * STRIDE)
