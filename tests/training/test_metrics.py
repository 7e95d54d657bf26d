"""Dice, HD95 and surface Dice equal what is worked out by hand, in mm, with absent classes treated by one rule."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_vggunet.training import (
    LabelDice,
    LabelHausdorff95,
    LabelSurfaceDice,
    MetricsLogHandler,
    class_means,
    dice_metric,
    surface_metrics,
)

SPACING_MM = (1.0, 2.0, 5.0)


def empty(*shape: int) -> torch.Tensor:
    return torch.zeros(1, *shape, dtype=torch.uint8)


def plane(axis: int, position: int, label: int = 1, shape: tuple[int, int, int] = (12, 10, 8)) -> torch.Tensor:
    """A label map `(1, X, Y, Z)` whose class fills one plane of voxels."""
    labels = empty(*shape)
    labels.select(axis + 1, position).fill_(label)
    return labels


def with_spacing(labels: torch.Tensor, spacing_mm: tuple[float, ...] = SPACING_MM) -> MetaTensor:
    return MetaTensor(labels, affine=torch.diag(torch.tensor([*spacing_mm, 1.0], dtype=torch.float64)))


def figures(metric, predicted: torch.Tensor, truth: torch.Tensor) -> list[float]:
    """Per class of one case, given to the metric as a batch of one."""
    return metric(predicted[None], truth[None])[0].tolist()


def test_dice_by_hand():
    truth, predicted = empty(4, 4, 2), empty(4, 4, 2)
    truth[0, :2, 0, 0] = 1  # 2 voxels
    predicted[0, 0, :4, 0] = 1  # 4 voxels, 1 of them shared
    truth[0, 3, :, 1] = predicted[0, 3, :, 1] = 2
    assert figures(LabelDice(3), predicted, truth) == pytest.approx([2 * 1 / (2 + 4), 1.0])


@pytest.mark.parametrize(("axis", "voxels"), [(0, 3), (1, 2), (2, 1)])
def test_hd95_of_shifted_planes_is_their_distance_in_mm(axis, voxels):
    truth, predicted = with_spacing(plane(axis, 2)), plane(axis, 2 + voxels)
    assert figures(LabelHausdorff95(2), predicted, truth) == pytest.approx([voxels * SPACING_MM[axis]])


def test_hd95_without_an_affine_is_in_voxels():
    assert figures(LabelHausdorff95(2), plane(2, 5), plane(2, 2)) == pytest.approx([3.0])


def test_hd95_passes_over_one_voxel_in_twenty_one():
    truth, predicted = empty(30, 3, 3), empty(30, 3, 3)
    truth[0, :20, 1, 1] = predicted[0, :20, 1, 1] = 1
    predicted[0, 25, 1, 1] = 1
    assert figures(LabelHausdorff95(2), predicted, with_spacing(truth)) == [0.0]
    predicted[0, 26, 1, 1] = 1  # two of 22 are more than 5 %: at 0.95 * 21 = 19.95 between the 20th (0) and 21st (6 mm)
    assert figures(LabelHausdorff95(2), predicted, with_spacing(truth)) == pytest.approx([0.95 * 6])


@pytest.mark.parametrize(
    ("spacing_mm", "tolerance_mm", "expected"), [(0.4, 1.0, 1.0), (0.6, 1.0, 0.0), (0.6, 1.2, 1.0), (5.0, 1.0, 0.0)]
)
def test_surface_dice_counts_what_lies_within_the_tolerance(spacing_mm, tolerance_mm, expected):
    truth, predicted = with_spacing(plane(2, 2), (1.0, 1.0, spacing_mm)), plane(2, 4)
    assert figures(LabelSurfaceDice(2, tolerance_mm), predicted, truth) == [expected]


def test_surface_dice_of_a_half_that_fits():
    truth, predicted = plane(2, 2), plane(2, 2)
    predicted[0, :, 5:] = plane(2, 7)[0, :, 5:]
    # rows are 2 mm apart: of the truth's other half, no voxel lies within 1 mm of the half that fits
    assert figures(LabelSurfaceDice(2), predicted, with_spacing(truth)) == [0.5]


@pytest.mark.parametrize(
    ("metric", "worst"),
    [
        (LabelDice(4), 0.0),
        (LabelHausdorff95(4), math.sqrt(12**2 + 20**2 + 40**2)),  # the volume's diagonal in mm
        (LabelSurfaceDice(4), 0.0),
    ],
)
def test_class_absent_in_one_counts_and_in_both_does_not(metric, worst):
    only_truth, only_predicted = figures(metric, plane(0, 1, 2), with_spacing(plane(0, 1, 3)))[1:]
    assert only_truth == only_predicted == pytest.approx(worst)
    assert math.isnan(figures(metric, plane(0, 1, 2), with_spacing(plane(0, 1, 3)))[0])


def test_mean_leaves_absent_classes_out():
    metric = LabelDice(3)
    truth = torch.stack([plane(0, 1, 1), plane(0, 1, 1), plane(0, 1, 2)])
    predicted = torch.stack([plane(0, 1, 1), plane(0, 2, 1), plane(0, 1, 2)])
    metric(predicted, truth)
    nan = math.nan
    np.testing.assert_array_equal(metric.get_buffer().numpy(), [[1, nan], [0, nan], [nan, 1]])
    assert class_means(metric.get_buffer()).tolist() == [0.5, 1.0]
    assert metric.aggregate().item() == 0.75


def test_nothing_to_compare_is_no_figure():
    metric = LabelDice(3)
    metric(empty(4, 4, 2)[None], empty(4, 4, 2)[None])
    assert math.isnan(metric.aggregate())
    assert torch.isnan(class_means(metric.get_buffer())).all()


@pytest.mark.parametrize("metric", [LabelDice(2), LabelHausdorff95(2), LabelSurfaceDice(2)])
@pytest.mark.parametrize("shape", [(6, 5, 1), (1, 6, 5), (1, 1, 6), (1, 1, 1)])
def test_volume_of_one_slice_has_figures(metric, shape):
    labels = empty(*shape)
    labels[0].view(-1)[-1] = 1
    perfect = 0.0 if isinstance(metric, LabelHausdorff95) else 1.0
    assert figures(metric, labels, with_spacing(labels)) == [perfect]


def test_hd95_of_one_slice_is_in_mm_of_its_own_plane():
    truth, predicted = empty(1, 10, 8), empty(1, 10, 8)
    truth[0, 0, 2], predicted[0, 0, 5] = 1, 1
    assert figures(LabelHausdorff95(2), predicted, with_spacing(truth)) == pytest.approx([3 * SPACING_MM[1]])


def test_cases_of_a_batch_keep_their_own_spacing():
    item = {"label": with_spacing(plane(2, 2), (1.0, 1.0, 2.0))}, {"label": with_spacing(plane(2, 2), (1.0, 1.0, 3.0))}
    (batch,) = DataLoader(Dataset(list(item)), batch_size=2)
    predicted = torch.stack([plane(2, 4), plane(2, 4)])
    assert LabelHausdorff95(2)(predicted, batch["label"]).tolist() == [[4.0], [6.0]]


def make_evaluator(cases: list[dict], **arguments) -> SupervisedEvaluator:
    """MONAI's evaluator with a network that returns its input: the "image" is the prediction."""
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(cases), batch_size=1),
        network=nn.Identity(),
        key_val_metric=dice_metric(3),
        additional_metrics=surface_metrics(3, tolerance_mm=2.5),
        **arguments,
    )


