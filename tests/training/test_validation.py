"""The mean Dice of a validation is the figure that decides."""

from __future__ import annotations

from ignite.engine import Engine

from monai_vggunet.training import mean_dice


def test_the_figure_is_the_validations_mean_dice() -> None:
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics = {"val_mean_dice": 0.75, "val_hd95_mm": 3.0}
    assert mean_dice(engine) == 0.75
