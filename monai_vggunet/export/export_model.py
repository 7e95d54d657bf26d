"""A trained model in every format that is asked for, each export compared with the network before it gets its name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_vggunet.atomic_files import sha256_of_file, write_json
from monai_vggunet.data import ModelSpec
from monai_vggunet.data.cases import Case
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.export.formats import WRITERS
from monai_vggunet.export.sample_slices import sample_slices
from monai_vggunet.inference.engines.engine import Logits, pad_to_smallest
from monai_vggunet.inference.engines.export_files import ExportMetadata, export_path, read_metadata
from monai_vggunet.inference.engines.parity import TOLERANCES, compare_labels
from monai_vggunet.layout import spec_beside
from monai_vggunet.names import is_utf_8
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training import load_weights

__all__ = ["EXPORTS", "export_model"]

EXPORTS = tuple(WRITERS)
CHECKED_SLICES = 8
CHECKED_PIXELS = CHECKED_SLICES * 512 * 512

_log = logging.getLogger(__name__)


def export_model(
    model_file: str | os.PathLike[str],
    cases: Sequence[Case],
    kinds: Sequence[str] = EXPORTS,
    reader_options: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Export a model beside its `model.pt`.

    Each export is written under a temporary name, read back, run on slices of the cases and compared with the network
    in float32; only one that gives the same labels is kept. `model_exports.json` beside them says how they compared.

    Args:
        model_file: `model.pt`, with its `model.json` beside it.
        cases: the user's own, for the comparison; labels are not needed.
        kinds: some of `EXPORTS`.
        reader_options: arguments of `DicomSeriesReader`.

    Returns:
        Per kind: file, size in bytes, and how its labels compared.

    Raises:
        ConfigurationError: an unknown kind, or a path that libraries cannot write to.
        ModelMismatchError: the model's files do not belong together.
        EngineUnavailableError: a library that is not installed.
        ExportError: an export gives other labels; nothing is left of it.
    """
    unknown = [kind for kind in kinds if kind not in WRITERS]
    if unknown or not kinds:
        raise ConfigurationError(
            f"cannot export {unknown or 'nothing'}; expected some of {', '.join(WRITERS)} (--formats of the command "
            "export, --kinds in the bundle)"
        )
    weights = Path(model_file)
    if not is_utf_8(weights):
        raise ConfigurationError(
            f"the path {weights} is not UTF-8, and the exporting libraries can write to UTF-8 paths alone: rename or "
            "move the folder"
        )
    spec = ModelSpec.read(spec_beside(weights))
    spec.require_weights(weights)
    network = load_weights(VGG16UNet(**spec.network), weights, torch.device("cpu")).eval()
    few = cases[:CHECKED_SLICES]
    slices = sample_slices(few, spec, CHECKED_PIXELS, CHECKED_SLICES, with_label=False, reader_options=reader_options)
    batches = [pad_to_smallest(each.image) for each in slices]
    metadata = ExportMetadata.of(spec, "fp32")
    done: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        path = export_path(weights, kind)

        def check(engine: Logits, kind: str = kind) -> None:
            parity = compare_labels(engine, network, batches)
            parity.require(f"the export {kind}", TOLERANCES["fp32"])
            done[kind] = parity.as_dict()

        WRITERS[kind](network, path, metadata, check)
        read_metadata(path, spec)
        done[kind] = {"file": path.name, "bytes": _size(path), **done[kind]}
        _log.info("%s: %.4f %% of pixels with another label", path.name, 100 * done[kind]["differing"])
    report = {"weights_sha256": sha256_of_file(weights), "exports": done}
    write_json(weights.with_name(f"{weights.stem}_exports.json"), report)
    return done


def _size(path: Path) -> int:
    """Return the size of an export in bytes; an export for OpenVINO has two files."""
    others = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    return sum(each.stat().st_size for each in [path, *others])
