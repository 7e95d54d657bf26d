"""What clicks are worth: a simulated user corrects held-out volumes with a model that was trained with clicks.

    python scripts/benchmarks/clicks.py --model models/model.pt --data FOLDER [--volumes 20] [--clicks 10]

FOLDER holds annotated cases the model has not seen (`images/` and `labels/`, or a `dataset.json`). What the user does
stands in `simulated_user.py`. Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from results_page import write_section
from simulated_user import SHOWN, Click, Corrected, correct, figures

from monai_vggunet.data.cases import Case, annotated_cases
from monai_vggunet.segmenter import Segmenter
from monai_vggunet.transforms import loading
from monai_vggunet.transforms.clicks import clicks_in_world


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
        results.append(correct_with(segmenter, case, load_truth(case)["label"][0].numpy(), arguments.clicks))
        print(f"{case['case']}: Dice {' '.join(f'{dice:.3f}' for dice in results[-1].dice)}")
    write_section("clicks", report(results, arguments.note))


def correct_with(segmenter: Segmenter, case: Case, truth: np.ndarray, n_clicks: int) -> Corrected:
    """Segment one volume and let the simulated user correct it."""
    names = segmenter.spec.class_names
    batch = segmenter.compute(segmenter.load({"image": case["image"], "case": case["case"]}))
    automatic = segmenter.finish(dict(batch))

    def answer(clicks: list[Click]) -> np.ndarray:
        corrected = segmenter.correct(batch, in_world(clicks, names, automatic.affine, truth.shape))
        return segmenter.finish(corrected).labels

    return correct(automatic.labels, answer, truth, names, n_clicks)


def in_world(clicks: list[Click], names: list[str], affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the clicks as a client sends them, in the patient's world."""
    request = {name: [list(voxel) for clicked, voxel in clicks if clicked == name] for name in names}
    return clicks_in_world(request, names, affine, shape)


def report(results: list[Corrected], note: str) -> str:
    """Return the section for docs/results.md."""
    return f"""## Clicks

A simulated user clicks into the middle of the largest wrong region of {len(results)} held-out volumes and says what is
right there. {note}

{figures(results)}
"""


if __name__ == "__main__":
    main()
