"""How fast this machine multiplies matrices: the yardstick for engines."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from monai_vggunet.inference.engines.openvino_engine import import_openvino

__all__ = ["matrix_peaks"]

SIDE = {"cpu": 4096, "cuda": 16384}
ROUNDS = 5


def matrix_peaks(device: torch.device) -> dict[str, dict[str, float]]:
    """Return operations per second by precision and library, the best of five products of square matrices."""
    side = SIDE[device.type]
    found: dict[str, dict[str, float]] = {}
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    for name, dtype in dtypes.items():
        a = torch.randn(side, side, device=device).to(dtype)
        found[name] = {"torch": 2 * side**3 / _best(partial(torch.matmul, a, a), device)}
    ints = torch.randint(-127, 127, (side, side), device=device, dtype=torch.int8)
    found["int8"] = {"torch": 2 * side**3 / _best(lambda: torch._int_mm(ints, ints), device)}
    if device.type == "cpu":
        for name in found:
            found[name]["openvino"] = 2 * side**3 / _best(_openvino_product(side, name), device)
    return found


def _openvino_product(side: int, precision: str) -> Callable[[], object]:
    """Return a product with a constant matrix, both sides quantized for int8, as a layer's are."""
    ov = import_openvino()
    ops = ov.opset13
    data = ops.parameter([side, side], np.float32)
    weights = ops.constant(np.random.default_rng(1).standard_normal((side, side), dtype=np.float32))
    left, right = data, weights
    if precision == "int8":
        low, high = np.float32(-3), np.float32(3)
        left = ops.fake_quantize(data, low, high, low, high, 256)
        right = ops.fake_quantize(weights, low, high, low, high, 255)
    model = ov.Model([ops.matmul(left, right, False, False)], [data])
    hint = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    values = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    return lambda: request.infer({0: values}, share_inputs=True)


def _best(run: Callable[[], object], device: torch.device) -> float:
    run()
    taken = []
    for _ in range(ROUNDS):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken)
