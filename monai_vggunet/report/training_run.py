"""A training run on disk: its curve, its model, the figures of its judged cases, and where their images lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_vggunet.case_path import is_there
from monai_vggunet.data import Datalist, ModelSpec, annotated_datalist, numbered_as
from monai_vggunet.data.cases import Case
from monai_vggunet.data.trained_cases import trained_among
from monai_vggunet.errors import DatasetError, VGGUNetError
from monai_vggunet.layout import DATALIST, HISTORY, MASK, METRICS, MODEL_SPEC, REPORT
from monai_vggunet.privacy import keep_names, reveal, shown_case
from monai_vggunet.report.pages.display_view import display_view
from monai_vggunet.report.pages.training import mistaken_slice, worst_first, write_training_report
from monai_vggunet.report.sources import read_case, read_mask
from monai_vggunet.training import Evaluation, History

__all__ = ["is_training_run", "report_training"]

N_WORST = 8  # cases shown in pictures


def is_training_run(folder: Path) -> bool:
    """Whether a folder, or one directly in it, holds the curve of a training run."""
    return bool(_files(folder, HISTORY))


def report_training(folder: str | os.PathLike[str], datasets: Sequence[str | os.PathLike[str]] = ()) -> Path:
    """Write the page of a training run into its folder.

    Args:
        folder: holds, itself or one level below, `history.json` and `model.json` of the training, and, if cases were
            judged, `metrics.json` with their masks beside it.
        datasets: where the judged cases lie, if they have moved.

    Raises:
        DatasetError: a file is damaged, or several runs lie there.
        ModelMismatchError: `model.json` is damaged.
        OutputWriteError: the folder cannot be written.
    """
    root = Path(folder)
    histories = _files(root, HISTORY)
    if len(histories) != 1:
        raise DatasetError(
            f"{root} holds {len(histories)} files named {HISTORY}; expected one training run: name its folder"
        )
    history = _with_cases(History.read(histories[0]), histories[0].with_name(DATALIST))
    description = histories[0].with_name(MODEL_SPEC)
    model = ModelSpec.read(description) if description.is_file() else None
    judged = sorted(_files(root, METRICS), key=lambda file: file.stat().st_mtime)
    notes: list[str] = []
    evaluation = None
    pictures: dict[str, bytes] = {}
    if judged:
        keep_names(judged[-1].parent)
        evaluation = Evaluation.read(judged[-1])
        real = {shown_case(name): name for name in map(reveal, evaluation.per_case)}
        shown = {shown_case(reveal(name)): figures for name, figures in evaluation.per_case.items()}
        trained = [shown_case(reveal(name)) for name in evaluation.trained]
        evaluation = replace(evaluation, per_case=shown, trained=trained)
        if len(judged) > 1:
            notes.append(f"Of {len(judged)} evaluations the newest is shown, {judged[-1].parent.name}.")
        pictures, missing = _pictures(judged[-1].parent, worst_first(shown), real, model, datasets)
        notes += missing
    else:
        notes.append(
            "No case has been judged yet: run the bundle with evaluate.json for a table and pictures of cases."
        )
    return write_training_report(root / REPORT, root.resolve().name, history, model, evaluation, pictures, notes)


def _pictures(
    folder: Path,
    ordered: list[str],
    real: dict[str, str],
    model: ModelSpec | None,
    datasets: Sequence[str | os.PathLike[str]],
) -> tuple[dict[str, bytes], list[str]]:
    """Return pictures of the worst cases, and why others are not shown.

    Args:
        folder: of the figures, with the masks.
        ordered: the names of the judged cases in a page, the worst first.
        real: the name of a case's folder, by its name in a page.
        model: that was judged; None if it is not known.
        datasets: see `report_training`.
    """
    known, segments = _known_cases(folder, datasets, model.class_names if model else ())
    modality, values = (model.preprocessing.modality, model.label_values) if model else ("", None)
    worst = ordered[:N_WORST]
    pictures, reasons, n_unknown = {}, {}, 0
    for name in worst:
        mask, case = folder / real[name] / MASK, known.get(real[name])
        if case is None or not mask.is_file():
            reasons[name] = "its image is not known here" if case is None else "its mask was not saved"
            n_unknown += case is None
            continue
        try:
            labels, affine = read_mask(mask)
        except VGGUNetError:
            reasons[name] = "its mask is damaged"
            continue
        try:
            read = read_case(case, segments=segments, label_values=values)
            grid = (affine, read["image"], read["affine"], modality)
            truth = read["label"] if labels.ndim == 3 else read["label"][..., 0]
            pictures[name] = mistaken_slice(display_view(labels, *grid), display_view(truth, *grid).labels)
        except VGGUNetError as error:
            reasons[name] = (
                f"its image or label cannot be read or placed ({type(error).__name__})"  # no paths in a page
            )
    notes = [f"No picture of {name}: {reason}." for name, reason in list(reasons.items())[:3]]
    if len(reasons) > len(notes):
        notes.append(f"No picture of {len(reasons) - len(notes)} more of the {len(worst)} worst cases.")
    if n_unknown:
        notes.append("Pass --images with the data set that was judged to see them.")
    return pictures, notes


def _known_cases(
    folder: Path, datasets: Sequence[str | os.PathLike[str]], class_names: Sequence[str]
) -> tuple[dict[str, Case], dict[str, int] | None]:
    """Return the judged cases by name, from the given data sets or from the list that the evaluation left.

    Labels are read with the class numbers of the model that was judged, if its names are known.
    """
    if datasets:
        lists = [numbered_as(annotated_datalist(path), class_names) for path in datasets]
        segments = {name: number for each in lists for name, number in each.segments.items()}
        return {case["case"]: case for each in lists for case in each.validation}, segments or None
    if not (folder / DATALIST).is_file():
        return {}, None
    listed = Datalist.read(folder / DATALIST, "pass --images")
    cases = {case["case"]: case for case in listed.validation if is_there(case["image"])}
    return {name: case for name, case in cases.items() if Path(case["label"]).exists()}, listed.segments or None


def _with_cases(history: History, split_file: Path) -> History:
    """Return a curve of format 1 with what the run's list says of its validation cases."""
    if history.n_validation is not None or not split_file.is_file():
        return history
    listed = Datalist.read(split_file, "move it away")
    return history.of_cases(replace(listed, trained=trained_among(listed.validation, listed.training)))


def _files(folder: Path, name: str) -> list[Path]:
    own = folder / name
    return [own] if own.is_file() else sorted(folder.glob(f"*/{name}"))
