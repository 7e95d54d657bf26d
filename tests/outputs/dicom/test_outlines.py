"""Outlines: filling them by pixel centers gives the mask back, whatever its holes and pieces."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_vggunet.dicom.annotations.contours import combine_even_odd, fill_contour
from monai_vggunet.outputs.dicom.outlines import outlines


def filled(mask: np.ndarray) -> np.ndarray:
    result = np.zeros_like(mask)
    polygons = outlines(mask)
    if polygons:
        column, row, inside = combine_even_odd([fill_contour(polygon) for polygon in polygons])
        result[column : column + inside.shape[0], row : row + inside.shape[1]] = inside
    return result


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("smooth", [0.0, 1.0, 3.0])
def test_random_masks_come_back(seed: int, smooth: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 31)), smooth)
    mask = noise > np.median(noise)
    np.testing.assert_array_equal(filled(mask), mask)


def test_a_hole_is_joined_to_its_outline_and_an_island_is_a_piece_of_its_own() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18] = True
    mask[5:15, 5:15] = False
    mask[8:12, 8:12] = True  # an island in the hole
    assert len(outlines(mask)) == 2
    np.testing.assert_array_equal(filled(mask), mask)


def test_straight_runs_have_no_points_in_between() -> None:
    mask = np.zeros((50, 50), bool)
    mask[10:40, 5:45] = True
    (polygon,) = outlines(mask)
    assert len(polygon) == 8  # a rectangle with its corners cut, halfway between inside and outside
    assert polygon.min(axis=0).tolist() == [9.5, 4.5]
    assert polygon.max(axis=0).tolist() == [39.5, 44.5]


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((5, 5), bool)) == []
