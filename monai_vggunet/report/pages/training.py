"""The page of a training run: its curves, every judged case (the worst first), and pictures of the worst."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from monai_vggunet.data import ModelSpec
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.outputs.class_colors import hex_color
from monai_vggunet.report.pages.contact_sheet import INK
from monai_vggunet.report.pages.curves import Axis, line_chart
from monai_vggunet.report.pages.display_view import DisplayView, paint, resized
from monai_vggunet.report.pages.page import write_page
from monai_vggunet.training import Evaluation, History
from monai_vggunet.training.history import LOSS, PER_CLASS, RATES
from monai_vggunet.training.metrics import HD95_MM, MEAN_DICE, SURFACE_DICE

__all__ = ["mistaken_slice", "worst_first", "write_training_report"]

TILE_PX, GAP_PX = 300, 4
TITLES = {LOSS: "loss", MEAN_DICE: "validation Dice", HD95_MM: "HD95, mm", SURFACE_DICE: "surface Dice"}
# From nothing to perfect, so that no curve looks better or worse than it is.
AXES = {LOSS: Axis(0), MEAN_DICE: Axis(0, 1), HD95_MM: Axis(0), SURFACE_DICE: Axis(0, 1)}
ALONE = 5  # number of the color of a curve that belongs to no class
QUALITY = 88  # of the JPEG: noise makes PNGs several times as large


def write_training_report(
    path: str | os.PathLike[str],
    name: str,
    history: History,
    model: ModelSpec | None,
    evaluation: Evaluation | None = None,
    pictures: Mapping[str, bytes] | None = None,
    notes: Iterable[str] = (),
) -> Path:
    """Write the page of a training run.

    Args:
        path: the page.
        name: of the run.
        history: its curve.
        model: the trained model; None if there is none yet.
        evaluation: the figures of the judged cases, if any were judged.
        pictures: JPEGs by case, see `mistaken_slice`; shown in the order of the table.
        notes: what a reader of the page should know.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    classes = model.class_names[1:] if model else []
    per_case = evaluation.per_case if evaluation else {}
    titles = TITLES | ({HD95_MM: "HD95, pixels"} if model and model.preprocessing.modality == PICTURE else {})
    names = [key for key in titles if any(key in case for case in per_case.values())]
    order = worst_first(per_case)
    shown = pictures or {}
    write_page(
        path,
        "training.html",
        name=name,
        curves=_charts(history.epochs, classes, titles, _judged_on(history)),
        facts=[(key, value) for key, value in _facts(history, model).items() if value],
        classes=[(number, one, hex_color(number)) for number, one in enumerate(classes, start=1)],
        titles=[titles[key] for key in names],
        rows=[_row(case, per_case[case], names, classes) for case in order],
        trained=set(evaluation.trained) if evaluation else set(),
        judged_note=evaluation.note if evaluation else "",
        columns=classes,
        worst=[(case, _mean_dice(per_case[case]), _as_url(shown[case])) for case in order if case in shown],
        notes=[f"Of the curves of validation: {history.note}."] * bool(history.note) + list(notes),
    )
    return Path(path)


