"""OpenVINO: the fastest on Intel's and AMD's processors, in float32, bf16 or quantized to int8."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from monai_vggunet.errors import ConfigurationError, EngineUnavailableError
from monai_vggunet.inference.engines.engine import Engine
from monai_vggunet.networks.autocast import autocast_dtype
from monai_vggunet.networks.fold_batch_norm import fold_batch_norm
from monai_vggunet.networks.graph import export_program

if TYPE_CHECKING:
    import openvino

__all__ = ["OpenVINOEngine", "import_openvino", "one_core", "openvino_model"]

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}  # int8: what is left in floating point is f32


class OpenVINOEngine(Engine):
    """A compiled OpenVINO model; any batch and size.

    Args:
        model: an exported `.xml`, or a model in memory.
        precision: `fp32`, `bf16`, `fp16`, or `int8` for a quantized model; `auto` is bf16 with AMX tiles, else fp32.

    Raises:
        EngineUnavailableError: OpenVINO is not installed.
        ConfigurationError: a precision that the processor does not have.
    """

    name = "openvino"

    def __init__(self, model: str | os.PathLike[str] | openvino.Model, precision: str = "auto") -> None:
        ov = import_openvino()
        if precision == "auto":
            precision = "fp32" if autocast_dtype("cpu") is None else "bf16"
        if precision not in HINTS:
            raise ConfigurationError(f"precision is {precision!r}; expected auto, {', '.join(HINTS)}")
        core = _core()
        if precision in ("bf16", "fp16") and precision.upper() not in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ConfigurationError(f"this processor has no {precision}; use precision auto or fp32")
        self.version = ov.__version__.split("-")[0]
        self.precision = precision
        read = core.read_model(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
        self._request = core.compile_model(read, "CPU", settings).create_infer_request()

    def run(self, slices: torch.Tensor) -> torch.Tensor:
        """See `Engine.run`."""
        array = np.ascontiguousarray(slices.detach().to("cpu", torch.float32).numpy())
        # The result is a view of the engine's own memory, which the next call overwrites: it is copied.
        return torch.from_numpy(self._request.infer({0: array}, share_inputs=True)[0].copy()).to(slices.device)


def openvino_model(network: nn.Module) -> openvino.Model:
    """Convert a network in evaluation mode to an OpenVINO model in memory, with any batch and size of 32 or more.

    Raises:
        EngineUnavailableError: OpenVINO is not installed.
    """
    ov = import_openvino()
    model = ov.convert_model(export_program(fold_batch_norm(network)))
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"logits"})
    return model


def import_openvino() -> Any:
    """Return the module `openvino` with its telemetry disabled: a hospital's machine must not report what it runs.

    Raises:
        EngineUnavailableError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise EngineUnavailableError(
            'engine openvino is not installed: pip install "monai-vggunet[openvino]", or use engine torch'
        ) from error
    return openvino


@contextmanager
def one_core() -> Iterator[None]:
    """Let other libraries use the process's core too, instead of making one for each of their models.

    A core's plugin for the CPU gives the thread memory on which handlers of signals run (`sigaltstack(2)`), and takes
    it away when the core goes. Where several go in another order than that in which they came, the thread is left with
    memory that is no more, and the next signal that is handled, such as Ctrl-C or the end of a process that it started,
    ends it by SIGSEGV.
    """
    ov, core = import_openvino(), _core()
    own = ov.Core
    holders: tuple[Any, ...] = (ov, sys.modules[own.__module__])  # there `openvino.compile_model` finds it
    for module in holders:
        module.Core = lambda: core
    try:
        yield
    finally:
        for module in holders:
            module.Core = own


@cache
def _core() -> Any:
    """Return the core, which stays as long as the process: see `one_core`."""
    return import_openvino().Core()


def read_rt_info(path: Path, key: str) -> str:
    """Return a text that was stored in a model's runtime information, empty when there is none.

    Raises:
        RuntimeError: the file is not an OpenVINO model.
    """
    model = _core().read_model(os.fspath(path))
    return str(model.get_rt_info([key]).value) if model.has_rt_info([key]) else ""
