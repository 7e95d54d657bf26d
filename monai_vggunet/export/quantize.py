"""int8 by static post-training quantization on the user's own slices, within a budget of Dice."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from monai_vggunet.atomic_files import write_json
from monai_vggunet.data import Datalist, ModelSpec, trained_note
from monai_vggunet.data.cases import Case
from monai_vggunet.errors import EngineUnavailableError, ExportError, LabelContentError
from monai_vggunet.export.formats import quiet, save_openvino
from monai_vggunet.export.pooled_dice import PooledDice, pooled_dice
from monai_vggunet.export.sample_slices import SampledSlice, sample_slices
from monai_vggunet.inference.engines import OpenVINOEngine
from monai_vggunet.inference.engines.export_files import ExportMetadata, export_path, read_metadata
from monai_vggunet.inference.engines.openvino_engine import import_openvino, one_core, openvino_model
from monai_vggunet.layout import spec_beside
from monai_vggunet.names import counted
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training import load_weights

__all__ = ["describe_quantization", "import_nncf", "quantize_model"]

SLICE = 512 * 512
CALIBRATION_PIXELS, CALIBRATION_SLICES = 64 * SLICE, 300
VALIDATION_PIXELS, VALIDATION_SLICES = 128 * SLICE, 500
MOST_CASES = 32  # read for calibration, and for validation
TIMED = 5
CALIBRATION = "calibration slices"
PASSING = ("Concat", "MaxPool", "Interpolate")  # operations that int8 passes through
CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")

_log = logging.getLogger(__name__)


def quantize_model(
    model_file: str | os.PathLike[str],
    datalist: Datalist,
    max_dice_drop: float = 0.005,
    reader_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `model_int8.xml` and its report `model_int8.json` beside a `model.pt`.

    Ranges of activations are measured on slices of the training cases. Dice, pooled per class over slices of the
    validation cases and averaged over classes, is compared before and after. While the loss exceeds the budget, the
    layers that cost most go back to floating point (NNCF's accuracy control).

    Args:
        model_file: with its `model.json` beside it.
        datalist: the training run's own, so that validation cases are ones the model was not trained on.
        max_dice_drop: the budget: mean Dice that may be lost.
        reader_options: arguments of `DicomSeriesReader`.

    Returns:
        The report: Dice before and after per class, sizes in bytes, seconds per slice, layers in either precision, and
        how many of the cases that judged it the model was trained on.

    Raises:
        EngineUnavailableError: OpenVINO or NNCF is not installed.
        ExportError: more than the budget is lost nevertheless; nothing is written.
        LabelContentError: the validation slices hold no class to judge by.
        VGGUNetError: the model or the cases cannot be used; of the kind that fits.
    """
    nncf = import_nncf()
    weights = Path(model_file)
    spec = ModelSpec.read(spec_beside(weights))
    spec.require_weights(weights)
    network = load_weights(VGG16UNet(**spec.network), weights, torch.device("cpu")).eval()
    calibration, validation = _slices(datalist, spec, reader_options)
    n_classes = len(spec.class_names)
    with quiet():
        model = openvino_model(network)
    before, _ = pooled_dice(OpenVINOEngine(model, "fp32"), validation, n_classes)
    if before.mean != before.mean:
        raise LabelContentError(
            "neither labels nor predictions of the validation slices hold a class, so Dice cannot be judged: pass "
            "annotated cases that show the classes (--dataset_dir)"
        )

    def validate(compiled: Any, samples: Iterable[SampledSlice]) -> tuple[float, list[float]]:
        def logits_of(image: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(compiled(image.numpy())[0])

        dice, each = pooled_dice(logits_of, samples, n_classes)
        return dice.mean, each

    _log.info("calibrating on %s, judging by %d", counted(len(calibration), "slice"), len(validation))
    with quiet(), one_core():
        quantized = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(calibration, lambda sample: sample.image.numpy()),
            nncf.Dataset(validation, lambda sample: sample.image.numpy()),
            validate,
            max_drop=max_dice_drop,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )
    engines = {"fp32": OpenVINOEngine(model, "fp32"), "int8": OpenVINOEngine(quantized, "int8")}
    after, _ = pooled_dice(engines["int8"], validation, n_classes)
    lost = before.mean - after.mean
    if not lost <= max_dice_drop:
        raise ExportError(
            f"int8 costs {lost:.4f} of mean Dice on {len(validation)} validation slices ({before.mean:.4f} before), "
            f"more than --max_dice_drop {max_dice_drop:g}, with as many layers in floating point as possible: nothing "
            "was written. Use the engine openvino in fp32 or bf16 (--engine, --precision)"
        )
    path = export_path(weights, "openvino_int8")
    save_openvino(
        quantized, path, ExportMetadata.of(spec, "int8"), lambda graph: _require_same(graph, after, validation)
    )
    read_metadata(path, spec)
    report = {
        "weights_sha256": spec.weights_sha256,
        "dice": {"fp32": _named(before, spec), "int8": _named(after, spec), "max_drop": max_dice_drop},
        "slices": {"calibration": len(calibration), "validation": len(validation)},
        "cases": _judged_cases(datalist),
        "layers": _layers(quantized),
        "bytes": {
            "fp32": 4 * sum(p.numel() for p in network.parameters()),
            "int8": path.with_suffix(".bin").stat().st_size,
        },
        "seconds_per_slice": _seconds(engines, validation),
    }
    write_json(path.with_suffix(".json"), report)
    return report


