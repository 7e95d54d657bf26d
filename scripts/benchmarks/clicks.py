"""What clicks are worth: a simulated user corrects held-out volumes with a model that was trained with clicks.

    python scripts/benchmarks/clicks.py --model models/model.pt --data FOLDER [--volumes 20] [--clicks 10] [--shade 1.2]

FOLDER holds annotated cases that the model has not seen (`images/` and `labels/`, or a `dataset.json`). The simulated
user is described in `simulated_user.py`. The same user also corrects an oracle, which mends whatever is wrong near a
click, and nothing else. With `--shade` the images are dark at one end and bright at the other, as from a coil; beyond
the strongest shading in training (e^1.5) the automatic mask is grossly wrong.
Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from results_page import write_section
from simulated_user import SHOWN, Click, Corrected, correct, figures

from monai_vggunet.data.cases import Case, annotated_cases
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.transforms import loading
from monai_vggunet.transforms.clicks import clicks_in_world

ORACLE_MM = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=20, help="at most so many")
    parser.add_argument("--clicks", type=int, default=max(SHOWN))
    parser.add_argument("--shade", type=float, default=0.0, help="natural logarithm of brightness, end against middle")
    parser.add_argument("--note", default="", help="what a reader of the figures should know about this run")
    arguments = parser.parse_args()
    segmenter = Segmenter(arguments.model)
    segments = {name: number for number, name in enumerate(segmenter.spec.class_names) if number}
    load_truth = loading(n_classes=len(segmenter.spec.class_names), segments=segments)
    cases = annotated_cases(arguments.data)[0][: arguments.volumes]
    results, best = [], []
    for case in cases:
        truth = load_truth(case)["label"][0].numpy()
        with tempfile.TemporaryDirectory() as folder:
            seen = shaded(case, Path(folder), arguments.shade) if arguments.shade else case
            result, bound = correct_with(segmenter, seen, truth, arguments.clicks)
        results.append(result)
        best.append(bound)
        print(f"{case['case']}: Dice {' '.join(f'{dice:.3f}' for dice in results[-1].dice)}")
    section = f"clicks shaded {arguments.shade:g}" if arguments.shade else "clicks"
    write_section(section, report(results, best, arguments))


def shaded(case: Case, folder: Path, strength: float) -> Case:
    """Write the case's image darkened towards one end of its first axis and brightened towards the other."""
    image = nib.load(case["image"])
    values = np.asarray(image.dataobj, dtype=np.float32)
    ramp = np.exp(np.linspace(-strength, strength, values.shape[0], dtype=np.float32))
    path = folder / "shaded.nii.gz"
    nib.save(nib.Nifti1Image(values * ramp[:, None, None], image.affine), path)
    return {**case, "image": str(path)}


def correct_with(segmenter: Segmenter, case: Case, truth: np.ndarray, n_clicks: int) -> tuple[Corrected, Corrected]:
    """Segment one volume and let the simulated user correct it; return this, and what an oracle would make of it."""
    names = segmenter.spec.class_names
    batch = segmenter.compute(segmenter.load({"image": case["image"], "case": case["case"]}))
    automatic = segmenter.finish(dict(batch))

    def answer(clicks: list[Click]) -> np.ndarray:
        corrected = segmenter.correct(batch, in_world(clicks, names, automatic.affine, truth.shape))
        return segmenter.finish(corrected).labels

    spacing_mm = np.linalg.norm(automatic.affine[:3, :3], axis=0)
    axes = np.ogrid[tuple(slice(0, n) for n in truth.shape)]

    def oracle(clicks: list[Click]) -> np.ndarray:
        mask = automatic.labels.copy()
        for _, voxel in clicks:
            away = sum(((i - k) * mm) ** 2 for i, k, mm in zip(axes, voxel, spacing_mm))
            mask = np.where(away <= ORACLE_MM**2, truth, mask)
        return mask

    return tuple(correct(automatic.labels, each, truth, names, n_clicks) for each in (answer, oracle))


def in_world(clicks: list[Click], names: list[str], affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the clicks as a client sends them, in patient coordinates."""
    request = {name: [list(voxel) for clicked, voxel in clicks if clicked == name] for name in names}
    return clicks_in_world(request, names, affine, shape)


def report(results: list[Corrected], best: list[Corrected], arguments: argparse.Namespace) -> str:
    """Return the section for docs/results.md."""
    title = f"## Clicks in images shaded by e^{arguments.shade:g}" if arguments.shade else "## Clicks"
    shade = f" Images are shaded by e^{arguments.shade:g} from the middle to either end." if arguments.shade else ""
    left = ", ".join(
        f"{100 * np.mean([bound.error_left[n] for bound in best]):.0f} % after {n}"
        for n in SHOWN[1:]
        if n <= arguments.clicks
    )
    return f"""{title}

A simulated user clicks in the middle of the largest wrong region of {len(results)} held-out volumes and names the
correct class there.{shade} {arguments.note}

{figures(results)}

An oracle that corrects everything within {ORACLE_MM:g} mm of each click, and nothing else, would leave {left}.
"""


if __name__ == "__main__":
    main()
