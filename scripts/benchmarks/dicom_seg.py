"""A mask of 512 x 512 x 300 with 10 classes as DICOM SEG: our writer against highdicom called plainly, alternately.

    python scripts/benchmarks/dicom_seg.py [--rounds 5] [--slices 300] [--size 512] [--classes 10]

Both start from the mask as inference leaves it and the folder of the series, and end with a file. Called plainly means
as in highdicom's user guide: the headers are read by pydicom and sorted by position, and the mask is stacked for it.
For the type fractional, highdicom takes the probabilities of all classes at once, as floats; that is measured in one
round with fewer slices. Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from dicom_synthetic import write_series
from monai.transforms import LoadImage
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid
from results_page import machine, markdown_table, write_section

from monai_vggunet.data import DicomSeriesReader
from monai_vggunet.outputs import CaseMask, Classes, write_dicom_seg

TYPES = {"binary": ExplicitVRLittleEndian, "labelmap": RLELossless, "fractional": RLELossless}
FRACTIONAL_SLICES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in TYPES:
            slices = min(arguments.slices, FRACTIONAL_SLICES) if kind == "fractional" else arguments.slices
            series = Path(folder) / f"series_{slices}"
            if not series.exists():
                write_series(series, "RLE", slices, arguments.size)
            mask = mask_of(series, arguments.classes, kind)
            rounds = 1 if kind == "fractional" else arguments.rounds
            rows.append([kind, slices, *measured(mask, series, kind, Path(folder), rounds)])
    write_section("dicom_seg", report(rows, arguments))


def mask_of(series: Path, n_classes: int, kind: str) -> CaseMask:
    """Return ellipsoids of different sizes on a series' grid; as probabilities, with soft edges."""
    image = LoadImage(reader=DicomSeriesReader())(series)
    shape = image.shape
    labels = np.zeros(shape, np.uint8)
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    rng = np.random.default_rng(0)
    classes = Classes(["background", *(f"organ {n}" for n in range(1, n_classes + 1))])
    soft = np.zeros((n_classes + 1, *shape), np.uint8) if kind == "fractional" else None
    for number in range(1, n_classes + 1):
        center = rng.uniform(0.25, 0.75, 3) * shape
        radii = rng.uniform(0.08, 0.2, 3) * shape
        distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii))
        labels[distance < 1] = number
        if soft is not None:
            soft[number] = 255 / (1 + np.exp(np.minimum(8 * (distance - 1), 50)))
    return CaseMask(labels, np.asarray(image.affine), image.meta, classes, "0" * 64, soft)


def measured(mask: CaseMask, series: Path, kind: str, folder: Path, rounds: int) -> list[str]:
    """Return median seconds of both, the ratio with its quartiles, and the sizes of both files."""
    ways: dict[str, Callable[[Path], None]] = {
        "ours": lambda path: write_dicom_seg(path, mask, kind),
        "plain": lambda path: write_plainly(path, mask, series, kind),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {}
    for turn in range(rounds + (rounds > 1)):  # the first one warms up
        for name, write in ways.items():
            path = folder / f"{name}.dcm"
            started = time.perf_counter()
            write(path)
            if turn or rounds == 1:
                seconds[name].append(time.perf_counter() - started)
            sizes[name] = path.stat().st_size / 1e6
    ratios = [ours / plain for ours, plain in zip(seconds["ours"], seconds["plain"])]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    spread = f"{middle:.2f} ({low:.2f} to {high:.2f})" if len(ratios) > 1 else f"{middle:.2f}"
    times = [f"{statistics.median(seconds[name]):.2f}" for name in ways]
    return [*times, spread, *(f"{sizes[name]:.1f}" for name in ways)]


def write_plainly(path: Path, mask: CaseMask, series: Path, kind: str) -> None:
    """Write a mask by highdicom and pydicom alone."""
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.iterdir()]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    if mask.probabilities is None:
        pixels = np.ascontiguousarray(mask.labels.transpose(2, 1, 0))
    else:
        pixels = mask.probabilities[1:].transpose(3, 2, 1, 0).astype(np.float32) / 255
    descriptions = [
        hd.seg.SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Liver, "MANUAL")
        for number, name in enumerate(mask.classes.names[1:], start=1)
    ]
    hd.seg.Segmentation(
        headers,
        pixels,
        kind.upper(),
        descriptions,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="plain",
        manufacturer_model_name="plain",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=TYPES[kind],
    ).save_as(path)


def report(rows: list[list[object]], arguments: argparse.Namespace) -> str:
    """Return the section for docs/results.md."""
    header = ["type", "slices", "ours, s", "highdicom, s", "ratio (quartiles)", "ours, MB", "highdicom, MB"]
    return f"""## Writing DICOM SEG

A mask of {arguments.size} x {arguments.size} pixels with {arguments.classes} classes, from the array and the folder of
the series to the file, by our writer and by highdicom called plainly, alternately, {arguments.rounds} rounds
(fractional: one); highdicom {hd.__version__}, {machine()}.

{markdown_table(header, rows)}
"""


if __name__ == "__main__":
    main()
