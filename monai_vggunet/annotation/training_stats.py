"""What clients draw of a training: how far it is, and how good the model in use is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai_vggunet.atomic_files import write_json
from monai_vggunet.errors import DatasetError
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import HISTORY, RETRAININGS
from monai_vggunet.training.history import History
from monai_vggunet.training.metrics import MEAN_DICE

__all__ = ["note_start", "training_stats"]

START = "start.json"
LARGEST = 1e9  # epochs or seconds


def note_start(ckpt_dir: str | os.PathLike[str], total_epochs: int) -> None:
    """Write down that a training begins in this process, for `training_stats`; an earlier run's curve is removed."""
    (Path(ckpt_dir) / HISTORY).unlink(missing_ok=True)
    write_json(Path(ckpt_dir) / START, {"process": os.getpid(), "total_epochs": total_epochs})


def training_stats(
    model_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str], process: int | None
) -> dict[str, Any]:
    """Return the entries of MONAI Label's `train_stats` for one model, which 3D Slicer and OHIF show as bars.

    Args:
        model_dir: folder of the model in use, with its `retrainings.json`.
        ckpt_dir: folder of the training run, where `note_start` was called.
        process: number of the process that trains; None while none does.

    Returns:
        `epoch`, `total_epochs`, `best_metric` (mean Dice of the best model on the validation cases, 0 to 1; missing
        where none is known), and `total_time`, "H:MM:SS", while no run goes on. Never empty: clients draw a full bar
        of nothing. What a damaged file lacks counts as missing: figures to look at are no reason to answer nothing.
    """
    start = _read(Path(ckpt_dir) / START, dict) or {}
    rows = _curve(Path(ckpt_dir) / HISTORY)
    if process is not None and start.get("process") != process:  # it has not come to its first line yet
        start, rows = {}, []
    last = rows[-1] if rows else {}
    total_epochs = int(_number(start.get("total_epochs"), 1))
    stats: dict[str, Any] = {"epoch": int(_number(last.get("epoch"), 0)), "total_epochs": max(1, total_epochs)}
    if process is not None and rows:
        known = [row.get(MEAN_DICE) for row in rows]
    else:
        run = (_rows(Path(model_dir) / RETRAININGS) or [{}])[-1]
        known = [run.get("mean_dice_before"), run.get("mean_dice_after")]
    best = max(_number(value, -1.0) for value in known)
    if best >= 0.0:
        stats["best_metric"] = best
    if process is None:
        minutes, seconds = divmod(round(_number(last.get("seconds"), 0)), 60)
        stats["total_time"] = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return stats


def _read(path: Path, kind: type) -> Any:
    """Return a JSON file's content; None where it is missing, damaged or of another kind."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, kind) else None


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for row in _read(path, list) or [] if isinstance(row, dict)]


def _curve(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a training run's curve; none where it is missing or damaged."""
    try:
        return History.read(path).epochs
    except DatasetError:
        return []


def _number(value: Any, default: float) -> float:
    """Return a number of sense, or the default for whatever else stands there."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST  # NaN is not
    return value if fits else default
