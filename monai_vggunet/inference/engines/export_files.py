"""The exports beside a `model.pt`: their names, and what each says of itself."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from monai_vggunet._version import __version__
from monai_vggunet.data.model_spec import LARGEST_WEIGHTS, ModelSpec
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.inference.engines.onnx_engine import OnnxEngine
from monai_vggunet.inference.engines.openvino_engine import read_rt_info
from monai_vggunet.json_files import parse_json

__all__ = ["METADATA_KEY", "SUFFIXES", "ExportMetadata", "engine_files", "export_path", "read_metadata"]

METADATA_KEY = "monai_vggunet"
FORMAT_VERSION = 1
# What follows the stem of `model.pt`.
SUFFIXES = {
    "torchscript": ".ts",
    "torch_export": ".pt2",
    "onnx": ".onnx",
    "openvino": ".xml",
    "openvino_int8": "_int8.xml",
}
PRECISIONS = ("fp32", "int8")
_LONGEST_VERSION = 40  # of what a file calls its version, in a message
_KINDS = {
    "precision": str,
    "weights_sha256": str,
    "model": dict,
    "postprocessing": str,
    "monai_vggunet": str,
    "format_version": int,
}
POSTPROCESSING = "softmax over axis 1 gives class probabilities, argmax the mask value"


@dataclass(frozen=True)
class ExportMetadata:
    """What an export carries, as JSON, under the key `monai_vggunet`.

    Attributes:
        precision: `fp32` or `int8`.
        weights_sha256: of the `model.pt` it was made of.
        model: content of `model.json`: network, preprocessing, class names and codes.
        postprocessing: from the graph's output to a mask.
        monai_vggunet: version of this package that wrote it.
        format_version: of this record.
    """

    precision: str
    weights_sha256: str
    model: dict[str, Any]
    postprocessing: str = POSTPROCESSING
    monai_vggunet: str = __version__
    format_version: int = FORMAT_VERSION

    @classmethod
    def of(cls, spec: ModelSpec, precision: str) -> ExportMetadata:
        """Return the metadata of an export of this model."""
        return cls(precision, spec.weights_sha256, asdict(spec))

    def as_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True, sort_keys=True)


def export_path(model_file: str | os.PathLike[str], kind: str) -> Path:
    """Return where the export of a kind in `SUFFIXES` lies beside a `model.pt`."""
    source = Path(model_file)
    return source.with_name(source.stem + SUFFIXES[kind])


def engine_files(model_file: str | os.PathLike[str]) -> list[Path]:
    """Return the files beside a `model.pt` that `EngineChoice` may choose, those of weights before their graphs."""
    graphs = [export_path(model_file, kind) for kind in ("openvino_int8", "openvino", "onnx")]
    return [file for graph in graphs for file in (graph.with_suffix(".bin"), graph) if file.is_file()]


def read_metadata(path: Path, spec: ModelSpec) -> ExportMetadata:
    """Read what an export says of itself, and make sure that it is one of this model.

    Raises:
        ModelMismatchError: it is damaged, of another version, or of other weights.
    """
    again = "export the model again: monai-vggunet export"
    for part in (path, path.with_suffix(".bin")):
        if part.is_file() and part.stat().st_size > LARGEST_WEIGHTS:
            raise ModelMismatchError(f"{part} has {part.stat().st_size:,} bytes, more than any network takes; {again}")
    try:
        content = parse_json(_embedded(path))
        if content["format_version"] != FORMAT_VERSION:
            other = str(content.get("monai_vggunet"))[:_LONGEST_VERSION]
            raise ModelMismatchError(
                f"{path} was written by version {other} in a form that version {__version__} does not read; {again}"
            )
        metadata = ExportMetadata(**content)
        wrong = [name for name, kind in _KINDS.items() if type(getattr(metadata, name)) is not kind]
        if wrong or metadata.precision not in PRECISIONS:
            raise ValueError(f"{', '.join(wrong) or 'precision'} is of another kind")
    except ModelMismatchError:
        raise
    except Exception as error:  # each library raises its own on a damaged file
        raise ModelMismatchError(f"{path} is not an export by this package, or is damaged; {again}") from error
    if metadata.weights_sha256 != spec.weights_sha256:
        raise ModelMismatchError(
            f"{path} was made of other weights ({metadata.weights_sha256[:12]}...) than the model beside it "
            f"({spec.weights_sha256[:12]}...); {again}"
        )
    return metadata


def _embedded(path: Path) -> str:
    if path.suffix == ".xml":
        return read_rt_info(path, METADATA_KEY)
    if path.suffix == ".onnx":
        return OnnxEngine(path).metadata[METADATA_KEY]
    files = {METADATA_KEY: ""}
    if path.suffix == ".ts":
        torch.jit.load(str(path), map_location="cpu", _extra_files=files)
    else:
        torch.export.load(str(path), extra_files=files)
    text = files[METADATA_KEY]
    return text.decode() if isinstance(text, bytes) else text
