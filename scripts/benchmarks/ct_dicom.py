"""A real CT as DICOM with a label: train on it and segment it by the bundle; is the mask in the right place?

    python scripts/benchmarks/ct_dicom.py [--epochs 20] [--data FOLDER] [--work FOLDER]

The label of the one series of 20 slices was made by a program. The run shows that the way from DICOM to a mask and back
is exact, not how well a model does on other series. Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from hippocampus import ROOT, bundle
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from results_page import machine, markdown_table, write_section

DATA = ROOT.parent / "shared" / "data" / "seg" / "ct_totalseg_example"
N_CLASSES = 5  # the largest structures of the label; the others count as background
STEPS = 10  # per epoch
OPTIONS = {
    "pretrained": "scratch",
    "iterations_per_epoch": STEPS,
    "lr_schedule": "cosine",
    "encoder_lr": 1e-3,
    "decoder_lr": 1e-3,
    "ema_momentum": 0.05,
    "batch_size": 4,
    "overrides": {"spacing_mm": [3.0, 3.0], "roi_size": [128, 128]},
    "train#preprocessing#jitter_prob": 0,
    "show_bar": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "quickstart" / "ct_dicom")
    arguments = parser.parse_args()
    series, source = arguments.data / "dicom", arguments.data / "labels" / "example_seg_dicom.nii.gz"
    if not series.is_dir():
        sys.exit(f"the data are not at {arguments.data}; pass --data")
    dataset, label = write_dataset(series, source, arguments.work)

    options = {"max_epochs": arguments.epochs, "val_interval": arguments.epochs, **OPTIONS}
    started = time.monotonic()
    folder, output = arguments.work / "run", arguments.work / "masks"
    bundle("training", ["configs/train.json"], dataset, folder, folder / "training", options)
    minutes = (time.monotonic() - started) / 60
    bundle("", ["configs/inference.json"], series, folder, output, {})
    mask = nib.load(next(output.glob("*/mask.nii.gz")))
    write_section("ct_dicom", report(mask, nib.load(label), minutes, arguments.epochs))


def write_dataset(series: Path, source: Path, work: Path) -> tuple[Path, Path]:
    """Keep the label's largest structures as classes 1, 2, ...; write them and a dataset.json."""
    image = nib.load(source)
    array = np.asarray(image.dataobj).astype(int)
    sizes = np.bincount(array.ravel())
    largest = [number for number in np.argsort(sizes)[::-1] if number][:N_CLASSES]
    classes = np.zeros(array.shape, np.uint8)
    for new, old in enumerate(largest, start=1):
        classes[array == old] = new
    folder = work / "data"
    folder.mkdir(parents=True, exist_ok=True)
    label = folder / "label.nii.gz"
    nib.save(nib.Nifti1Image(classes, image.affine), label)
    names = {"0": "background"} | {str(new): f"structure {old}" for new, old in enumerate(largest, start=1)}
    content = {"labels": names, "modality": {"0": "CT"}, "training": [{"image": str(series), "label": str(label)}]}
    (folder / "dataset.json").write_text(json.dumps(content, indent=1))
    return folder, label


def report(mask: nib.Nifti1Image, label: nib.Nifti1Image, minutes: float, epochs: int) -> str:
    """Bring the mask into the label's axis order, compare corners in patient space and overlap; return the section."""
    turn = ornt_transform(io_orientation(mask.affine), io_orientation(label.affine))
    moved = apply_orientation(np.asarray(mask.dataobj), turn)
    affine = mask.affine @ nib.orientations.inv_ornt_aff(turn, mask.shape)
    truth = np.asarray(label.dataobj)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in truth.shape], [1], indexing="ij"), float).reshape(4, -1)
    apart_mm = np.linalg.norm(((affine - label.affine) @ corners)[:3], axis=0).max()
    dice = [
        2 * ((moved == c) & (truth == c)).sum() / ((moved == c).sum() + (truth == c).sum())
        for c in range(1, N_CLASSES + 1)
    ]
    rows = [
        ["shape of the mask, in the label's axis order", " × ".join(map(str, moved.shape))],
        ["shape of the label", " × ".join(map(str, truth.shape))],
        ["largest distance between corner voxels in patient space", f"{apart_mm:.6f} mm"],
        ["Dice on the training series itself, per class", ", ".join(f"{d:.3f}" for d in dice)],
    ]
    return f"""## A real CT series, DICOM to mask

20 slices, JPEG 2000, trained {epochs} epochs of {STEPS} steps from scratch ({minutes:.1f} min) and segmented by the
bundle's commands, {machine()}. Another program made the label, and the model was trained on it: the Dice
shows that reading and writing are right, and says nothing about other patients.

{markdown_table(["", "figure"], rows)}
"""


if __name__ == "__main__":
    main()
