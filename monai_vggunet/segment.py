"""A folder or a whole archive from start to end: one model load, a mask and a record per series, failures apart."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import decollate_batch, list_data_collate
from torch import nn
from tqdm import tqdm

from monai_vggunet.data import ModelSpec, image_cases, load_model_spec
from monai_vggunet.data.datalist import Case
from monai_vggunet.errors import DatasetError, VGGUNetError, refusal_behind
from monai_vggunet.files import write_json
from monai_vggunet.inference import VolumeSliceInferer, describe_device
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.outputs import study_record, write_mask
from monai_vggunet.training import load_weights
from monai_vggunet.transforms import inference_postprocessing, inference_preprocessing

__all__ = ["CaseResult", "Segmenter", "segment"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What became of one case: `error` is empty when its mask was written to `folder`."""

    case: str
    folder: Path
    error: str = ""


class Segmenter:
    """A trained model ready to segment cases: preprocessing from its `model.json`, whole slices in batches.

    Args:
        model: `model.pt`, with its `model.json` beside it.
        device: `cuda` where there is one when None.
        precision: see `autocast_dtype`.
        tta: `none`, or `flip` for the mean over each slice and its mirror image.
        reslice: segment a series of another plane across its slices.
        reader_options: arguments of `DicomSeriesReader`.

    Raises:
        ModelMismatchError: the two files are missing or do not belong together.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        device: torch.device | str | None = None,
        precision: str = "auto",
        tta: str = "none",
        reslice: bool = False,
        reader_options: dict[str, Any] | None = None,
    ) -> None:
        weights = Path(model)
        self.spec: ModelSpec = load_model_spec(weights.with_suffix(".json"))
        self.spec.require_weights(weights)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network: nn.Module = load_weights(VGG16UNet(**self.spec.network), weights, self.device).eval()
        self.preprocessing = inference_preprocessing(self.spec, reslice=reslice, reader_options=reader_options)
        self.postprocessing = inference_postprocessing(self.preprocessing)
        self.inferer = VolumeSliceInferer(self.spec, precision=precision, flip_views=tta == "flip")
        self.precision = precision

    def __call__(self, case: Case) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Segment one case.

        Returns:
            The label map `(X, Y, Z)` on the source's grid, the affine to RAS mm, and the source's metadata.

        Raises:
            VGGUNetError: of the kind that fits.
            ModelMismatchError: the source's modality is not the model's.
        """
        data = _with_own_error(self.preprocessing, case)
        batch = list_data_collate([data])
        batch["pred"] = self.inferer(batch["image"].to(self.device), self.network).cpu()
        result = self.postprocessing(decollate_batch(batch)[0])["pred"]
        return result.numpy()[0], np.asarray(result.affine, dtype=np.float64), dict(result.meta)


def segment(
    inputs: Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    segmenter: Segmenter,
    show_progress: bool = True,
) -> list[CaseResult]:
    """Segment every case found under the inputs; one that fails is recorded, and the others go on.

    Each gives `OUT/<case>/mask.nii.gz` and `record.json`; both appear whole or not at all.

    Args:
        inputs: DICOM folders, folders of studies, NIfTI files.
        output_dir: OUT.
        segmenter: the model.
        show_progress: show a bar.

    Raises:
        DatasetError: an input does not exist or holds nothing to segment, or two cases have one name.
    """
    cases = _unique(case for path in inputs for case in image_cases(path))
    _log.info("segmenting %d cases on %s", len(cases), describe_device(segmenter.device, segmenter.precision))
    model = {"weights_sha256": segmenter.spec.weights_sha256, "versions": segmenter.spec.versions}
    results = []
    for case in tqdm(cases, desc="segmenting", unit="case", disable=not show_progress):
        folder, started = Path(output_dir) / case["case"], time.monotonic()
        try:
            labels, affine, meta = segmenter(case)
            write_mask(folder / "mask.nii.gz", labels, affine)
            volume = labels if labels.ndim == 3 else labels[..., None]
            names, seconds = segmenter.spec.class_names, time.monotonic() - started
            write_json(folder / "record.json", study_record(case["case"], meta, volume, affine, names, model, seconds))
            results.append(CaseResult(case["case"], folder))
        except VGGUNetError as error:
            _log.warning("%s: %s", case["case"], error)
            results.append(_failed(case["case"], folder, error))
    return results


def _failed(case: str, folder: Path, error: VGGUNetError) -> CaseResult:
    """Record a failure; a mask of an earlier run must not pass for this one's result, so it is renamed, not lost."""
    earlier = folder / "mask.nii.gz"
    if earlier.exists():
        earlier.replace(folder / "mask_of_earlier_run.nii.gz")
    record = {"case": case, "status": "failed", "kind": type(error).__name__, "error": str(error)}
    write_json(folder / "record.json", record)
    return CaseResult(case, folder, str(error))


def _with_own_error(transform: Any, case: Case) -> Any:
    """Apply MONAI transforms; what they wrap into a `RuntimeError` comes out as our own error again."""
    try:
        return transform(case)
    except RuntimeError as error:
        refusal = refusal_behind(error)
        if refusal is None:
            raise DatasetError(f"case {case['case']} cannot be read: {str(error).splitlines()[0]}") from error
        raise refusal from None


def _unique(cases: Iterable[Case]) -> Sequence[Case]:
    found: dict[str, Case] = {}
    for case in cases:
        if case["case"] in found:
            raise DatasetError(f"two inputs are called {case['case']!r}: their results would overwrite each other")
        found[case["case"]] = case
    return list(found.values())
