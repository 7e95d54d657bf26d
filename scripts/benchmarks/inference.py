"""Slices per second of every engine against peers, alternately; int8's Dice; memory; an end-to-end run.

    python scripts/benchmarks/inference.py [--rounds 5] [--size 512] [--device cpu]
        [--only speed|settings|dice|end|memory]

Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import nibabel as nib
import numpy as np
import torch
from dicom_synthetic import write_series
from inference_peers import peers
from matrix_peak import matrix_peaks
from results_page import machine, markdown_table, write_section
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from monai_vggunet import VGG16UNet
from monai_vggunet.data import Datalist, ModelSpec, Preprocessing, image_cases, load_model_spec
from monai_vggunet.export import describe_quantization, quantize_model
from monai_vggunet.export.formats import quiet, save_openvino, write_onnx, write_openvino
from monai_vggunet.export.pooled_dice import PooledDice
from monai_vggunet.export.quantize import import_nncf
from monai_vggunet.inference import EngineChoice, VolumeSliceInferer
from monai_vggunet.inference.engines import Engine, OpenVINOEngine, TorchEngine
from monai_vggunet.inference.engines.export_files import ExportMetadata, export_path
from monai_vggunet.inference.engines.openvino_engine import openvino_model
from monai_vggunet.outputs import write_mask
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.training import load_weights, save_model
from monai_vggunet.transforms import inference_postprocessing, inference_preprocessing

N_CLASSES = 4
WINDOW = (-160.0, 240.0)
FIRST_PEER = "smp Unet vgg16_bn, windows, overlap 0.5"
SMALL_PEER = "FlexibleUNet efficientnet-b0, windows, overlap 0.5"
AIM = 6  # times the first peer, in bf16 on a processor with units for it
END_SLICES = 60
MEMORY_CASES = ((100, 2), (100, 20), (1000, 20))
REPOSITORY = Path(__file__).resolve().parents[2]
HIPPOCAMPUS = REPOSITORY / "quickstart" / "hippocampus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=512, help="side of the slices, pixels")
    parser.add_argument("--batch", type=int, default=None, help="slices at once; 1 on a CPU, 16 on a GPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=["speed", "settings", "dice", "end", "memory"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        if arguments.only in (None, "speed"):
            speed(model, arguments)
        if arguments.only in (None, "settings") and arguments.device == "cpu":
            settings(model, arguments)
        if arguments.only in (None, "dice") and (HIPPOCAMPUS / "run" / "models" / "model.pt").is_file():
            int8_dice(Path(folder))
        if arguments.only in (None, "end"):
            end_to_end(model, Path(folder), arguments)
        if arguments.only in (None, "memory"):
            memory(Path(folder))


def make_model(folder: Path, n_classes: int = N_CLASSES) -> Path:
    """Write an untrained model with its exports, int8 too: weights do not change how fast they are."""
    torch.manual_seed(0)
    network = {"spatial_dims": 2, "in_channels": 3, "out_channels": n_classes}
    preprocessing = Preprocessing(
        modality="CT", plane="axial", spacing_mm=(0.8, 0.8), roi_size=(256, 256), windows=(WINDOW,)
    )
    names = ["background", *(f"class{n}" for n in range(1, n_classes))]
    model = folder / "model.pt"
    save_model(VGG16UNet(**network), ModelSpec(network, preprocessing, names), folder)
    spec = load_model_spec(folder / "model.json")
    built = load_weights(VGG16UNet(**network), model, torch.device("cpu")).eval()
    write_openvino(built, export_path(model, "openvino"), ExportMetadata.of(spec, "fp32"), lambda engine: None)
    write_onnx(built, export_path(model, "onnx"), ExportMetadata.of(spec, "fp32"), lambda engine: None)
    nncf = import_nncf()
    with quiet():
        samples = nncf.Dataset(
            [np.random.default_rng(n).standard_normal((1, 3, 128, 128), np.float32) for n in range(8)]
        )
        quantized = nncf.quantize(openvino_model(built), samples, preset=nncf.QuantizationPreset.MIXED)
    save_openvino(quantized, export_path(model, "openvino_int8"), ExportMetadata.of(spec, "int8"), lambda path: None)
    return model


def speed(model: Path, arguments: argparse.Namespace) -> None:
    """Time our engines on whole slices and the peers as their users run them, alternately."""
    device, size = torch.device(arguments.device), arguments.size
    batch = arguments.batch or (16 if device.type == "cuda" else 1)
    spec = load_model_spec(model.with_suffix(".json"))
    network = load_weights(VGG16UNet(**spec.network), model, device).eval()
    slices = torch.randn(batch, 3, size, size, device=device)
    volume = 400 * torch.rand(1, 1, size, size, batch, device=device) - 160
    runs: dict[str, Callable[[], object]] = {}
    engines: dict[str, Engine] = {
        "torch fp32": TorchEngine(network, device, "fp32"),
        "torch bf16": TorchEngine(network, device, "bf16"),
    }
    if device.type == "cpu":
        for engine, precision in (("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnx", "fp32")):
            engines[f"{engine} {precision}"] = EngineChoice(spec, engine, precision, model).prepare(network, device)
    else:
        engines["torch fp16"] = TorchEngine(network, device, "fp16")
    for name, engine in engines.items():
        inferer = VolumeSliceInferer(spec, crop_body=False, batch_size=batch)
        runs[name] = lambda inferer=inferer, engine=engine: inferer(volume, engine)
    plain = network.to(memory_format=torch.contiguous_format)
    runs["the network as it is, eager fp32"] = lambda: eager(plain, slices)
    for peer in peers(size, device):
        runs[peer.name] = lambda peer=peer: peer.labels_of(slices)
    wall, cpu = timed(runs, arguments.rounds, device)
    peaks = matrix_peaks(device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        plain(slices[:1])
    operations = counter.get_total_flops()
    chosen = EngineChoice(spec, "auto", "auto", model).prepare(network, device).description
    text = speed_text(wall, cpu, batch, operations, peaks, engines, arguments, chosen)
    write_section(f"inference_speed_{device.type}", text)


def settings(model: Path, arguments: argparse.Namespace) -> None:
    """Time what `segment` sets, against other values: threads, subnormal numbers flushed."""
    spec, device, cores = load_model_spec(model.with_suffix(".json")), torch.device("cpu"), torch.get_num_threads()
    network = load_weights(VGG16UNet(**spec.network), model, device).eval()
    slices = torch.randn(1, 3, arguments.size, arguments.size)
    engine = TorchEngine(network, device, "fp32")
    runs: dict[str, Callable[[], object]] = {}
    for threads in sorted({1, cores, 2 * cores}):
        runs[f"torch fp32, {threads} threads"] = partial(with_threads, engine, slices, threads)
        for kind, precision in (("openvino", "fp32"), ("openvino_int8", "int8")):
            other = OpenVINOEngine(export_path(model, kind), precision, threads)
            runs[f"openvino {precision}, {threads} threads"] = partial(other, slices)
    runs["torch fp32, subnormal numbers not flushed"] = partial(without_flushing, engine, slices)
    wall, _ = timed(runs, arguments.rounds, device)
    rows = [[name, f"{median(taken):.3f}", f"{min(taken):.3f} to {max(taken):.3f}"] for name, taken in wall.items()]
    text = f"""## Inference: threads and subnormal numbers

