"""Closed polygons around the pixels of a slice's mask, halfway to the pixels outside, with holes joined by keyholes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from contourpy import FillType, contour_generator
from scipy.spatial import cKDTree

__all__ = ["outlines"]

# Between a pixel center inside (1) and one outside (0): filling the polygon by pixel centers gives the mask back.
HALFWAY = 0.5
ABOVE_ALL = 2.0  # the filled region is everything from halfway up


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """Return one polygon per piece of a mask, its holes connected to its outline by cuts of no width.

    Pixel centers are at whole numbers, as in `dicom.contours.fill_contour`, which fills each polygon back to exactly
    the mask's pixels (even-odd; a cut is walked twice and cancels out).

    Args:
        inside: `(columns, rows)`, bool.

    Returns:
        Polygons `(N, 2)`, column and row, not closed by a repeated point.

    Example:
        >>> sorted(outlines(np.ones((1, 1), dtype=bool))[0].tolist())
        [[-0.5, 0.0], [0.0, -0.5], [0.0, 0.5], [0.5, 0.0]]
    """
    columns, rows = np.nonzero(inside)
    if not len(columns):
        return []
    start = np.array([columns.min(), rows.min()]) - 1
    size = np.array([columns.max(), rows.max()]) - start + 2  # one pixel of outside on each side
    heights = np.zeros((size[1], size[0]))
    heights[rows - start[1], columns - start[0]] = 1.0
    found = contour_generator(z=heights, fill_type=FillType.OuterOffset).filled(HALFWAY, ABOVE_ALL)
    polygons = []
    for points, offsets in zip(*found):
        rings = [_open(points[a:b]) for a, b in pairwise(offsets)]
        polygons.append(_straightened(_keyholed(rings)) + start)
    return polygons


def _open(ring: np.ndarray) -> np.ndarray:
    """Drop the last point, which repeats the first, and points that occur twice in a row."""
    ring = ring[:-1]
    return ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]


def _keyholed(rings: list[np.ndarray]) -> np.ndarray:
    """Join the holes (all but the first ring) to the outline, nearest first, each by a cut walked there and back."""
    outline, holes = rings[0], rings[1:]
    while holes:
        tree = cKDTree(outline)
        nearest = [tree.query(hole) for hole in holes]
        chosen = min(range(len(holes)), key=lambda number: nearest[number][0].min())
        distances, indices = nearest[chosen]
        at_hole = int(distances.argmin())
        at_outline = int(indices[at_hole])
        hole = np.roll(holes.pop(chosen), -at_hole, axis=0)
        outline = np.concatenate([outline[: at_outline + 1], hole, hole[:1], outline[at_outline:]])
    return outline


def _straightened(ring: np.ndarray) -> np.ndarray:
    """Drop points in the middle of a straight run, but keep those where the line turns back, at a cut."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    ahead = (before * after).sum(axis=1) > 0
    kept = ring[~((np.abs(turn) < 1e-9) & ahead)]
    return kept if len(kept) >= 3 else ring
