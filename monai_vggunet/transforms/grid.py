"""A label brought onto its image's grid by geometry: its axes may be permuted or flipped, but its voxels must match."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_vggunet.errors import GridMismatchError

__all__ = ["MatchGridd", "match_axes"]

# Two affines describe the same grid when every corner voxel's centers agree within this share of the smallest
# spacing: far above the rounding of an affine stored as float32, far below a shift that a user could see.
CORNER_TOLERANCE_VOXELS = 0.05


def match_axes(
    affine: np.ndarray, shape: tuple[int, ...], target_affine: np.ndarray, target_shape: tuple[int, ...]
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Find the permutation and flips that carry an array onto a target grid.

    Args:
        affine, target_affine: voxel index to world, `(4, 4)`, both in the same world (RAS mm).
        shape, target_shape: three spatial sizes each.

    Returns:
        `(permutation, flips)`: `array.transpose(permutation)`, then reversed along the axes marked by `flips`.

    Raises:
        GridMismatchError: the grids differ; says the shapes, and by how many mm the corners are apart.
    """
    index_map = np.linalg.inv(target_affine) @ affine  # index in the array -> index in the target
    nearest = np.abs(index_map[:3, :3]).argmax(axis=1)
    permutation = tuple(int(axis) for axis in nearest)
    if len(set(permutation)) < 3:
        raise GridMismatchError(
            "the axes of label and image point in different directions: the label was drawn on another grid; resample "
            "it to its image with nearest-neighbor interpolation, or correct its header"
        )
    if tuple(shape[axis] for axis in permutation) != tuple(target_shape):
        raise GridMismatchError(
            f"shape {tuple(shape)} against {tuple(target_shape)}: the two are not on one grid (axes may be in another "
            "order, but not of another length); resample the label to its image with nearest-neighbor interpolation"
        )
    flips = tuple(bool(index_map[row, axis] < 0) for row, axis in enumerate(permutation))
    apart_mm = _corner_distance_mm(affine, target_affine, target_shape, permutation, flips)
    limit_mm = CORNER_TOLERANCE_VOXELS * np.linalg.norm(target_affine[:3, :3], axis=0).min()
    if apart_mm > limit_mm:
        raise GridMismatchError(
            f"same shape {tuple(target_shape)}, but corners lie up to {apart_mm:.2f} mm apart in the world (allowed: "
            f"{limit_mm:.3f} mm): the label was drawn on another grid; resample it to its image, or correct its header"
        )
    return permutation, flips  # type: ignore[return-value]


class MatchGridd(MapTransform):
    """Bring labels onto the image's grid: reorder and flip axes where that is all it takes, refuse otherwise.

    Args:
        keys: label keys; each a `MetaTensor` `(1, X, Y, Z)`.
        reference_key: the image's key.

    Raises:
        GridMismatchError: the grids differ by more than order and direction of the axes.
    """

    def __init__(self, keys: KeysCollection, reference_key: str = "image", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key = reference_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with every label on the image's grid, with exactly its affine."""
        d = dict(data)
        image = d[self.reference_key]
        for key in self.key_iterator(d):
            label = d[key]
            target_affine = np.asarray(image.affine, dtype=np.float64)
            try:
                permutation, flips = match_axes(
                    np.asarray(label.affine, dtype=np.float64), label.shape[1:], target_affine, image.shape[1:]
                )
            except GridMismatchError as error:
                names = [str(d[k].meta.get("filename_or_obj", k)) for k in (key, self.reference_key)]
                raise GridMismatchError(f"label {names[0]} does not fit image {names[1]}: {error}") from error
            array = label.as_tensor().permute(0, *(axis + 1 for axis in permutation))
            array = torch.flip(array, [axis + 1 for axis, flip in enumerate(flips) if flip])
            meta = {**label.meta, "affine": image.affine.clone()}
            d[key] = MetaTensor(array.contiguous(), meta=meta)
        return d


def _corner_distance_mm(
    affine: np.ndarray,
    target_affine: np.ndarray,
    target_shape: tuple[int, ...],
    permutation: tuple[int, ...],
    flips: tuple[bool, ...],
) -> float:
    """Return the largest distance in mm between corner voxels' centers under the two affines."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in target_shape], indexing="ij"), dtype=float).reshape(3, -1)
    source = np.empty_like(corners)
    for row, (axis, flip) in enumerate(zip(permutation, flips)):
        source[axis] = (target_shape[row] - 1 - corners[row]) if flip else corners[row]
    ones = np.ones((1, corners.shape[1]))
    difference = (affine @ np.vstack([source, ones]) - target_affine @ np.vstack([corners, ones]))[:3]
    return float(np.linalg.norm(difference, axis=0).max())


MatchGridD = MatchGridDict = MatchGridd
