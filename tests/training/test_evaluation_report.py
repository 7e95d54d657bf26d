"""An evaluation ends in a table for the eye and in `metrics.json` for programs."""

from __future__ import annotations

import errno
import json
import math

import pytest
import torch
from ignite.engine import Engine

from monai_vggunet.errors import OutputWriteError
from monai_vggunet.privacy import NAMES, shown_case
from monai_vggunet.training import EvaluationReportHandler

CLASSES = ["background", "liver", "spleen", "kidney"]
DICE = [[1.0, 0.5, math.nan], [0.5, 0.25, math.nan]]


def run_evaluation(folder, cases=("case_1", "case_2"), modality="CT") -> None:
    """An evaluator that is done with two cases; the kidney is in neither."""

    def compare(engine, batch):
        engine.state.metrics = {"val_mean_dice": 0.5625, "val_hd95_mm": 3.0}
        engine.state.metric_details = {
            "val_mean_dice": torch.tensor(DICE),
            "val_hd95_mm": torch.tensor([[0.0, 4.0, math.nan], [2.0, 6.0, math.nan]]),
        }

    engine = Engine(compare)
    EvaluationReportHandler(CLASSES, cases, folder, cases[1:], True, modality).attach(engine)
    engine.run([0])


def test_figures_are_written_per_class_and_case(tmp_path):
    run_evaluation(tmp_path / "eval")
    content = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert content == {
        "format_version": 2,
        "n_cases": 2,
        "mean": {"val_mean_dice": 0.5625, "val_hd95_mm": 3.0},
        "per_class": {
            "val_mean_dice": {"liver": 0.75, "spleen": 0.375, "kidney": None},
            "val_hd95_mm": {"liver": 1.0, "spleen": 5.0, "kidney": None},
        },
        "per_case": {
            shown_case("case_1"): {
                "val_mean_dice": {"liver": 1.0, "spleen": 0.5, "kidney": None},
                "val_hd95_mm": {"liver": 0.0, "spleen": 4.0, "kidney": None},
            },
            shown_case("case_2"): {
                "val_mean_dice": {"liver": 0.5, "spleen": 0.25, "kidney": None},
                "val_hd95_mm": {"liver": 2.0, "spleen": 6.0, "kidney": None},
            },
        },
        "trained": [shown_case("case_2")],
        "all_trained_known": True,
    }


def test_file_is_strict_json(tmp_path):
    """NaN is no JSON: a browser or jq would refuse the file."""
    run_evaluation(tmp_path)
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    assert text.endswith("}\n")


def test_table_shows_every_class_and_the_mean(tmp_path, capsys):
    run_evaluation(tmp_path)
    rows = [line.replace("│", " ").replace("┃", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "cases,", "mean", "over", "cases"] in rows
    assert ["class", "mean_dice", "hd95_mm"] in rows
    assert ["liver", "0.750", "1.000"] in rows
    assert ["spleen", "0.375", "5.000"] in rows
    assert ["kidney", "nan", "nan"] in rows
    assert ["mean", "0.562", "3.000"] in rows
    told = "the model is trained on 1 of the 2 judged cases, or on their patients: the figures may flatter"
    assert rows[-1] == told.split()


def test_distances_on_pictures_are_shown_in_pixels(tmp_path, capsys):
    run_evaluation(tmp_path, modality="PICTURE")
    printed = capsys.readouterr().out
    assert "hd95_px" in printed
    assert "_mm" not in printed
    assert "val_hd95_mm" in json.loads((tmp_path / "metrics.json").read_text())["mean"]  # one name for programs


def test_pseudonyms_can_be_looked_up_even_if_the_evaluation_fails(tmp_path):
    def fail(engine, batch):
        raise OSError(errno.ENOSPC, f"no space left while {shown_case('case_1')} was evaluated")

    engine = Engine(fail)
    EvaluationReportHandler(CLASSES, ["case_1", "case_2"], tmp_path / "eval").attach(engine)
    with pytest.raises(OSError, match="no space left while case-"):
        engine.run([0])
    names = json.loads((tmp_path / "eval" / NAMES).read_text())["names"]
    assert {text: entry["name"] for text, entry in names.items()} == {
        shown_case("case_1"): "case_1",
        shown_case("case_2"): "case_2",
    }


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "eval").write_text("a file where the folder should be")
    with pytest.raises(OutputWriteError, match=r"cannot write .*eval/metrics\.json"):
        run_evaluation(tmp_path / "eval")
