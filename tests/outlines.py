"""Outlines in pixels, and what lies inside them: by this package, and by matplotlib."""

from __future__ import annotations

import numpy as np
from matplotlib.path import Path as Outline

from monai_vggunet.dicom.annotations.contours import VERTEX_DECIMALS, combine_even_odd, fill_contour

ROWS, COLUMNS, SLICES = 40, 36, 5


def circle(center: tuple[float, float], radius: float, points: int = 60) -> np.ndarray:
    """Return a circle's points in pixels, as (column, row), as exact as contours are kept."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False) + 0.1
    return np.round(np.array(center) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), VERTEX_DECIMALS)


def filled(*outlines: np.ndarray, shape: tuple[int, int] = (COLUMNS, ROWS)) -> np.ndarray:
    """Return what `contours` fills, on a whole slice."""
    column, row, mask = combine_even_odd([fill_contour(outline) for outline in outlines])
    whole = np.zeros(shape, dtype=bool)
    whole[column : column + mask.shape[0], row : row + mask.shape[1]] = mask
    return whole


def inside(*outlines: np.ndarray, shape: tuple[int, int] = (COLUMNS, ROWS)) -> np.ndarray:
    """Return the same by matplotlib's test of points in polygons, and exclusive or."""
    centers = np.argwhere(np.ones(shape))
    return np.logical_xor.reduce([Outline(outline).contains_points(centers) for outline in outlines]).reshape(shape)
