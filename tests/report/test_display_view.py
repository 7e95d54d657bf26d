"""Slices as on a light box: the patient's right at the left, true proportions, whatever the grid."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import affine_of, label_array

from monai_vggunet.errors import GridMismatchError
from monai_vggunet.outputs.class_colors import class_color, hex_color
from monai_vggunet.report.pages.display_view import SOFT_TISSUE_HU, display_view, outline, paint

# The world direction (RAS) of a picture's columns and rows, by radiological convention.
SCREEN = {"axial": ((-1, 0, 0), (0, -1, 0)), "coronal": ((-1, 0, 0), (0, 0, -1)), "sagittal": ((0, -1, 0), (0, 0, -1))}


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "oblique"])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_every_voxel_is_drawn_where_the_convention_says(plane: str, flips: tuple[int, int, int]) -> None:
    labels = label_array()
    affine = affine_of(plane, (0.7, 0.9, 3.0)) @ np.diag([*flips, 1.0])
    view = display_view(labels, affine)
    assert view.plane == ("axial" if plane == "oblique" else plane)
    across, down = SCREEN[view.plane]
    for number in (1, 2):
        world = np.argwhere(labels == number) @ affine[:3, :3].T + affine[:3, 3]
        seen = np.argwhere(view.labels == number) @ view.affine[:3, :3].T + view.affine[:3, 3]
        np.testing.assert_allclose(np.sort(world, 0), np.sort(seen, 0), atol=1e-9)
    others = [k for k in range(3) if k != view.axis]
    assert view.affine[others[0], others[0]] > 0
    ramp = np.zeros(view.labels.shape)
    for axis, direction in zip(others, (across, down)):
        ramp[:] = np.arange(view.labels.shape[axis]).reshape([-1 if k == axis else 1 for k in range(3)])
        picture = view.oriented(ramp, 0)
        grows = np.diff(picture, axis=1 if axis == others[0] else 0)
        assert (np.sign(grows) == direction[axis]).all()


def test_proportions_are_those_of_the_patient() -> None:
    view = display_view(np.zeros((20, 10, 6), np.uint8), affine_of("axial", (1.0, 4.0, 5.0)))
    assert view.size_px(200) == (200, 400)


@pytest.mark.parametrize(
    ("shape", "plane"), [((20, 16, 1), "axial"), ((20, 1, 16), "coronal"), ((1, 20, 16), "sagittal")]
)
def test_one_slice_is_shown_in_its_own_plane(shape: tuple[int, ...], plane: str) -> None:
    view = display_view(np.zeros(shape, np.uint8), np.diag([-1.0, -1.0, 0.5, 1.0]))
    assert view.plane == plane


def test_a_picture_stays_upright() -> None:
    image = np.zeros((3, 6, 4, 1), np.float32)
    image[0, 0, 0] = 255  # red in the corner: column 0, row 0
    labels = np.zeros((6, 4), np.uint8)
    labels[5, 0] = 1  # the last column of the first row
    view = display_view(labels, np.eye(4), image)
    assert view.is_picture
    assert view.gray(0).shape == (4, 6, 3)
    assert tuple(view.gray(0)[0, 0]) == (255, 0, 0)
    assert view.classes(0)[0, 5] == 1


def test_windows_follow_the_modality() -> None:
    labels = label_array()
    image = np.random.default_rng(0).normal(500, 100, (1, *labels.shape)).astype(np.float32)
    assert display_view(labels, np.eye(4), image, modality="CT").window == SOFT_TISSUE_HU
    low, high = display_view(labels, np.eye(4), image, modality="MR").window
    assert 150 < low < 400 < 600 < high < 850
    low, high = display_view(labels, np.eye(4), np.full((1, *labels.shape), 7.0), modality="MR").window
    assert low < 7 < high


@pytest.mark.parametrize(
    ("shape", "shift_mm"), [((1, 20, 16, 5), 0.0), ((2, 20, 16, 6), 0.0), ((20, 16, 6), 0.0), ((1, 20, 16, 6), 0.5)]
)
def test_an_image_of_another_grid_is_refused(shape: tuple[int, ...], shift_mm: float) -> None:
    affine = affine_of("oblique")
    moved = affine.copy()
    moved[0, 3] += shift_mm
    with pytest.raises(GridMismatchError, match="does not lie on the mask's grid"):
        display_view(label_array(), affine, np.zeros(shape, np.float32), moved)


def test_classes_are_painted_in_their_colors_with_opaque_borders() -> None:
    classes = np.zeros((9, 9), np.uint8)
    classes[1:6, 1:6] = 2
    shown = paint(np.full((9, 9, 3), 100, np.uint8), classes, opacity=0.5)
    assert tuple(shown[1, 1]) == class_color(2)
    assert tuple(shown[3, 3]) == tuple((100 + c) // 2 for c in class_color(2))
    assert tuple(shown[8, 8]) == (100, 100, 100)
    assert outline(classes).sum() == 16


def test_colors_differ_for_every_class() -> None:
    assert len({class_color(number) for number in range(1, 256)}) == 255
    assert hex_color(1) == "#e69f00"