def two_cases() -> list[dict]:
    return [
        {"image": with_spacing(plane(2, 2)), "label": with_spacing(plane(2, 2))},
        {
            "image": with_spacing(plane(2, 4), (1.0, 1.0, 1.2)),
            "label": with_spacing(plane(2, 2), (1.0, 1.0, 1.2)),
        },
    ]


def test_evaluator_reports_hd95_in_mm():
    """Ignite unrolls lists and adds a batch dimension: the label's affine must survive that."""
    evaluator = make_evaluator(two_cases())
    evaluator.run()
    details = evaluator.state.metric_details
    nan = math.nan
    np.testing.assert_array_equal(details["val_mean_dice"].numpy(), [[1, nan], [0, nan]])
    np.testing.assert_allclose(details["val_hd95_mm"].numpy(), [[0, nan], [2.4, nan]], rtol=1e-6)
    np.testing.assert_array_equal(details["val_surface_dice"].numpy(), [[1, nan], [1, nan]])
    expected = {"val_mean_dice": 0.5, "val_hd95_mm": 1.2, "val_surface_dice": 1.0}
    assert evaluator.state.metrics == pytest.approx(expected)
    assert evaluator.state.key_metric_name == "val_mean_dice"


def test_second_run_forgets_the_first():
    evaluator = make_evaluator(two_cases())
    evaluator.run()
    evaluator.run()
    assert evaluator.state.metric_details["val_mean_dice"].shape == (2, 2)


def test_figures_are_logged_by_class_name(caplog):
    evaluator = make_evaluator(two_cases(), val_handlers=[MetricsLogHandler(["background", "liver", "spleen"])])
    with caplog.at_level(logging.INFO):
        evaluator.run()
    assert "val_mean_dice 0.5000 (liver 0.500, spleen nan)" in caplog.messages
    assert "val_hd95_mm 1.2000 (liver 1.200, spleen nan)" in caplog.messages


def test_distances_on_pictures_are_logged_in_pixels(caplog):
    handler = MetricsLogHandler(["background", "liver", "spleen"], modality="PICTURE")
    with caplog.at_level(logging.INFO):
        make_evaluator(two_cases(), val_handlers=[handler]).run()
    assert "val_hd95_px 1.2000 (liver 1.200, spleen nan)" in caplog.messages
    assert not [line for line in caplog.messages if "_mm" in line]


def test_other_processes_log_nothing(caplog):
    engine = Engine(lambda engine, batch: None)
    MetricsLogHandler(["background", "liver"]).attach(engine)
    engine.state.rank = 1
    engine.state.metrics["dice"] = 0.5
    engine.state.metric_details = {"dice": torch.tensor([[0.5]])}
    with caplog.at_level(logging.INFO):
        engine.run([0])
    assert "dice" not in caplog.text
