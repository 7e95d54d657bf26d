"""Outlines are filled as another rasterizer fills them."""

from __future__ import annotations

import numpy as np
import pytest
from outlines import COLUMNS, ROWS, circle, filled, inside

from monai_vggunet.dicom.annotations.contours import VERTEX_DECIMALS, fill_contour, in_conflict


@pytest.mark.parametrize("seed", range(20))
def test_any_polygon_is_filled_as_another_rasterizer_fills_it(seed: int) -> None:
    """Stars with many spikes, no vertex on a pixel center."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 80)))
    radius = rng.uniform(2, 16, len(angle))
    star = np.array([17.3, 19.1]) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    star = np.round(star, VERTEX_DECIMALS)
    np.testing.assert_array_equal(filled(star), inside(star))
    np.testing.assert_array_equal(filled(star[::-1]), inside(star))


def test_a_ring_and_two_parts_beside_each_other() -> None:
    outlines = [circle((17.2, 18.1), 12.05), circle((17.2, 18.1), 5.07), circle((4.1, 33.3), 3.03)]
    mask = filled(*outlines)
    np.testing.assert_array_equal(mask, inside(*outlines))
    assert not mask[17, 18]
    assert mask[17, 27]
    assert mask[4, 33]
    assert mask.sum() == pytest.approx(np.pi * (12.05**2 - 5.07**2 + 3.03**2), rel=0.03)
    assert not in_conflict([fill_contour(outline) for outline in outlines])


def test_a_keyhole_is_a_hole() -> None:
    """PS3.3 C.8.8.6.3: one outline that runs inward on a channel without width and back."""
    outer, inner = circle((17.2, 18.1), 12.05), circle((17.2, 18.1), 5.07)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    np.testing.assert_array_equal(filled(keyhole), filled(outer, inner))


def test_of_two_that_share_an_edge_each_pixel_belongs_to_one() -> None:
    """Outlines through pixel centers: lower columns and rows in, upper ones out."""
    left = np.array([[2, 3], [10, 3], [10, 9], [2, 9]])
    right = np.array([[10, 3], [15, 3], [15, 9], [10, 9]])
    expected = np.zeros((COLUMNS, ROWS), dtype=bool)
    expected[2:10, 3:9] = True
    np.testing.assert_array_equal(filled(left), expected)
    assert not (filled(left) & filled(right)).any()
    assert (filled(left) | filled(right)).sum() == 13 * 6
    slanted = [np.array([[2, 3], [14, 3], [14, 15]]), np.array([[2, 3], [14, 15], [2, 15]])]
    assert (filled(slanted[0]).astype(int) + filled(slanted[1])).max() == 1
    assert (filled(slanted[0]) | filled(slanted[1])).sum() == 12 * 12


def test_noise_far_below_a_pixel_decides_nothing() -> None:
    square = np.array([[2.0, 3.0], [10, 3], [10, 9], [2, 9]])
    for seed in range(20):
        noise = np.random.default_rng(seed).uniform(-4e-5, 4e-5, square.shape)
        np.testing.assert_array_equal(filled(square + noise), filled(square))


@pytest.mark.parametrize(
    "outline",
    [[[5, 5]] * 4, [[1, 1], [9, 1], [5, 1]], [[5.2, 5.2], [5.6, 5.2], [5.6, 5.6]]],
    ids=["point", "line", "small"],
)
def test_what_holds_no_center_fills_nothing(outline: list[list[float]]) -> None:
    assert filled(np.array(outline, dtype=float)).sum() == 0


def test_a_contour_that_is_there_twice_counts_once_and_crossing_ones_are_noticed() -> None:
    one, other = circle((12, 18), 6.05), circle((18, 18), 6.05)
    np.testing.assert_array_equal(filled(one, one), filled(one))
    assert in_conflict([fill_contour(one), fill_contour(one)])
    np.testing.assert_array_equal(filled(one, other), inside(one) ^ inside(other))
    assert in_conflict([fill_contour(one), fill_contour(other)])
    assert not in_conflict([fill_contour(one), fill_contour(circle((29, 18), 3.02))])


def test_ten_thousand_pairs_that_meet_are_a_conflict_without_being_compared() -> None:
    patches = [fill_contour(np.array([[0.0, 0], [9, 0], [9, 9 + k % 3], [0, 9 + k // 3]])) for k in range(200)]
    assert in_conflict(patches)
    nested = [fill_contour(circle((17, 17), radius)) for radius in (15, 10, 5)]
    assert not in_conflict(nested)
    assert in_conflict([*nested, fill_contour(circle((27, 17), 5))])
