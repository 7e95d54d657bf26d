"""A network in the formats that other programs run: TorchScript, `torch.export`, ONNX and OpenVINO IR."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.errors import EngineUnavailableError
from monai_vggunet.inference.engines import OnnxEngine, OpenVINOEngine
from monai_vggunet.inference.engines.engine import Logits
from monai_vggunet.inference.engines.export_files import METADATA_KEY, ExportMetadata
from monai_vggunet.inference.engines.onnx_engine import import_onnxruntime
from monai_vggunet.inference.engines.openvino_engine import import_openvino, openvino_model
from monai_vggunet.networks.graph import DYNAMIC_AXES, export_program
from monai_vggunet.quiet_logs import quiet_logs

if TYPE_CHECKING:
    import openvino

__all__ = ["WRITERS", "quiet", "save_openvino"]

Check = Callable[[Logits], None]


def write_torchscript(network: nn.Module, path: Path, metadata: ExportMetadata, check: Check) -> None:
    """Write TorchScript, with the metadata among its extra files.

    It goes through memory, because torch would end the process if the disk filled up while it wrote the file itself.
    """
    with atomic_path(path) as temporary, quiet():
        content = io.BytesIO()
        torch.jit.save(torch.jit.script(network), content, _extra_files={METADATA_KEY: metadata.as_json()})
        temporary.write_bytes(content.getbuffer())
        check(torch.jit.load(str(temporary), map_location="cpu"))


def write_torch_export(network: nn.Module, path: Path, metadata: ExportMetadata, check: Check) -> None:
    """Write an `ExportedProgram`, with the metadata among its extra files; through memory, as `write_torchscript`."""
    with atomic_path(path) as temporary, quiet():
        content = io.BytesIO()
        torch.export.save(export_program(network), content, extra_files={METADATA_KEY: metadata.as_json()})
        temporary.write_bytes(content.getbuffer())
        check(torch.export.load(str(temporary)).module())


def write_onnx(network: nn.Module, path: Path, metadata: ExportMetadata, check: Check) -> None:
    """Write ONNX with dynamic batch, height and width, and with the metadata among its properties.

    Raises:
        EngineUnavailableError: onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineUnavailableError('ONNX needs more: pip install "monai-vggunet[onnx]"') from error
    import_onnxruntime()  # before the exporter does, which would let its telemetry run
    with atomic_path(path) as temporary, quiet():
        program = torch.onnx.export(
            export_program(network), dynamo=True, input_names=["image"], output_names=["logits"], verbose=False
        )
        model = program.model_proto  # type: ignore[union-attr]
        _name_axes(model)
        onnx.helper.set_model_props(model, {METADATA_KEY: metadata.as_json()})
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))
        check(OnnxEngine(temporary))


def write_openvino(network: nn.Module, path: Path, metadata: ExportMetadata, check: Check) -> None:
    """Write OpenVINO IR with weights in float32, and with the metadata in its runtime information.

    Raises:
        EngineUnavailableError: OpenVINO is not installed.
    """
    with quiet():
        model = openvino_model(network)
    save_openvino(model, path, metadata, lambda written: check(OpenVINOEngine(written, "fp32")))


def save_openvino(model: openvino.Model, path: Path, metadata: ExportMetadata, check: Callable[[Path], None]) -> None:
    """Write a model's two files, `.xml` and `.bin`; the `.xml`, which makes it an export, comes last.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    model.set_rt_info(metadata.as_json(), [METADATA_KEY])
    with atomic_path(path) as graph:
        weights = graph.with_suffix(".bin")
        try:
            _save(model, graph)
            check(graph)
            path.unlink(missing_ok=True)  # a run killed here leaves no graph beside weights that are not its own
            os.replace(weights, path.with_suffix(".bin"))
        finally:
            with suppress(FileNotFoundError):
                weights.unlink()


WRITERS: dict[str, Callable[[nn.Module, Path, ExportMetadata, Check], None]] = {
    "torchscript": write_torchscript,
    "torch_export": write_torch_export,
    "onnx": write_onnx,
    "openvino": write_openvino,
}


def _save(model: Any, graph: Path) -> None:
    try:
        import_openvino().save_model(model, str(graph), compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO hides the system's own error
        raise OSError(str(error).splitlines()[-1]) from error


def _name_axes(model: Any) -> None:
    """Give the dynamic axes plain names in place of the exporter's numbered ones."""
    for value, name in ((model.graph.input[0], "image"), (model.graph.output[0], "logits")):
        value_name = value.name
        if value_name != name:
            raise AssertionError(f"the exporter called it {value_name}")
        for axis, label in DYNAMIC_AXES.items():
            value.type.tensor_type.shape.dim[axis].dim_param = label


def quiet() -> AbstractContextManager[None]:
    """Silence the exporters' own warnings, about which a user can do nothing."""
    return quiet_logs("torch", "onnx_ir", "onnxscript", "nncf")
