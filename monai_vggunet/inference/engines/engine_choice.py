"""Which engine a model runs on: the one asked for, or the fastest that is installed, exported and right."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from statistics import median

import torch
from torch import nn

from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ConfigurationError, EngineUnavailableError, ModelMismatchError
from monai_vggunet.inference.engines.engine import ENGINES, PRECISIONS, Engine
from monai_vggunet.inference.engines.export_files import export_path, read_metadata
from monai_vggunet.inference.engines.onnx_engine import OnnxEngine, import_onnxruntime
from monai_vggunet.inference.engines.openvino_engine import OpenVINOEngine, import_openvino, openvino_model
from monai_vggunet.inference.engines.parity import CheckedEngine
from monai_vggunet.inference.engines.torch_engine import TorchEngine
from monai_vggunet.networks.autocast import AutocastInferer

__all__ = ["EngineChoice"]

TRIAL_SIDE = 256  # pixels of the slice that candidates are timed on
TRIALS = 3

_log = logging.getLogger(__name__)


class EngineChoice:
    """The engine asked for by name; made once the network and its weights are there.

    Args:
        spec: of the model.
        engine: `torch`, `openvino`, `onnx`, or `auto`: on CUDA torch; on a CPU whichever of torch and the exports
            beside the model is fastest on this machine, timed on one slice. An int8 export counts, for it was
            written only because its Dice held.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`; `auto` leaves it to engine and device.
        model_file: the `model.pt` beside which exports lie; None for no exports.

    Raises:
        ConfigurationError: an unknown engine or precision.
    """

    def __init__(
        self,
        spec: ModelSpec,
        engine: str = "auto",
        precision: str = "auto",
        model_file: str | os.PathLike[str] | None = None,
    ) -> None:
        if engine not in ENGINES:
            raise ConfigurationError(f"engine is {engine!r}; expected one of {', '.join(ENGINES)}")
        if precision not in PRECISIONS:
            raise ConfigurationError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
        self.spec, self.engine, self.precision = spec, engine, precision
        self.model_file = None if model_file is None else Path(model_file)

    def prepare(self, network: nn.Module, device: torch.device | str) -> Engine:
        """Return the engine, ready to run.

        Args:
            network: with its weights, in evaluation mode; it is left as it is.
            device: where torch engines run; the others run on the CPU.

        Raises:
            EngineUnavailableError: the engine is not installed, or the model lacks the export it needs.
            ModelMismatchError: an export that was asked for by name is damaged, or of other weights.
            ConfigurationError: a precision that the engine does not have.
        """
        device = torch.device(device)
        if self.engine == "torch":
            chosen: Engine = TorchEngine(network, device, self.precision)
        elif self.engine == "openvino":
            chosen = self._openvino(network)
        elif self.engine == "onnx":
            chosen = self._onnx()
        else:
            chosen = self._fastest(network, device)
        _log.info("engine: %s", chosen.description)
        return chosen

    def _openvino(self, network: nn.Module) -> Engine:
        import_openvino()
        int8 = self.precision == "int8"
        path = self._export("openvino_int8" if int8 else "openvino")
        if path is not None:
            read_metadata(path, self.spec)
            return OpenVINOEngine(path, self.precision)
        if int8:
            raise EngineUnavailableError(
                f"the model has no int8 export {self._expected('openvino_int8')}: make one with 'python -m "
                "monai.bundle run --config_file configs/quantize.json', or use another precision"
            )
        reference = AutocastInferer("fp32")
        return CheckedEngine(
            OpenVINOEngine(openvino_model(network), self.precision), lambda slices: reference(slices, network)
        )

    def _onnx(self) -> Engine:
        import_onnxruntime()
        path = self._export("onnx")
        if path is None:
            raise EngineUnavailableError(
                f"the model has no export {self._expected('onnx')}: make it with 'monai-vggunet export'"
            )
        read_metadata(path, self.spec)
        return OnnxEngine(path, self.precision)

    def _fastest(self, network: nn.Module, device: torch.device) -> Engine:
        if device.type != "cpu":
            if self.precision == "int8":
                raise ConfigurationError("int8 runs on the CPU alone: pass device cpu, or another precision")
            return TorchEngine(network, device, self.precision)
        candidates: list[Engine] = [] if self.precision == "int8" else [TorchEngine(network, device, self.precision)]
        for kind in ("openvino_int8", "openvino", "onnx"):
            candidate = self._candidate(kind)
            if candidate is not None:
                candidates.append(candidate)
        if not candidates:
            return self._openvino(network)  # says that there is no int8 export
        if len(candidates) == 1:
            return candidates[0]
        sample = torch.randn(
            1,
            self.spec.preprocessing.in_channels,
            TRIAL_SIDE,
            TRIAL_SIDE,
            generator=torch.Generator().manual_seed(0),
        )
        seconds = {engine: _seconds(engine, sample) for engine in candidates}
        for engine, taken in seconds.items():
            _log.info("  %s: %.3f s for %d x %d pixels", engine.description, taken, TRIAL_SIDE, TRIAL_SIDE)
        return min(candidates, key=lambda engine: seconds[engine])

    def _candidate(self, kind: str) -> Engine | None:
        """Return the engine of an export, or None, with a line in the log, if it cannot be used."""
        path = self._export(kind)
        asks_int8, is_int8 = self.precision == "int8", kind == "openvino_int8"
        if path is None or (self.precision != "auto" and asks_int8 != is_int8):
            return None
        try:
            read_metadata(path, self.spec)
            if kind == "onnx":
                return OnnxEngine(path, self.precision)
            return OpenVINOEngine(path, "int8" if is_int8 else self.precision)
        except (EngineUnavailableError, ModelMismatchError, ConfigurationError) as reason:
            _log.info("%s is left out: %s", path.name, reason)
        return None

    def _export(self, kind: str) -> Path | None:
        path = None if self.model_file is None else export_path(self.model_file, kind)
        return path if path is not None and path.is_file() else None

    def _expected(self, kind: str) -> str:
        return "file" if self.model_file is None else export_path(self.model_file, kind).name


def _seconds(engine: Engine, sample: torch.Tensor) -> float:
    engine(sample)  # the first call prepares
    taken = []
    for _ in range(TRIALS):
        started = time.perf_counter()
        engine(sample)
        taken.append(time.perf_counter() - started)
    return median(taken)
