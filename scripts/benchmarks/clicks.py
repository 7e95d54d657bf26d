"""What clicks are worth: a simulated user corrects held-out volumes with a model that was trained with clicks.

    python scripts/benchmarks/clicks.py --model models/model.pt --data FOLDER [--volumes 20] [--clicks 10]

FOLDER holds annotated cases the model has not seen (`images/` and `labels/`, or a `dataset.json`). The user clicks into
the deepest voxel of the largest region, in three dimensions, where mask and truth differ, and says what is right there.
Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from results_page import machine, markdown_table, write_section
from scipy import ndimage

from monai_vggunet.data.cases import Case, annotated_cases
from monai_vggunet.segmenter import Segmenter
from monai_vggunet.training import largest_error
from monai_vggunet.transforms import loading
from monai_vggunet.transforms.clicks import clicks_in_world

SHOWN = (0, 1, 3, 5, 10)
CLICKED_SLICES = 3  # the figures in the slices that were clicked are taken after so many clicks


@dataclass
class Corrected:
    """One volume: after each number of clicks the mean Dice and the share of the automatic error that is left."""

    dice: list[float] = field(default_factory=list)
    error_left: list[float] = field(default_factory=list)
    clicked_error_left: float = float("nan")  # in the clicked slices alone, after three clicks
    changed_elsewhere: float = 0.0  # largest share of voxels that changed in slices without a click
    obeyed: list[bool] = field(default_factory=list)  # whether the clicked voxel has the class that was said
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=20, help="at most so many")
    parser.add_argument("--clicks", type=int, default=max(SHOWN))
    parser.add_argument("--note", default="", help="what a reader of the figures should know about this run")
    arguments = parser.parse_args()
    segmenter = Segmenter(arguments.model)
    segments = {name: number for number, name in enumerate(segmenter.spec.class_names) if number}
    load_truth = loading(n_classes=len(segmenter.spec.class_names), segments=segments)
    cases = annotated_cases(arguments.data)[0][: arguments.volumes]
    results = []
    for case in cases:
        results.append(correct(segmenter, case, load_truth(case)["label"][0].numpy(), arguments.clicks))
        print(f"{case['case']}: Dice {' '.join(f'{dice:.3f}' for dice in results[-1].dice)}")
    write_section("clicks", report(results, arguments.note))


def correct(segmenter: Segmenter, case: Case, truth: np.ndarray, n_clicks: int) -> Corrected:
    """Segment one volume and correct it click by click."""
    names = segmenter.spec.class_names
    batch = segmenter.compute(segmenter.load({"image": case["image"], "case": case["case"]}))
    automatic = segmenter.finish(dict(batch))
    mask, clicks, result = automatic.labels, [], Corrected()
    before = max(1, int((mask != truth).sum()))
    for n in range(n_clicks + 1):
        wrong = mask != truth
        result.dice.append(mean_dice(mask, truth, len(names)))
        result.error_left.append(float(wrong.sum()) / before)
        if n == CLICKED_SLICES:
            slices = sorted({click[1][2] for click in clicks})
            here = max(1, int((automatic.labels != truth)[..., slices].sum()))
            result.clicked_error_left = float(wrong[..., slices].sum()) / here
        region = largest_error(wrong)
        if n == n_clicks or region is None:
            continue
        depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1]
        voxel = tuple(int(i) for i in np.unravel_index(depth.argmax(), depth.shape))
        clicks.append((names[truth[voxel]], voxel))
        started = time.monotonic()
        mask = segmenter.finish(segmenter.correct(batch, in_world(clicks, names, automatic.affine, truth.shape))).labels
        result.seconds.append(time.monotonic() - started)
        result.obeyed.append(bool(mask[voxel] == truth[voxel]))
        others = np.delete(mask != automatic.labels, sorted({click[1][2] for click in clicks}), axis=2)
        result.changed_elsewhere = max(result.changed_elsewhere, float(others.mean()) if others.size else 0.0)
    return result


def in_world(clicks: list, names: list[str], affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the clicks as a client sends them, in the patient's world."""
    request = {name: [list(voxel) for clicked, voxel in clicks if clicked == name] for name in names}
    return clicks_in_world(request, names, affine, shape)


def mean_dice(mask: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Return the mean over the classes that either of the two holds."""
    values = []
    for number in range(1, n_classes):
        a, b = mask == number, truth == number
        if a.any() or b.any():
            values.append(2.0 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(values)) if values else 1.0


def report(results: list[Corrected], note: str) -> str:
    """Return the section for docs/results.md."""
    shown = [n for n in SHOWN if n < min(len(result.dice) for result in results)]
    rows = [
        [
            n,
            f"{np.mean([result.dice[n] for result in results]):.3f}",
            f"{np.min([result.dice[n] for result in results]):.3f}",
            f"{100 * np.mean([result.error_left[n] for result in results]):.0f} %",
            f"{sum(result.dice[n] < result.dice[0] for result in results)} of {len(results)}",
        ]
        for n in shown
    ]
    obeyed = [one for result in results for one in result.obeyed]
    clicked = np.nanmean([result.clicked_error_left for result in results])
    seconds = np.median([one for result in results for one in result.seconds])
    return f"""## Clicks

A simulated user clicks into the middle of the largest wrong region of {len(results)} held-out volumes and says what is
right there. {note}

{markdown_table(["clicks", "mean Dice", "lowest Dice", "wrong voxels left", "volumes worse than automatic"], rows)}

After {CLICKED_SLICES} clicks {100 * (1 - clicked):.0f} % of the wrong voxels are gone in the slices that were clicked.
{100 * np.mean(obeyed):.0f} % of {len(obeyed)} clicked voxels have the class that was said. In slices without a click at
most {100 * max(result.changed_elsewhere for result in results):.3f} % of the voxels changed. A correction takes
{seconds:.2f} s (median), the way back to the volume's grid included; {machine()}.
"""


if __name__ == "__main__":
    main()
