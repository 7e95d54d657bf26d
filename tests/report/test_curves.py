"""Curves can be read: with one point or a hundred, one class or twenty, and rates that begin at nothing."""

from __future__ import annotations

import re

import pytest

from monai_vggunet.outputs.class_colors import hex_color
from monai_vggunet.report.pages.curves import BOTTOM, HEIGHT, TOP, Axis, line_chart
from monai_vggunet.report.pages.training import AXES
from monai_vggunet.training.history import LOSS
from monai_vggunet.training.metrics import HD95_MM, MEAN_DICE

LOG = Axis(logarithmic=True)


def texts(chart: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


def legend(chart: str) -> list[tuple[str, str]]:
    """Name and last value of each curve."""
    return re.findall(r'</span>([^<]*) <span class="pale">([^<]*)</span></li>', chart)


def heights(chart: str) -> list[float]:
    """Of the points of the first curve, from the top."""
    points = re.findall(r'<polyline points="([^"]*)" fill="none" stroke=', chart)[0]
    return [float(point.split(",")[1]) for point in points.split()]


def test_curves_leave_out_what_is_no_number() -> None:
    chart = str(line_chart({"a<b": [(1, 0.5), (2, None), (3, float("nan")), (4, 0.75)]}))  # type: ignore[list-item]
    assert chart.count("<circle") == 2
    assert "a&lt;b" in chart
    assert "a<b" not in chart
    assert "No values yet" in line_chart({"a": []})
    assert line_chart({"rate": [(1, 1e-3), (2, 0.0), (3, 1e-5)]}, LOG).count("<circle") == 2
    assert "nan" not in line_chart({"one": [(7, 0.0)]})


@pytest.mark.parametrize("value", [0.0, 0.003, 0.5, 1.0])
def test_a_single_dice_lies_between_nothing_and_perfect(value: float) -> None:
    chart = str(line_chart({"liver": [(1, value)]}, AXES[MEAN_DICE], (1, 1)))
    assert texts(chart) == ["0", "0.2", "0.4", "0.6", "0.8", "1", "1", "epoch"]
    assert legend(chart) == [("liver", f"{value:.3f}")]
    assert chart.count('class="axis"') == 2  # both axes, and the tick of the epoch


@pytest.mark.parametrize("key", [LOSS, HD95_MM])
@pytest.mark.parametrize("value", [0.01, 2.0, 180.0])
def test_a_single_length_or_loss_is_seen_against_zero(key: str, value: float) -> None:
    chart = str(line_chart({"liver": [(1, value)]}, AXES[key], (1, 1)))
    assert texts(chart)[0] == "0"
    assert len(texts(chart)) >= 5


def test_a_dice_beyond_the_axis_is_not_cut_off() -> None:
    low, high = heights(str(line_chart({"odd": [(1, 0.1), (2, 1.3)]}, AXES[MEAN_DICE])))
    assert TOP == high < low < HEIGHT - BOTTOM


def test_a_rate_from_nothing_does_not_flatten_the_others() -> None:
    rates = {"group 1": [(1, 1e-4), (2, 5e-5)], "group 2": [(1, 1e-8), (2, 1e-4)]}
    chart = str(line_chart(rates, LOG))
    assert texts(chart)[:4] == ["1e-7", "1e-6", "1e-5", "1e-4"]
    assert "Values below 1e-7 lie on the lower edge" in chart
    assert legend(chart) == [("group 1", "5e-5"), ("group 2", "1e-4")]


@pytest.mark.parametrize(
    ("rates", "ticks"),
    [
        ([3e-4], ["1e-4", "2e-4", "5e-4", "1e-3"]),
        ([1e-4], ["1e-5", "2e-5", "5e-5", "1e-4"]),
        ([3e-4, 3e-5], ["1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "1e-3"]),
        ([1e-3, 1e-6], ["1e-6", "1e-5", "1e-4", "1e-3"]),
    ],
)
def test_rates_are_read_at_round_numbers(rates: list[float], ticks: list[str]) -> None:
    chart = str(line_chart({"all groups": list(enumerate(rates, start=1))}, LOG))
    assert texts(chart)[: len(ticks)] == ticks
    assert "lower edge" not in chart
    assert all(TOP <= y <= HEIGHT - BOTTOM for y in heights(chart))


def test_charts_of_a_run_share_their_epochs() -> None:
    validated = str(line_chart({"mean": [(5, 0.1), (10, 0.2)]}, AXES[MEAN_DICE], (1, 100)))
    trained = str(line_chart({"loss": [(n, 1.0) for n in range(1, 101)]}, AXES[LOSS], (1, 100)))
    for chart in (validated, trained):
        assert [text for text in texts(chart) if text in ("1", "20", "40", "60", "80", "100")][-6:] == [
            "1", "20", "40", "60", "80", "100"
        ]  # fmt: skip


@pytest.mark.parametrize(("first", "last"), [(1, 2), (1, 3), (1, 7), (1, 13), (1, 99), (1, 1234)])
def test_the_first_and_the_last_epoch_are_named(first: int, last: int) -> None:
    shown = texts(str(line_chart({"a": [(first, 0.0), (last, 1.0)]}, Axis(0, 1))))
    epochs = shown[shown.index("1") + 1 : -1]  # after the top of the vertical axis
    assert (epochs[0], epochs[-1]) == (str(first), str(last))
    assert len(epochs) <= 8


def test_each_of_twenty_classes_is_named_in_full_and_the_mean_stands_out() -> None:
    names = [f"left kidney, upper pole, segment {number}" for number in range(1, 21)]
    curves = {name: [(1, 0.1), (2, 0.01 * number)] for number, name in enumerate(names)}
    chart = str(line_chart(curves, AXES[MEAN_DICE], mean=[(1, 0.1), (2, 0.105)]))
    assert [name for name, _ in legend(chart)] == [*names, "mean"]
    assert legend(chart)[-1] == ("mean", "0.105")
    assert 'stroke="currentColor" stroke-width="3"' in chart
    assert f'stroke="{hex_color(20)}" stroke-width="2"' in chart
    assert "<circle" not in chart
