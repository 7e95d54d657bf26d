"""Contours -> pixels: whose centers lie inside, by the even-odd rule, as one scanline pass in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Patch", "combine_even_odd", "fill_contour", "in_conflict"]

# Vertices are rounded to a ten-thousandth of a pixel: a contour drawn through pixel centers, as many tools write it,
# must not be decided by the noise of an inverted affine. Crossings need to shed only the noise of their own division.
VERTEX_DECIMALS = 4
CROSSING_DECIMALS = 6
_MOST_MEETING = 10_000  # pairs of contours in one slice whose boxes overlap

# Column and row of the first pixel, and a mask (columns, rows), bool.
Patch = tuple[int, int, np.ndarray]


def fill_contour(points: np.ndarray) -> Patch:
    """Return the pixels whose centers lie inside a closed polygon; self-touching ones (keyholes) by even-odd.

    A center exactly on the outline belongs to the polygon where the inside lies toward growing column (for a vertical
    outline) or growing row (for a horizontal one): of two polygons that share an edge exactly one gets it.

    Args:
        points: (N, 2), column and row of the vertices; pixel centers are at whole numbers. Its last vertex is joined
            to the first.

    Returns:
        The mask over the polygon's bounding box, and where that begins.

    Example:
        >>> column, row, mask = fill_contour(np.array([[0, 0], [2, 0], [2, 1], [0, 1]]))
        >>> column, row, mask.tolist()
        (0, 0, [[True], [True]])
    """
    start = np.round(np.asarray(points, dtype=np.float64), VERTEX_DECIMALS)
    end = np.roll(start, -1, axis=0)
    first = np.ceil(start.min(axis=0)).astype(np.int64)
    columns, rows = np.ceil(start.max(axis=0)).astype(np.int64) - first
    if columns <= 0 or rows <= 0:
        return int(first[0]), int(first[1]), np.zeros((0, 0), dtype=bool)
    # An edge crosses the rows from its lower end (included) to its upper end (excluded); a level edge crosses none.
    low = np.ceil(np.minimum(start[:, 1], end[:, 1])).astype(np.int64)
    counts = np.ceil(np.maximum(start[:, 1], end[:, 1])).astype(np.int64) - low
    edge = np.repeat(np.arange(len(start)), counts)
    row = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    (u, v), (du, dv) = start[edge].T, (end - start)[edge].T
    crossing = np.ceil(np.round(u + (row - v) * du / dv, CROSSING_DECIMALS)).astype(
        np.int64
    )  # first column inside or beyond
    flat = (row - first[1]) * (columns + 1) + crossing - first[0]
    crossings = np.bincount(flat, minlength=rows * (columns + 1)).astype(np.uint8).reshape(rows, columns + 1)
    inside = np.bitwise_xor.accumulate(crossings & 1, axis=1)[:, :columns].astype(bool).T  # as slices lie in memory
    return int(first[0]), int(first[1]), inside


def combine_even_odd(patches: Sequence[Patch]) -> Patch:
    """Return the pixels that lie inside an odd number of contours: an inner contour is a hole, one beside is a part.

    A contour that is there twice counts once: otherwise it would cancel itself out.

    Args:
        patches: at least one, each from `fill_contour`.
    """
    if len(patches) == 1:
        return patches[0]
    patches = _different(patches)
    low = np.min([patch[:2] for patch in patches], axis=0)
    high = np.max([np.add(patch[:2], patch[2].shape) for patch in patches], axis=0)
    mask = np.zeros(high - low, dtype=bool)
    for column, row, part in patches:
        mask[_box(np.array([column, row]) - low, part.shape)] ^= part
    return int(low[0]), int(low[1]), mask


def in_conflict(patches: Sequence[Patch]) -> bool:
    """Whether a contour is there twice, or two cover pixels in common and neither lies within the other.

    Even-odd is then a guess at what was meant: the overlap of crossing contours counts as outside. More than ten
    thousand pairs with overlapping boxes cannot have been drawn one within the other, and are not compared.

    Args:
        patches: each from `fill_contour`.
    """
    if len(patches) < 2:
        return False
    if len(_different(patches)) < len(patches):
        return True
    areas = [np.count_nonzero(mask) for _, _, mask in patches]
    low = np.array([patch[:2] for patch in patches])
    high = low + [patch[2].shape for patch in patches]
    meet = (low[:, None] < high).all(axis=2) & (low < high[:, None]).all(axis=2)
    pairs = np.argwhere(np.triu(meet, 1))
    if len(pairs) > _MOST_MEETING:
        return True
    for first, second in pairs:
        start = np.maximum(low[first], low[second])
        size = np.minimum(high[first], high[second]) - start
        parts = [patches[one][2][_box(start - low[one], size)] for one in (first, second)]
        common = np.count_nonzero(parts[0] & parts[1])
        if 0 < common < min(areas[first], areas[second]):
            return True
    return False


def _different(patches: Sequence[Patch]) -> list[Patch]:
    return list(
        {(column, row, mask.shape, mask.tobytes()): (column, row, mask) for column, row, mask in patches}.values()
    )


def _box(start: np.ndarray, size: Sequence[int] | np.ndarray) -> tuple[slice, slice]:
    return slice(start[0], start[0] + size[0]), slice(start[1], start[1] + size[1])