def worst_first(per_case: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[str]:
    """Return the cases by their mean Dice over the classes, the lowest first; cases without a figure come last."""
    means = {case: _mean(figures.get(MEAN_DICE, {})) for case, figures in per_case.items()}
    return sorted(means, key=lambda case: (math.inf if means[case] is None else means[case], case))


def mistaken_slice(view: DisplayView, truth: np.ndarray) -> bytes:
    """Return a JPEG of the slice with the most wrong voxels: its mask as drawn, and as found.

    Args:
        view: the image with the mask that was found.
        truth: the mask that was drawn, on the view's grid, `(X, Y, Z)`.
    """
    others = tuple(k for k in range(3) if k != view.axis)
    wrong = np.count_nonzero(view.labels != truth, axis=others)
    index = int((wrong if wrong.any() else np.count_nonzero(truth, axis=others)).argmax())
    size = view.size_px(TILE_PX)
    gray, font = resized(view.gray(index), size), ImageFont.load_default(size=15)
    page = Image.new("RGB", (2 * size[0] + GAP_PX, size[1]), "black")
    for number, (title, labels) in enumerate((("drawn", truth), ("found", view.labels))):
        tile = Image.fromarray(paint(gray, resized(view.oriented(labels, index), size, nearest=True), opacity=0.25))
        ImageDraw.Draw(tile).text((6, 5), title, fill=INK, font=font)
        page.paste(tile, (number * (size[0] + GAP_PX), 0))
    buffer = io.BytesIO()
    page.save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()


def _judged_on(history: History) -> str:
    """Return what stands in the title of a figure of validation if it is not one of unseen cases; else nothing."""
    if not history.n_trained:
        return "" if history.all_trained_known else " (perhaps of training cases)"
    n_validation = history.n_validation or 0
    return (
        " (of training cases)"
        if history.n_trained == n_validation
        else (f" ({history.n_trained} of {n_validation} are training cases)")
    )


def _charts(
    history: Sequence[Mapping[str, Any]], classes: Sequence[str], titles: Mapping[str, str], judged_on: str
) -> list[tuple[str, Markup]]:
    charts = []
    epochs = (1, max((row["epoch"] for row in history), default=1))
    for key, name in titles.items():
        title = name if key == LOSS else f"{name}{judged_on}"
        mean = [(row["epoch"], row[key]) for row in history if key in row]
        figures = [(row["epoch"], row[f"{key}{PER_CLASS}"]) for row in history if f"{key}{PER_CLASS}" in row]
        curves = {
            one: [(epoch, each[number]) for epoch, each in figures if number < len(each)]
            for number, one in enumerate(classes)
        }
        if any(curves.values()):  # the mean of one class is that class
            charts.append((title, line_chart(curves, AXES[key], epochs, mean=mean if len(classes) > 1 else ())))
        elif mean:
            alone = {LOSS if key == LOSS else "mean": mean}
            charts.append((title, line_chart(alone, AXES[key], epochs, ALONE)))
    charts.append(("learning rates", line_chart(_rates(history), Axis(logarithmic=True), epochs)))
    return charts


def _rates(history: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return one curve for parameter groups that share their rates over the whole run."""
    rows = [row for row in history if row.get(RATES)]
    groups: dict[tuple[float, ...], list[int]] = {}
    for number in range(max((len(row[RATES]) for row in rows), default=0)):
        rates = tuple(row[RATES][number] for row in rows if number < len(row[RATES]))
        groups.setdefault(rates, []).append(number + 1)
    epochs = [row["epoch"] for row in rows]
    return {
        f"group {_ranges(numbers)}" if len(groups) > 1 else "all groups": list(zip(epochs, rates))
        for rates, numbers in groups.items()
    }


def _ranges(numbers: Sequence[int]) -> str:
    consecutive = list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}–{numbers[-1]}" if consecutive and len(numbers) > 1 else ", ".join(map(str, numbers))


def _facts(curve: History, model: ModelSpec | None) -> dict[str, str]:
    history = curve.epochs
    judged = [row for row in history if row.get(MEAN_DICE) is not None]
    best = max(judged, key=lambda row: row[MEAN_DICE], default=None)
    facts = {
        "epochs": str(history[-1]["epoch"]) if history else "",
        "time": f"{history[-1]['seconds'] / 60:.1f} min of training" if history else "",
        f"best validation Dice{_judged_on(curve)}": f"{best[MEAN_DICE]:.4f} in epoch {best['epoch']}" if best else "",
    }
    if model is None:
        return facts
    picture = model.preprocessing.modality == PICTURE
    spacing = " × ".join(f"{spacing:.3g}" for spacing in model.preprocessing.spacing_mm)
    return facts | {
        "training cases": str(model.fingerprint.get("n_cases", "")),
        "images": "pictures" if picture else f"{model.preprocessing.modality} {model.preprocessing.plane}",
        "pixels of the network": "" if picture else f"{spacing} mm",
        "encoder from": model.pretrained,
        "weights": model.weights_sha256,
        "versions": ", ".join(f"{name} {version}" for name, version in model.versions.items()),
    }


def _row(
    case: str, figures: Mapping[str, Mapping[str, float | None]], names: Sequence[str], classes: Sequence[str]
) -> tuple[str, list[str], list[str]]:
    dice = figures.get(MEAN_DICE, {})
    return case, [_text(_mean(figures.get(name, {}))) for name in names], [_text(dice.get(one)) for one in classes]


def _mean_dice(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    return _text(_mean(figures.get(MEAN_DICE, {})))


def _mean(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return sum(known) / len(known) if known else None


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _as_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
