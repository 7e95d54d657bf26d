from __future__ import annotations

from itertools import permutations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from phantoms import affine_of, write_nifti

from monai_vggunet.data.stack_axis import acquisition_plane, spacing_of, stack_axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_readers_word_comes_first(axis: int) -> None:
    assert stack_axis(np.diag([9.0, 1.0, 1.0, 1.0]), {"slice_axis": axis, "dim_info": 0b110000}) == axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nifti_header_says_the_slice_axis(tmp_path: Path, axis: int) -> None:
    path = write_nifti(tmp_path / "a.nii", np.zeros((4, 4, 4)), np.diag([1.0, 1.0, 5.0, 1.0]), slice_axis=axis)
    assert stack_axis(np.diag([1.0, 1.0, 5.0, 1.0]), dict(nib.load(path).header)) == axis


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_clearly_largest_spacing_marks_the_stack(axis: int) -> None:
    spacing = np.array([0.9, 1.0, 1.0])
    spacing[axis] = 2.5
    assert stack_axis(np.diag([*spacing, 1.0]), {}) == axis


def test_nearly_equal_spacings_leave_the_last_axis() -> None:
    assert stack_axis(np.diag([1.15, 1.0, 1.0, 1.0]), {}) == 2


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_plane_is_that_of_the_slices_in_whatever_order_the_axes_are(plane: str, order: tuple[int, ...]) -> None:
    affine = affine_of(plane, (0.7, 0.8, 4.0))
    affine[:, :3] = affine[:, order]
    assert acquisition_plane(affine, {}) == plane


def test_oblique_slices_belong_to_the_nearest_plane() -> None:
    assert acquisition_plane(affine_of("oblique"), {}) == "axial"


def test_spacing_is_the_length_of_each_column_of_the_affine() -> None:
    np.testing.assert_allclose(spacing_of(affine_of("oblique", (0.6, 0.8, 2.5))), (0.6, 0.8, 2.5))
