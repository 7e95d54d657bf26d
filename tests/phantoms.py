"""Small NIfTI phantoms and the affines of every plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

ORIGIN_MM = (-31.0, 12.5, 7.25)

# World axis (R, A, S) and sense of each array axis; slices are stacked along the third.
DIRECTIONS = {
    "axial": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    "coronal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def affine_of(plane: str = "axial", spacing_mm: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> np.ndarray:
    """Return a RAS affine whose slices, along the third array axis, lie in a plane; `oblique` is turned twice."""
    directions = np.array(DIRECTIONS.get(plane, DIRECTIONS["axial"]), dtype=float).T
    if plane == "oblique":
        directions = rotation(25.0, 2) @ rotation(-20.0, 0) @ directions
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing_mm)
    affine[:3, 3] = ORIGIN_MM
    return affine


def rotation(degrees: float, axis: int) -> np.ndarray:
    """Return the rotation about one world axis."""
    a, others = np.radians(degrees), [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[np.ix_(others, others)] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return matrix


def label_array(shape: tuple[int, ...] = (20, 16, 6)) -> np.ndarray:
    """Return a label with two blocks, not symmetric in any axis: class 1 in half of the slices, class 2 in one."""
    label = np.zeros(shape, dtype=np.uint8)
    label[2:9, 3:8, : max(1, shape[2] // 2)] = 1
    label[12:15, 5:13, -1] = 2
    return label


def ct_array(label: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a CT in HU: air, a body of 40 HU, organs of 80 and 120 HU, noise."""
    image = np.full(label.shape, -1000.0)
    image[1:-1, 1:-1] = 40.0
    image[label == 1], image[label == 2] = 80.0, 120.0
    return np.round(image + np.random.default_rng(seed).normal(0, 5, label.shape)).astype(np.int16)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, slice_axis: int | None = None) -> Path:
    """Write a NIfTI file, its folder made when missing; `slice_axis` is stated in the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    if slice_axis is not None:
        image.header.set_dim_info(slice=slice_axis)
    nib.save(image, path)
    return path


def write_case(root: Path, name: str, plane: str = "axial", seed: int = 0, **options: Any) -> dict[str, str]:
    """Write `images/NAME.nii.gz` and `labels/NAME.nii.gz`, a small CT with two organs, and return the case."""
    label = label_array(options.get("shape", (20, 16, 6)))
    affine = affine_of(plane, options.get("spacing_mm", (1.0, 1.0, 3.0)))
    image = write_nifti(root / "images" / f"{name}.nii.gz", ct_array(label, seed), affine)
    labels = write_nifti(root / "labels" / f"{name}.nii.gz", label, affine)
    return {"image": str(image), "label": str(labels), "case": name}


def meta_tensor(array: np.ndarray | torch.Tensor, affine: np.ndarray | None = None, **meta: Any) -> MetaTensor:
    """Return an array `(C, X, Y, Z)` with an affine and metadata."""
    tensor = torch.as_tensor(np.asarray(array))
    return MetaTensor(tensor, affine=torch.as_tensor(np.eye(4) if affine is None else affine), meta=dict(meta))


def voxels_in_world(array: np.ndarray, affine: np.ndarray, value: float) -> np.ndarray:
    """Return the world coordinates (RAS mm), sorted, of every voxel that holds a value."""
    index = np.argwhere(np.asarray(array) == value)
    points = np.round(index @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3], 3) + 0.0
    return points[np.lexsort(points.T)]
