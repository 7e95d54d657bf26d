"""Curves over epochs as SVG inside a page, without a library or a script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from monai_vggunet.outputs.class_colors import hex_color

__all__ = ["Axis", "line_chart"]

WIDTH, HEIGHT = 560, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 14, 42
N_TICKS = 5
MARKED = 40  # a curve of at most so many points shows each of them
MOST_MARKED = 5  # with more curves their points would hide each other
DECADES = 3  # of a logarithmic axis: a rate that warms up from nothing, or fades away, must not flatten the others
WHOLE = 1e-9  # a logarithm that is no farther from a whole number is one
ROOM = 0.06  # of the range, beyond the outermost values

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """What the vertical axis shows.

    Attributes:
        low, high: ends that it reaches at least; None leaves them to the values.
        logarithmic: over powers of ten, `DECADES` of them at most; lower values lie on the lower edge, as a note says.
    """

    low: float | None = None
    high: float | None = None
    logarithmic: bool = False


def line_chart(
    curves: Mapping[str, Points],
    axis: Axis = Axis(),
    epochs: tuple[int, int] | None = None,
    first_color: int = 1,
    mean: Points = (),
) -> Markup:
    """Return an SVG element with one line per curve, and a legend with the last value of each.

    Args:
        curves: points (epoch, value) by name; values that are not finite are left out.
        axis: the vertical one; values that are not above 0 are left out of a logarithmic one.
        epochs: the first and the last on the horizontal axis, so that several charts can be compared; None for those of
            the points.
        first_color: number of the first curve's color, see `class_color`.
        mean: of the curves, drawn above them in the color of the text.
    """
    kept = {name: _drawable(points, axis) for name, points in curves.items()}
    lines = [_Line(name, points, hex_color(n)) for n, (name, points) in enumerate(kept.items(), first_color) if points]
    if average := _drawable(mean, axis):
        lines.append(_Line("mean", average, "currentColor", width=3))
    if not lines:
        return Markup("<p class='pale'>No values yet.</p>")
    xs = [x for line in lines for x, _ in line.points]
    low, high, cut = _range([y for line in lines for _, y in line.points], axis)
    first, last = epochs or (round(min(xs)), round(max(xs)))
    frame = _Frame(first - 0.5 * (first == last), last + 0.5 * (first == last), low, high)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img">', *_grid(frame, axis, first, last)]
    marked = len(lines) <= MOST_MARKED
    for line in lines:
        parts += line.drawn(frame, marked or len(line.points) == 1)
    legend = "".join(
        f'<li><span class="swatch" style="background:{line.color}"></span>{escape(line.name)} '
        f'<span class="pale">{_shown(line.points[-1][1], axis)}</span></li>'
        for line in lines
    )
    note = f"<p class='small pale'>Values below {_shown(low, axis)} lie on the lower edge.</p>" if cut else ""
    return Markup("".join([*parts, f'</svg><ul class="legend">{legend}</ul>{note}']))


@dataclass(frozen=True)
class _Frame:
    """The part of the plane that is shown."""

    first: float
    last: float
    low: float
    high: float

    def across(self, x: float) -> float:
        return LEFT + (x - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        y = min(max(y, self.low), self.high)
        return HEIGHT - BOTTOM - (y - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


@dataclass(frozen=True)
class _Line:
    name: str
    points: list[tuple[float, float]]
    color: str
    width: float = 2

    def drawn(self, frame: _Frame, marked: bool) -> list[str]:
        places = [(frame.across(x), frame.down(y)) for x, y in self.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dots = places if marked and len(places) <= MARKED else ()
        return [
            f'<polyline points="{path}" fill="none" stroke="{self.color}" stroke-width="{self.width}">'
            f"<title>{escape(self.name)}</title></polyline>",
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{self.width + 1.5}" fill="{self.color}"/>' for x, y in dots),
        ]


def _grid(frame: _Frame, axis: Axis, first: int, last: int) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in _decade_ticks(frame.low, frame.high) if axis.logarithmic else _ticks(frame.low, frame.high):
        y, shown = frame.down(tick), _shown(tick, axis) if axis.logarithmic else f"{tick:.4g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    parts.append(f'<polyline class="axis" fill="none" points="{LEFT},{TOP} {LEFT},{bottom} {right},{bottom}"/>')
    for tick in _epoch_ticks(first, last):
        x = frame.across(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    return parts


def _shown(value: float, axis: Axis) -> str:
    if not axis.logarithmic:
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
    mantissa, _, exponent = f"{10**value:.1e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _drawable(points: Points, axis: Axis) -> list[tuple[float, float]]:
    kept = [(float(x), float(y)) for x, y in points if y is not None and math.isfinite(y)]
    return [(x, math.log10(y)) for x, y in kept if y > 0] if axis.logarithmic else kept


def _range(values: Sequence[float], axis: Axis) -> tuple[float, float, bool]:
    """Return the lower and the upper end of the axis, and whether values lie below the lower one."""
    low, high = min(values), max(values)
    if axis.logarithmic:
        edge = math.ceil(high - WHOLE)
        least = min(max(math.floor(low + WHOLE), edge - DECADES), edge - 1)
        return least, edge, low < least - WHOLE
    low = low if axis.low is None else min(low, axis.low)
    room = ROOM * (high - low) or max(0.1 * abs(high), 1e-3)
    top = high + room if axis.high is None else max(high, axis.high)
    return low if low == axis.low else low - room, top if top > low else low + room, False


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers within the range, about `N_TICKS` of them."""
    raw = (high - low) / N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _decade_ticks(low: float, high: float) -> list[float]:
    """Return the powers of ten within the range, and the numbers 2 and 5 between them if they are few."""
    parts = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [whole + math.log10(part) for whole in range(math.floor(low), math.floor(high) + 1) for part in parts]
    return [tick for tick in ticks if low <= tick <= high]


def _epoch_ticks(first: int, last: int) -> list[int]:
    """Return the first and the last epoch, and round ones between them."""
    between = {round(tick) for tick in _ticks(first, last)} if last > first else set()
    margin = (last - first) / (2 * N_TICKS)
    return sorted({first, last, *(tick for tick in between if first + margin <= tick <= last - margin)})
