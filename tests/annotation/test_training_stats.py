"""The bars that clients draw of a training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from monai_vggunet.annotation.training_stats import note_start, training_stats
from monai_vggunet.atomic_files import write_json
from monai_vggunet.training import History

NOTHING = {"epoch": 0, "total_epochs": 1}
HERE = os.getpid()
DAMAGED = ["{", "", "5", "null", '"x"', "[1]", "[[]]", "[{}]", '{"a": 1}', "{}"]
DAMAGED += ['[{"epoch": null, "seconds": "x", "val_mean_dice": true}]', '{"process": 1, "total_epochs": "x"}']
DAMAGED += ['[{"epoch": 1e999, "seconds": -1e999, "mean_dice_after": [1]}]', '[{"epoch": 1' + 400 * "0" + "}]"]


def row(epoch: int, dice: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "seconds": 61.7 * epoch, "val_mean_dice": dice}


def test_before_the_first_training_there_is_nothing(tmp_path: Path) -> None:
    """An empty answer is drawn as a full bar."""
    assert training_stats(tmp_path, tmp_path, None) == {**NOTHING, "total_time": "0:00:00"}
    assert training_stats(tmp_path, tmp_path, HERE) == NOTHING


def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    run = tmp_path / "training"
    write_json(tmp_path / "retrainings.json", [{"mean_dice_before": 0.9}])  # on the labels of then
    note_start(run, 20)
    assert training_stats(tmp_path, run, HERE) == {"epoch": 0, "total_epochs": 20, "best_metric": 0.9}
    History([row(1, 0.61), row(2, None)]).write(run / "history.json")
    assert training_stats(tmp_path, run, HERE) == {"epoch": 2, "total_epochs": 20, "best_metric": 0.61}
    write_json(tmp_path / "retrainings.json", [{"mean_dice_before": 0.5, "mean_dice_after": 0.7}])
    after = training_stats(tmp_path, run, None)
    assert after == {"epoch": 2, "total_epochs": 20, "best_metric": 0.7, "total_time": "0:02:03"}


@pytest.mark.parametrize(("before", "after"), [(0.8, None), (None, 0.8)])
def test_the_model_that_stays_is_judged(tmp_path: Path, before: float | None, after: float | None) -> None:
    """Also where the run was worse, or nothing could be compared before."""
    note_start(tmp_path, 3)
    History([row(3, 0.2)]).write(tmp_path / "history.json")
    write_json(tmp_path / "retrainings.json", [{"mean_dice_before": before, "mean_dice_after": after}])
    assert training_stats(tmp_path, tmp_path, None)["best_metric"] == 0.8


def test_the_run_before_is_not_shown_while_the_next_one_starts(tmp_path: Path) -> None:
    note_start(tmp_path, 5)
    History([row(5, 0.9)]).write(tmp_path / "history.json")
    assert training_stats(tmp_path, tmp_path, HERE + 1) == NOTHING
    note_start(tmp_path, 7)
    assert training_stats(tmp_path, tmp_path, HERE) == {"epoch": 0, "total_epochs": 7}


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["start.json", "history.json", "retrainings.json"])
def test_damaged_files_count_as_missing(tmp_path: Path, name: str, content: str) -> None:
    """Every request to the server asks for these figures: none may fail on them."""
    note_start(tmp_path, 5)
    (tmp_path / name).write_text(content)
    for process in (None, HERE, HERE + 1):
        stats = training_stats(tmp_path, tmp_path, process)
        assert stats["epoch"] == 0
        assert stats["total_epochs"] in (1, 5)
        assert "best_metric" not in stats
        json.dumps(stats, allow_nan=False)
