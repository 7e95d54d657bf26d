"""What clients draw of a training: how far it is, and how good the model in use is."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from monai_vggunet.files import write_json

__all__ = ["note_start", "training_stats"]

METRIC = "val_mean_dice"
START = "start.json"


def note_start(ckpt_dir: str | os.PathLike[str], total_epochs: int) -> None:
    """Write down that a training begins, for `training_stats`."""
    write_json(Path(ckpt_dir) / START, {"time": time.time(), "total_epochs": total_epochs})


def training_stats(
    model_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str], running: bool
) -> dict[str, Any]:
    """Return the entries of MONAI Label's `train_stats` for one model, which 3D Slicer and OHIF show as bars.

    Args:
        model_dir: folder of the model in use, with its `retrainings.json`.
        ckpt_dir: folder of the training run, where `note_start` was called.
        running: whether the training goes on.

    Returns:
        `epoch`, `total_epochs`, `best_metric` (mean Dice of the best model on the validation cases, 0 to 1; missing
        where none is known), and `total_time`, "H:MM:SS", while no run goes on. Never empty: clients draw a full bar
        of nothing. A damaged file counts as a missing one: figures to look at are no reason to answer nothing.
    """
    start, curve = _read(Path(ckpt_dir) / START), Path(ckpt_dir) / "history.json"
    if not isinstance(start, dict):
        start = {"time": math.inf, "total_epochs": 1}
    fresh = curve.is_file() and curve.stat().st_mtime >= start["time"]  # not the one of the run before
    rows = (_read(curve) or []) if fresh else []
    stats: dict[str, Any] = {"epoch": rows[-1]["epoch"] if rows else 0, "total_epochs": start["total_epochs"]}
    runs = _read(Path(model_dir) / "retrainings.json") or []
    known = [row.get(METRIC) for row in rows] if running else []
    known += [runs[-1].get(key) for key in ("mean_dice_before", "mean_dice_after")] if runs else []
    numbers = [float(value) for value in known if isinstance(value, (int, float)) and math.isfinite(value)]
    if numbers:
        stats["best_metric"] = max(numbers)
    if not running:
        minutes, seconds = divmod(round(rows[-1]["seconds"]) if rows else 0, 60)
        stats["total_time"] = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return stats


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
