"""The curve on disk: what was written is read, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monai_vggunet.errors import DatasetError
from monai_vggunet.training import History


def entry(epoch: int, **figures: Any) -> dict[str, Any]:
    return {"epoch": epoch, "seconds": 2.5 * epoch, "loss": 0.5, "learning_rates": [1e-4], **figures}


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    curve = History([entry(1), entry(2, val_mean_dice=0.5, val_mean_dice_per_class=[0.5, None])])
    curve.write(tmp_path / "history.json")
    assert History.read(tmp_path / "history.json") == curve
    assert json.loads((tmp_path / "history.json").read_text())["format_version"] == 2


def test_figures_that_are_none_and_losses_of_any_size_read_back(tmp_path: Path) -> None:
    History([entry(1, val_mean_dice=float("nan")), entry(2, val_hd95_mm=3e38)]).write(tmp_path / "history.json")
    assert [list(e.values())[-1] for e in History.read(tmp_path / "history.json").epochs] == [None, 3e38]


def test_a_list_alone_as_it_was_before_versions_is_read(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text(json.dumps([entry(1)]))
    assert History.read(tmp_path / "history.json") == History([entry(1)])


def test_an_epoch_that_is_trained_again_takes_the_place_of_all_from_it_on() -> None:
    before = History([entry(1), entry(2), entry(3)])
    assert before.with_epoch(entry(2, loss=0.1)).epochs == [entry(1), entry(2, loss=0.1)]
    assert len(before.epochs) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it is not JSON"),
        ("3", "it is a number; expected an object"),
        ("{}", "epochs is missing"),
        ('{"epochs": [], "surprise": 1}', "a name in it is unknown"),
        ('{"format_version": 3, "epochs": [], "later": 1}', "format_version is 3; .* a later one wrote this"),
        ('{"format_version": true, "epochs": []}', "format_version is true or false; expected a whole number"),
        ("[5]", "epochs is a list; expected a list of"),
        ('[{"epoch": 1}]', "expected .* with numbers as 'epoch', 'seconds'"),
        ('[{"epoch": "x", "seconds": 1}]', "epochs is"),
        ('[{"epoch": 1, "seconds": null}]', "epochs is"),
        ('[{"epoch": 1, "seconds": 1, "learning_rates": 3}]', "epochs is"),
        ('[{"epoch": 1, "seconds": 1, "val_mean_dice": [1]}]', "epochs is"),
        ('[{"epoch": 1, "seconds": 1, "val_mean_dice_per_class": 1}]', "epochs is"),
    ],
)
def test_a_curve_of_another_kind_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"history\.json is not a curve as training writes it \(.*{message}"):
        History.read(tmp_path / "history.json")


def test_a_missing_curve_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"history\.json is not a curve .*No such file"):
        History.read(tmp_path / "history.json")
