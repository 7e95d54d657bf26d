"""The bars that clients draw of a training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_vggunet.files import write_json
from monai_vggunet.label.training_stats import note_start, training_stats


def row(epoch: int, dice: float | None) -> dict:
    return {"epoch": epoch, "seconds": 61.7 * epoch, "val_mean_dice": dice}


def test_before_the_first_training_there_is_nothing(tmp_path: Path) -> None:
    """An empty answer is drawn as a full bar."""
    nothing = {"epoch": 0, "total_epochs": 1}
    assert training_stats(tmp_path, tmp_path, False) == {**nothing, "total_time": "0:00:00"}
    assert training_stats(tmp_path, tmp_path, True) == nothing


def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    note_start(tmp_path / "training", 20)
    assert training_stats(tmp_path, tmp_path / "training", True) == {"epoch": 0, "total_epochs": 20}
    write_json(tmp_path / "training" / "history.json", [row(1, 0.61), row(2, None)])
    during = training_stats(tmp_path, tmp_path / "training", True)
    assert during == {"epoch": 2, "total_epochs": 20, "best_metric": 0.61}
    write_json(tmp_path / "retrainings.json", [{"mean_dice_before": 0.5, "mean_dice_after": 0.7}])
    after = training_stats(tmp_path, tmp_path / "training", False)
    assert after == {"epoch": 2, "total_epochs": 20, "best_metric": 0.7, "total_time": "0:02:03"}


@pytest.mark.parametrize(("before", "after"), [(0.8, None), (None, 0.8)])
def test_the_model_that_stays_is_judged(tmp_path: Path, before: float | None, after: float | None) -> None:
    """Also where the run was worse, or nothing could be compared before."""
    note_start(tmp_path, 3)
    write_json(tmp_path / "history.json", [row(3, 0.2)])
    write_json(tmp_path / "retrainings.json", [{"mean_dice_before": before, "mean_dice_after": after}])
    assert training_stats(tmp_path, tmp_path, False)["best_metric"] == 0.8


def test_the_curve_of_the_run_before_is_not_shown(tmp_path: Path) -> None:
    write_json(tmp_path / "history.json", [row(9, 0.9)])
    os.utime(tmp_path / "history.json", (1, 1))
    note_start(tmp_path, 5)
    assert training_stats(tmp_path, tmp_path, True) == {"epoch": 0, "total_epochs": 5}


def test_damaged_files_count_as_missing(tmp_path: Path) -> None:
    note_start(tmp_path, 5)
    for name in ("history.json", "retrainings.json"):
        (tmp_path / name).write_text("{")
    assert training_stats(tmp_path, tmp_path, True) == {"epoch": 0, "total_epochs": 5}
    (tmp_path / "start.json").write_text("{")
    assert training_stats(tmp_path, tmp_path, True) == {"epoch": 0, "total_epochs": 1}
