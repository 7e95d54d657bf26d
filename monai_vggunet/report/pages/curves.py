"""Curves over epochs as SVG inside a page, without a library or a script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from monai_vggunet.outputs.class_colors import hex_color

__all__ = ["line_chart"]

WIDTH, HEIGHT = 560, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 14, 30
N_TICKS = 5
LEGEND_ENTRY_PX, LEGEND_LINE_PX, MOST_LETTERS = 130, 18, 16
MARKED = 40  # a curve of at most so many points shows each of them

Points = Sequence[tuple[float, float]]


def line_chart(curves: Mapping[str, Points], logarithmic: bool = False, first_color: int = 1) -> Markup:
    """Return an SVG element with one line per curve and a legend.

    Args:
        curves: points (epoch, value) by name; values that are not finite are left out.
        logarithmic: use a logarithmic scale; values that are not above 0 are then left out.
        first_color: number of the first curve's color, see `class_color`.
    """
    kept = {name: _drawable(points, logarithmic) for name, points in curves.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return Markup("<p class='pale'>No values yet.</p>")
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    low, high = _widened(min(ys), max(ys))
    per_line = (WIDTH - LEFT) // LEGEND_ENTRY_PX
    height = HEIGHT + LEGEND_LINE_PX * -(-len(kept) // per_line)
    first, last = (min(xs), max(xs)) if max(xs) > min(xs) else (xs[0] - 0.5, xs[0] + 0.5)

    def across(x: float) -> float:
        return LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img">']
    for tick in _ticks(low, high):
        shown = f"{10**tick:.1e}" if logarithmic else f"{tick:.4g}"
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{down(tick) + 4:.1f}" text-anchor="end">{shown}</text>')
    for tick in sorted({round(t) for t in _ticks(first, last) if t == round(t)}):
        parts.append(f'<text x="{across(tick):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{tick}</text>')
    for number, (name, points) in enumerate(kept.items()):
        color = hex_color(first_color + number)
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        if len(points) <= MARKED:
            parts += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{color}"/>' for x, y in points]
        left = LEFT + number % per_line * LEGEND_ENTRY_PX
        top = HEIGHT + 12 + number // per_line * LEGEND_LINE_PX
        parts.append(f'<rect x="{left}" y="{top - 9}" width="10" height="10" rx="2" fill="{color}"/>')
        short = name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
        parts.append(f'<text x="{left + 15}" y="{top}">{escape(short)}<title>{escape(name)}</title></text>')
    return Markup("".join([*parts, "</svg>"]))


def _drawable(points: Points, logarithmic: bool) -> list[tuple[float, float]]:
    kept = [(float(x), float(y)) for x, y in points if y is not None and math.isfinite(y)]
    return [(x, math.log10(y)) for x, y in kept if y > 0] if logarithmic else kept


def _widened(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or max(0.1 * abs(high), 1e-3)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers within the range, about `N_TICKS` of them."""
    raw = (high - low) / N_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