def describe_quantization(report: Mapping[str, Any]) -> str:
    """Return a report of `quantize_model` as a table for the terminal."""
    before, after = report["dice"]["fp32"], report["dice"]["int8"]
    seconds, size, layers = report["seconds_per_slice"], report["bytes"], report["layers"]
    lines = [f"{'Dice':24s} {'fp32':>8s} {'int8':>8s}"]
    for name in before:
        figures = [f"{d[name]:8.4f}" if d[name] is not None else f"{'-':>8s}" for d in (before, after)]
        lines.append(f"{name:24s} {' '.join(figures)}")
    lines += [
        f"{'MB':24s} {size['fp32'] / 1e6:8.1f} {size['int8'] / 1e6:8.1f}",
        f"{'seconds per slice':24s} {seconds['fp32']:8.3f} {seconds['int8']:8.3f}",
        f"{layers['int8']} of {layers['int8'] + layers['floating_point']} convolutions in int8; judged by "
        f"{report['slices']['validation']} slices",
    ]
    cases = report["cases"]
    note = trained_note(cases["trained"], cases["validation"], cases["all_trained_known"])
    lines += [note] if note else []
    return "\n".join(lines)


def _slices(
    datalist: Datalist, spec: ModelSpec, reader_options: Mapping[str, Any] | None
) -> tuple[list[SampledSlice], list[SampledSlice]]:
    def sample(cases: Sequence[Case], pixels: int, slices: int, desc: str) -> list[SampledSlice]:
        segments = datalist.segments or None
        spread = _spread(cases)
        return sample_slices(spread, spec, pixels, slices, True, desc == CALIBRATION, reader_options, segments, desc)

    return (
        sample(datalist.training, CALIBRATION_PIXELS, CALIBRATION_SLICES, CALIBRATION),
        sample(datalist.validation, VALIDATION_PIXELS, VALIDATION_SLICES, "validation slices"),
    )


def _spread(cases: Sequence[Case]) -> list[Case]:
    step = max(1, len(cases) // MOST_CASES)
    return list(cases[::step][:MOST_CASES])


def _judged_cases(datalist: Datalist) -> dict[str, int | bool]:
    """Count the validation cases whose slices judge, and those of them that the model was trained on."""
    judged = {case["case"] for case in _spread(datalist.validation)}
    trained = judged & set(datalist.trained)
    return {"validation": len(judged), "trained": len(trained), "all_trained_known": datalist.all_trained_known}


def _require_same(graph: Path, dice: PooledDice, validation: Sequence[SampledSlice]) -> None:
    """Judge the written file too: it must give the same figure as the model in memory."""
    again, _ = pooled_dice(OpenVINOEngine(graph, "int8"), validation, dice.n_classes)
    if abs(again.mean - dice.mean) > 1e-4:
        raise ExportError(
            f"the written int8 model has Dice {again.mean:.4f}, the one in memory {dice.mean:.4f}; expected the same: "
            "nothing was written. Use the engine openvino in fp32 or bf16 (--engine, --precision)"
        )


def _named(dice: PooledDice, spec: ModelSpec) -> dict[str, float | None]:
    return {"mean": dice.mean, **dict(zip(spec.class_names[1:], dice.per_class))}


def _layers(model: Any) -> dict[str, int]:
    """Count convolutions whose input is quantized, and those left in floating point."""
    convolutions = [node for node in model.get_ops() if node.get_type_name() in CONVOLUTIONS]
    quantized = sum(_is_quantized(node) for node in convolutions)
    return {"int8": quantized, "floating_point": len(convolutions) - quantized}


def _is_quantized(node: Any) -> bool:
    """Whether every input is quantized, directly or before operations that int8 passes through."""
    n_inputs = node.get_input_size() if node.get_type_name() == "Concat" else 1
    sources = [node.input_value(i).get_node() for i in range(n_inputs)]
    return all(
        source.get_type_name() == "FakeQuantize" or (source.get_type_name() in PASSING and _is_quantized(source))
        for source in sources
    )


def _seconds(engines: Mapping[str, OpenVINOEngine], slices: Sequence[SampledSlice]) -> dict[str, float]:
    """Time the engines in turns on the slice of median size; each has run before."""
    image = sorted((each.image for each in slices), key=lambda each: each[0, 0].numel())[len(slices) // 2]
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TIMED):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine(image)
            taken[name].append(time.perf_counter() - started)
    return {name: round(median(each), 5) for name, each in taken.items()}


def import_nncf() -> Any:
    """Return the module `nncf`, without telemetry.

    Raises:
        EngineUnavailableError: NNCF or OpenVINO is not installed.
    """
    import_openvino()  # which turns telemetry off
    try:
        import nncf
    except ImportError as error:
        raise EngineUnavailableError('int8 needs NNCF: pip install "monai-vggunet[openvino]"') from error
    return nncf