One slice of {arguments.size} x {arguments.size}, {arguments.rounds} rounds in turns, {machine()}.
`segment` takes as many threads as there are cores and flushes subnormal numbers.

{markdown_table(["", "seconds, median", "from to"], rows)}
"""
    write_section("inference_settings", text)


def with_threads(engine: Engine, slices: torch.Tensor, threads: int) -> None:
    """Run with another number of threads, and put it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    engine(slices)
    torch.set_num_threads(before)


def without_flushing(engine: Engine, slices: torch.Tensor) -> None:
    """Run as torch does by itself."""
    torch.set_flush_denormal(False)
    engine(slices)


def eager(network: nn.Module, slices: torch.Tensor) -> torch.Tensor:
    """The network as a script would call it."""
    with torch.inference_mode():
        return network(slices).argmax(1)


def timed(
    runs: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return wall and processor seconds per run and round, the runs taking turns."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(1 + rounds):  # the first one warms up
        for name, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
        print(f"round {turn} of {rounds}", file=sys.stderr)
    return wall, cpu


def speed_text(
    wall: dict[str, list[float]],
    cpu: dict[str, list[float]],
    batch: int,
    operations: float,
    peaks: dict[str, dict[str, float]],
    engines: dict[str, Engine],
    arguments: argparse.Namespace,
    chosen: str,
) -> str:
    """Return the section on speed."""
    rows = []
    for name, taken in wall.items():
        ratios = [slow / fast for slow, fast in zip(wall[FIRST_PEER], taken)]
        spread = quantiles(ratios, n=4)
        share = "-"
        if name in engines:
            peak = max(peaks["bf16" if engines[name].precision == "fp16" else engines[name].precision].values())
            share = f"{batch * operations / median(taken) / peak:.0%}"
        rows.append(
            [
                name,
                f"{median(taken) / batch:.3f}",
                f"{median(cpu[name]) / batch:.3f}",
                f"{spread[1]:.2f} ({spread[0]:.2f} to {spread[2]:.2f})",
                share,
            ]
        )
    best = {
        precision: max(
            (median([s / f for s, f in zip(wall[FIRST_PEER], wall[name])]), name)
            for name, engine in engines.items()
            if (engine.precision == "int8") == (precision == "int8")
        )
        for precision in {engine.precision for engine in engines.values()} | {"floating point"}
        if precision in ("int8", "floating point")
    }
    said = "; ".join(f"best in {precision}: {name}, {ratio:.1f} times" for precision, (ratio, name) in best.items())
    lines = [
        f"{said} the slices per second of the first peer (aims on a processor with bf16 units: 6 in bf16, 11 in int8)."
    ]
    ratio, name = best["floating point"]
    if arguments.device == "cpu" and ratio < AIM:
        fastest = max(max(found.values()) for precision, found in peaks.items() if precision != "int8")
        needed = AIM * batch * operations / median(wall[FIRST_PEER])
        lines.append(
            f"What limits floating point: {AIM} times would take {needed / 1e9:.0f} G operations per second, the "
            f"fastest matrix product in floating point reaches {fastest / 1e9:.0f} here."
        )
    if "openvino int8" in wall and SMALL_PEER in wall:
        ratio = median([s / f for s, f in zip(wall[SMALL_PEER], wall["openvino int8"])])
        lines.append(f"int8 against the far smaller efficientnet-b0: {ratio:.2f} times as fast.")
    products = [
        [
            precision,
            *(f"{found.get(library, 0) / 1e9:.0f}" if library in found else "-" for library in ("torch", "openvino")),
        ]
        for precision, found in peaks.items()
    ]
    header = [
        "",
        "wall s per slice",
        "processor s per slice",
        f"speed against {FIRST_PEER}",
        "share of the matrix peak",
    ]
    return f"""## Inference: slices per second on a {arguments.device.upper()}

Slices of {arguments.size} x {arguments.size}, {batch} at once, {N_CLASSES} classes, {arguments.rounds} rounds, all in
turns, {machine()}, {torch.get_num_threads()} threads. Ours include what `segment` does around the network: channels,
normalization, softmax, labels, confidence. One slice is {operations / 1e9:.0f} G operations for this network. Medians;
ratios are taken round by round, with quartiles.

{markdown_table(header, rows)}

{" ".join(lines)} `engine="auto"` chose: {chosen}.

Products of square matrices, in G operations per second, to which the last column refers:

{markdown_table(["", "torch", "openvino"], products)}
"""


def int8_dice(folder: Path) -> None:
    """Quantize the hippocampus model on its training cases; judge it on the test cases it never saw."""
    models = folder / "hippocampus"
    shutil.copytree(HIPPOCAMPUS / "run" / "models", models, ignore=shutil.ignore_patterns("last.pt"))
    model = models / "model.pt"
    started = time.monotonic()
    report = quantize_model(model, Datalist.read(models / "datalist.json"))
    took = time.monotonic() - started
    spec = load_model_spec(models / "model.json")
    network = load_weights(VGG16UNet(**spec.network), model, torch.device("cpu")).eval()
    tests = json.loads((HIPPOCAMPUS / "test" / "dataset.json").read_text())["training"]
    engines = {
        name: EngineChoice(spec, *name.split(), model).prepare(network, "cpu")
        for name in ("torch fp32", "openvino int8")
    }
    preprocessing = inference_preprocessing(spec, with_label=True)
    postprocessing = inference_postprocessing(preprocessing)
    scores: dict[str, list[list[float | None]]] = {name: [] for name in engines}
    for number, case in enumerate(tests):
        item = preprocessing({**case, "case": str(number)})
        for name, engine in engines.items():
            inferer = VolumeSliceInferer(spec)
            predicted = inferer(item["image"][None], engine)[0]
            dice = PooledDice(len(spec.class_names))
            dice.add(postprocessing({**item, "pred": predicted})["pred"][0], item["label"][0])
            scores[name].append(dice.per_class)
    rows = []
    for number, class_name in enumerate(spec.class_names[1:]):
        means = [np.mean([case[number] for case in scores[name]]) for name in engines]
        differences = [b[number] - a[number] for a, b in zip(*(scores[name] for name in engines))]
        rows.append(
            [class_name, *(f"{mean:.4f}" for mean in means), f"{min(differences):+.4f} to {max(differences):+.4f}"]
        )
    table = markdown_table(["", *engines, "difference per case"], rows)
    text = f"""## int8 on real data: hippocampus MR

The model of the section on hippocampus MR, quantized on slices of its training cases in {took:.0f} s, {machine()}.
Mean Dice of {len(tests)} test volumes that neither training nor quantization saw:

{table}

The report of the command itself, on slices of the validation cases:

```
{describe_quantization(report)}
```
"""
    write_section("inference_int8", text)


def end_to_end(model: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Time the steps from a DICOM folder to a NIfTI mask, by the engine that auto takes."""
    write_series(folder / "series", "uncompressed", END_SLICES, 512)
    segmenter = Segmenter(model, arguments.device)
    case = image_cases(folder / "series")[0]
    steps: dict[str, list[float]] = {"read and preprocess": [], "network": [], "back onto the grid": [], "write": []}
    for turn in range(4):
        clock = [time.perf_counter()]
        batch = segmenter.load(case)
        clock.append(time.perf_counter())
        batch = segmenter.compute(batch)
        clock.append(time.perf_counter())
        result = segmenter.finish(batch)
        clock.append(time.perf_counter())
        write_mask(folder / "mask.nii.gz", result.labels, result.affine)
        clock.append(time.perf_counter())
        for name, begin, end in zip(steps, clock, clock[1:]):
            if turn:
                steps[name].append(end - begin)
    total = sum(median(taken) for taken in steps.values())
    rows = [[name, f"{median(taken):.2f}", f"{median(taken) / total:.1%}"] for name, taken in steps.items()]
    around = 1 - median(steps["network"]) / total
    text = f"""## From a DICOM folder to a NIfTI mask: where the time goes

{END_SLICES} slices of 512 x 512, uncompressed, {segmenter.engine.description}, {machine()};
one step after the other, medians of 3 (`segment` also reads the next study and writes the last one meanwhile).

{markdown_table(["", "seconds", "share"], rows)}

Before and after the network: {around:.1%} (aim on a CPU: under 20 %).
"""
    write_section("inference_end_to_end", text)


def memory(folder: Path) -> None:
    """Measure the peak of host memory, in a process of its own per size of volume and number of classes."""
    rows = []
    for n_slices, n_classes in MEMORY_CASES:
        model = make_model(folder / f"{n_classes}_classes", n_classes)
        volume = folder / "volume.nii"
        values = np.random.default_rng(0).integers(-150, 200, (512, 512, n_slices), np.int16)
        nib.save(nib.Nifti1Image(values, np.diag([0.8, 0.8, 1.0, 1.0])), volume)
        del values
        command = [sys.executable, str(Path(__file__).with_name("inference_memory.py")), str(model), str(volume)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures = json.loads(done.stdout.splitlines()[-1])
        keys = ("volume", "model", "loading", "computing", "finishing")
        rows.append([f"512 x 512 x {n_slices}", n_classes, *(f"{figures[key] / 1e9:.2f}" for key in keys)])
    header = [
        "volume",
        "classes",
        "volume",
        "model and libraries",
        "above: reading",
        "above: network and labels",
        "above: onto the grid",
    ]
    text = f"""## Memory of inference

Peak memory in GB, beyond the volume (float32) and the loaded model, {machine()}; 16-bit NIfTI, OpenVINO int8,
whole slices, one by one. Aim: under 3 GB for 1000 slices and 20 classes.

{markdown_table(header, rows)}
"""
    write_section("inference_memory", text)


if __name__ == "__main__":
    main()
