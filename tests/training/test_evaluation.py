"""The figures of judged cases on disk: what was written is read, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_vggunet.errors import DatasetError
from monai_vggunet.training import Evaluation

DICE = {"liver": 0.5, "spleen": None}
FIGURES = Evaluation(1, {"val_mean_dice": 0.5}, {"val_mean_dice": DICE}, {"case-1": {"val_mean_dice": DICE}})


def content_of(path: Path) -> dict[str, Any]:
    FIGURES.write(path)
    return json.loads(path.read_text())


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    assert content_of(tmp_path / "metrics.json")["format_version"] == 2
    assert Evaluation.read(tmp_path / "metrics.json") == FIGURES


def test_a_file_from_before_versions_is_read(tmp_path: Path) -> None:
    content = content_of(tmp_path / "metrics.json")
    for later in ("format_version", "trained", "all_trained_known"):
        del content[later]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert Evaluation.read(tmp_path / "metrics.json") == FIGURES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3, "later": 1}, "format_version is 3; .* a later one wrote this"),
        ({"n_cases": -1}, "n_cases is"),
        ({"mean": {"val_mean_dice": "high"}}, "mean is an object; expected"),
        ({"per_class": {"val_mean_dice": 1}}, "per_class is"),
        ({"per_case": {"worst": 5}}, "per_case is an object; expected"),
        ({"surprise": 1}, "a name in it is unknown"),
    ],
)
def test_figures_of_another_kind_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = content_of(tmp_path / "metrics.json") | change
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=rf"metrics\.json is not as an evaluation writes it \({message}"):
        Evaluation.read(tmp_path / "metrics.json")
