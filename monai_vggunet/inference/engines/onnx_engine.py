"""ONNX Runtime on a CPU: to cross-check the other engines, and where neither PyTorch nor OpenVINO is installed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from monai_vggunet.errors import ConfigurationError, EngineUnavailableError
from monai_vggunet.inference.engines.engine import Engine

__all__ = ["OnnxEngine", "import_onnxruntime"]


_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


class OnnxEngine(Engine):
    """An exported ONNX model in float32.

    Args:
        model: the file, or its content.
        precision: `auto` or `fp32`.

    Raises:
        EngineUnavailableError: ONNX Runtime is not installed.
        ConfigurationError: another precision.
    """

    name = "onnx"

    def __init__(self, model: str | os.PathLike[str] | bytes, precision: str = "auto") -> None:
        runtime = import_onnxruntime()
        if precision not in ("auto", "fp32"):
            raise ConfigurationError(f"engine onnx computes in fp32, got precision {precision!r}; use auto or fp32")
        self.version = runtime.__version__
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        content = model if isinstance(model, bytes) else os.fspath(model)
        self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    @property
    def metadata(self) -> dict[str, str]:
        """The texts that the model file carries."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, slices: torch.Tensor) -> torch.Tensor:
        """See `Engine.run`."""
        array = np.ascontiguousarray(slices.detach().to("cpu", torch.float32).numpy())
        return torch.from_numpy(self._session.run(None, {self._input: array})[0]).to(slices.device)


def import_onnxruntime() -> Any:
    """Return the module `onnxruntime`, its telemetry switched off: a hospital's machine must not report what it runs.

    Raises:
        EngineUnavailableError: it is not installed.
    """
    os.environ[_NO_TELEMETRY] = "1"  # read once, on import: what can be called later comes too late
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailableError(
            'engine onnx is not installed: pip install "monai-vggunet[onnx]", or use engine torch'
        ) from error
    return onnxruntime
