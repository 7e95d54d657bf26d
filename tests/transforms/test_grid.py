from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from phantoms import affine_of, meta_tensor, rotation, voxels_in_world

from monai_vggunet.errors import GridMismatchError
from monai_vggunet.transforms import MatchGridd, match_axes

SHAPE = (4, 5, 6)
ORDERS = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def reordered(
    array: np.ndarray, affine: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same voxels at the same places in the world, with axes in another order and direction."""
    affine = affine.copy()
    affine[:, :3] = affine[:, order]
    array = array.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += (array.shape[axis] - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    return np.ascontiguousarray(array), affine


def matched(label: MetaTensor, image: MetaTensor) -> MetaTensor:
    return MatchGridd("label", "image")({"image": image, "label": label})["label"]


@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_every_order_and_direction_of_the_axes_is_matched_back(plane: str) -> None:
    array, affine = np.arange(np.prod(SHAPE)).reshape(SHAPE), affine_of(plane, (0.6, 0.8, 2.5))
    image = meta_tensor(array[None], affine)
    for order, flips in ORDERS:
        turned, turned_affine = reordered(array, affine, order, flips)
        label = matched(meta_tensor(turned[None], turned_affine), image)
        np.testing.assert_array_equal(label.numpy()[0], array, err_msg=f"{order} {flips}")
        assert torch.equal(label.affine, image.affine)


def test_cubic_voxels_are_told_apart_by_direction_alone() -> None:
    array, affine = np.random.default_rng(0).integers(0, 9, (5, 5, 5)), affine_of("oblique", (1.0, 1.0, 1.0))
    turned, turned_affine = reordered(array, affine, (1, 2, 0), (True, False, True))
    label = matched(meta_tensor(turned[None], turned_affine), meta_tensor(array[None], affine))
    np.testing.assert_array_equal(label.numpy()[0], array)


def test_values_stay_at_their_place_in_the_world() -> None:
    affine = affine_of("coronal")
    array = np.zeros(SHAPE)
    array[1, 2, 3], array[0, 4, 5] = 1, 1
    turned, turned_affine = reordered(array, affine, (2, 0, 1), (False, True, True))
    label = matched(meta_tensor(turned[None], turned_affine), meta_tensor(array[None], affine))
    np.testing.assert_allclose(
        voxels_in_world(label.numpy()[0], label.affine.numpy(), 1), voxels_in_world(turned, turned_affine, 1)
    )


def test_permutation_and_flips_are_those_that_carry_the_array_there() -> None:
    affine = affine_of()
    _, turned_affine = reordered(np.zeros(SHAPE), affine, (2, 0, 1), (False, True, False))
    assert match_axes(turned_affine, (6, 4, 5), affine, SHAPE) == ((1, 2, 0), (True, False, False))


def test_rounding_of_an_affine_stored_in_single_precision_is_accepted() -> None:
    affine = affine_of("oblique", (0.6, 0.8, 2.5))
    label = meta_tensor(np.ones((1, *SHAPE)), affine.astype(np.float32).astype(np.float64))
    assert torch.equal(matched(label, meta_tensor(np.ones((1, *SHAPE)), affine)).affine, torch.as_tensor(affine))


def test_sheared_grid_is_matched() -> None:
    affine = affine_of()
    affine[1, 2] += 0.7  # a tilted gantry shifts each slice
    array = np.random.default_rng(0).integers(0, 9, SHAPE)
    turned, turned_affine = reordered(array, affine, (0, 1, 2), (True, False, True))
    label = matched(meta_tensor(turned[None], turned_affine), meta_tensor(array[None], affine))
    np.testing.assert_array_equal(label.numpy()[0], array)


def test_metadata_of_the_label_are_kept() -> None:
    label = matched(meta_tensor(np.ones((1, *SHAPE)), filename_or_obj="l.nii"), meta_tensor(np.ones((1, *SHAPE))))
    assert label.meta["filename_or_obj"] == "l.nii"


def test_shifted_grid_is_refused_with_the_distance() -> None:
    image, affine = meta_tensor(np.ones((1, *SHAPE)), affine_of(), filename_or_obj="i.nii"), affine_of()
    affine[0, 3] += 0.5
    label = meta_tensor(np.ones((1, *SHAPE)), affine, filename_or_obj="l.nii")
    with pytest.raises(GridMismatchError, match=r"label l\.nii does not fit image i\.nii: .* up to 0\.50 mm apart"):
        matched(label, image)


def test_shift_below_the_tolerance_is_accepted_and_above_it_refused() -> None:
    image = meta_tensor(np.ones((1, *SHAPE)), affine_of("axial", (1.0, 2.0, 3.0)))
    for shift_mm, accepted in ((0.04, True), (0.06, False)):  # a twentieth of the smallest spacing is 0.05 mm
        affine = affine_of("axial", (1.0, 2.0, 3.0))
        affine[2, 3] += shift_mm
        label = meta_tensor(np.ones((1, *SHAPE)), affine)
        if accepted:
            assert matched(label, image).shape == image.shape
        else:
            with pytest.raises(GridMismatchError, match=r"corners lie up to 0\.06 mm apart .*allowed: 0\.050 mm"):
                matched(label, image)


def test_other_spacing_is_refused() -> None:
    image = meta_tensor(np.ones((1, *SHAPE)), affine_of("axial", (1.0, 1.0, 3.0)))
    with pytest.raises(GridMismatchError, match=r"corners lie up to 5\.00 mm apart"):  # 5 steps of 1 mm more
        matched(meta_tensor(np.ones((1, *SHAPE)), affine_of("axial", (1.0, 1.0, 2.0))), image)


def test_turned_grid_is_refused() -> None:
    image = meta_tensor(np.ones((1, *SHAPE)), affine_of("axial"))
    with pytest.raises(GridMismatchError, match="axes of label and image point in different directions"):
        matched(meta_tensor(np.ones((1, *SHAPE)), affine_of("oblique")), image)


def test_slightly_turned_grid_is_refused() -> None:
    affine = affine_of("axial")
    affine[:3, :3] = rotation(2.0, 2) @ affine[:3, :3]
    with pytest.raises(GridMismatchError, match=r"corners lie up to 0\.17 mm apart"):  # 5 mm from the origin, 2 degrees
        matched(meta_tensor(np.ones((1, *SHAPE)), affine), meta_tensor(np.ones((1, *SHAPE)), affine_of("axial")))


@pytest.mark.parametrize("shape", [(4, 5, 7), (2, 5, 6)])
def test_other_shape_is_refused(shape: tuple[int, ...]) -> None:
    image = meta_tensor(np.ones((1, *SHAPE)), affine_of())
    with pytest.raises(
        GridMismatchError, match=r"shape \(\d, 5, \d\) against \(4, 5, 6\): the two are not on one grid"
    ):
        matched(meta_tensor(np.ones((1, *shape)), affine_of()), image)


def test_shape_that_fits_only_in_a_wrong_order_is_refused() -> None:
    image = meta_tensor(np.ones((1, *SHAPE)), affine_of())
    with pytest.raises(GridMismatchError, match=r"shape \(6, 5, 4\) against \(4, 5, 6\)"):
        matched(meta_tensor(np.ones((1, 6, 5, 4)), affine_of()), image)
