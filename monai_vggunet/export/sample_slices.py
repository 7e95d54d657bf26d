"""The user's own slices, as the network sees them: exports are compared, and quantization is calibrated, on these."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from monai_vggunet.data import ModelSpec
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.cases import Case
from monai_vggunet.errors import DatasetError
from monai_vggunet.inference import VolumeSliceInferer
from monai_vggunet.inference.guidance import Guidance
from monai_vggunet.names import counted
from monai_vggunet.transforms import network_grid_preprocessing

__all__ = ["SampledSlice", "sample_slices"]

FOREGROUND_SHARE = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampledSlice:
    """One input of the network.

    Attributes:
        image: `(1, C, H, W)` float32; height and width are whole strides.
        label: class numbers `(H, W)` on the same grid, 0 in the padding; None without annotation.
    """

    image: torch.Tensor
    label: torch.Tensor | None = None


def sample_slices(
    cases: Sequence[Case],
    spec: ModelSpec,
    most_pixels: int,
    most_slices: int,
    with_label: bool = True,
    prefer_foreground: bool = False,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
    desc: str = "reading slices",
) -> list[SampledSlice]:
    """Read cases and keep evenly spaced slices of each, within a budget that bounds memory.

    If the model takes clicks, every second slice has one, so that clicked slices are calibrated too.

    Args:
        cases: at least one; each gives about the same number of slices.
        spec: of the model.
        most_pixels, most_slices: of all slices together; at least one slice of every case is kept.
        with_label: cases are annotated.
        prefer_foreground: take half of a case's slices from those that hold a class, where there are any.
        reader_options: arguments of `DicomSeriesReader`.
        segments: of labels in DICOM SEG or RTSTRUCT, see `loading`.
        desc: of the progress bar.

    Raises:
        DatasetError: no case, or one that cannot be read.
        VGGUNetError: a case is refused; of the kind that fits.
    """
    if not cases:
        raise DatasetError(
            "there is no case to take slices from: pass --dataset_dir (in the bundle) or --data (of the command "
            "export) with at least one"
        )
    pipeline = network_grid_preprocessing(spec, with_label, reader_options, segments)
    inferer = VolumeSliceInferer(spec, crop_body=False)
    found: list[SampledSlice] = []
    for number, case in enumerate(tqdm(cases, desc=desc, unit="case", disable=None)):
        item = load_case(pipeline, case)
        volume = item["image"].as_tensor()
        label = item["label"].as_tensor()[0] if with_label else None
        used = sum(each.image[0, 0].numel() for each in found)
        pixels = max(1, volume.shape[1] * volume.shape[2])
        share = min((most_pixels - used) // pixels, most_slices - len(found)) // (len(cases) - number)
        for index in _indices(volume.shape[3], label if prefer_foreground else None, max(1, share)):
            clicked = bool(spec.preprocessing.n_guidance) and len(found) % 2 == 1
            found.append(_slice(inferer, volume, label, index, clicked))
    _log.info("%s of %s", counted(len(found), "slice"), counted(len(cases), "case"))
    return found


def _slice(
    inferer: VolumeSliceInferer, volume: torch.Tensor, label: torch.Tensor | None, index: int, clicked: bool
) -> SampledSlice:
    guidance = _one_click(volume, label, index, inferer.n_guidance) if clicked else None
    image, place = inferer.network_input(volume, range(index, index + 1), guidance)
    if label is None:
        return SampledSlice(image)
    rows, columns = image.shape[-2:]
    before, beside = place[0].start, place[1].start
    around = (beside, columns - place[1].stop, before, rows - place[0].stop)
    return SampledSlice(image, F.pad(label[..., index], around))


def _one_click(volume: torch.Tensor, label: torch.Tensor | None, index: int, n_classes: int) -> Guidance:
    """Return a correct click: near the center of a slice's foreground, or in the slice's middle if there is none."""
    row, column = (n // 2 for n in volume.shape[1:3])
    inside = torch.nonzero(label[..., index]).float() if label is not None else torch.empty(0, 2)
    if len(inside):
        nearest = int((inside - inside.mean(0)).square().sum(1).argmin())
        row, column = (int(n) for n in inside[nearest])
    number = int(label[row, column, index]) if label is not None else 0
    return Guidance(np.array([[number, row, column, index]], dtype=np.float64), float("inf"), n_classes)


def _indices(n_slices: int, label: torch.Tensor | None, count: int) -> Iterator[int]:
    """Yield `count` different slices, evenly spaced; half of them among those with foreground if a label is given."""
    chosen: list[int] = []
    if label is not None:
        inside = torch.nonzero(label.flatten(0, 1).any(0)).ravel().tolist()
        wanted = min(len(inside), round(count * FOREGROUND_SHARE + 0.5))
        chosen = [inside[i] for i in _evenly(len(inside), wanted)]
    rest = [index for index in range(n_slices) if index not in set(chosen)]
    chosen += [rest[i] for i in _evenly(len(rest), min(len(rest), count - len(chosen)))]
    yield from sorted(chosen)


def _evenly(n: int, count: int) -> list[int]:
    return [int(i) for i in (np.arange(count) + 0.5) * n / max(1, count)]
