"""The image's voxel grid that an annotation is drawn onto, and the label map that grows on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from monai_vggunet.errors import GridMismatchError

__all__ = ["ImageGrid", "LabelCanvas"]

# What a writer's rounding of positions can do, in mm, and its bounds in voxels: never less than a tenth of a voxel
# (thick slices, coarse pixels), never near the half voxel by which tools with another convention are off.
ROUNDING_MM = 0.1
LEAST_TOLERANCE_VOXELS = 0.1
MOST_TOLERANCE_VOXELS = 0.3


@dataclass(frozen=True)
class ImageGrid:
    """Where an image's voxels lie, and what its headers say it is.

    Attributes:
        affine_lps: 4x4, voxel (column, row, slice) -> mm in LPS, to the center of the voxel; it may be sheared.
        shape: columns, rows, slices.
        name: of the image, for messages.
        frame_of_reference_uid, study_uid, series_uid: empty where the image does not say (NIfTI, stripped headers).
    """

    affine_lps: np.ndarray
    shape: tuple[int, int, int]
    name: str = "the image"
    frame_of_reference_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""

    @cached_property
    def spacing_mm(self) -> np.ndarray:
        """Length of a voxel's edges: between columns, between rows, between slices; shape (3,)."""
        return np.linalg.norm(self.affine_lps[:3, :3], axis=0)

    @cached_property
    def tolerance_voxels(self) -> np.ndarray:
        """How far a point may lie off a voxel's center and still mean that voxel; shape (3,)."""
        return np.clip(ROUNDING_MM / self.spacing_mm, LEAST_TOLERANCE_VOXELS, MOST_TOLERANCE_VOXELS)

    @cached_property
    def inverse(self) -> np.ndarray:
        """4x4, mm in LPS -> voxel (column, row, slice)."""
        return np.linalg.inv(self.affine_lps)

    def index_of(self, points_lps: np.ndarray) -> np.ndarray:
        """Return fractional voxel indices (N, 3) of points (N, 3) in LPS mm."""
        return points_lps @ self.inverse[:3, :3].T + self.inverse[:3, 3]

    def index_in_slices(self, points_lps: np.ndarray) -> np.ndarray:
        """Return (N, 3): the slice by distance from its plane, column and row after projection onto the nearest one.

        Unlike `index_of`, a point a little off its slice is moved back along the slice's normal, not along the
        leaning step of a tilted gantry.
        """
        normal = np.cross(self.affine_lps[:3, 0], self.affine_lps[:3, 1])
        normal = normal / np.linalg.norm(normal)
        step_mm = float(self.affine_lps[:3, 2] @ normal)
        along = (points_lps - self.affine_lps[:3, 3]) @ normal / step_mm
        nearest = np.round(along.mean())
        index = self.index_of(points_lps + np.outer((nearest - along) * step_mm, normal))
        index[:, 2] = along
        return index


@dataclass
class LabelCanvas:
    """A label map on an image's grid; where classes overlap, the higher class number stays.

    Attributes:
        grid: the image's.
        array: (columns, rows, slices), uint8; 0 is background.
        contested: voxels that several classes claim, bool, of the array's shape; None while there are none.
        contested_classes: the classes concerned.
    """

    grid: ImageGrid
    array: np.ndarray = field(init=False)
    contested: np.ndarray | None = field(init=False, default=None)
    contested_classes: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.array = self._zeros(np.uint8)

    def paint(self, classes: np.ndarray, corner: tuple[int, int, int], what: str) -> None:
        """Draw class numbers (columns, rows), uint8, with the first of them at voxel `corner`, in one slice.

        Args:
            classes: 0 leaves what is there.
            corner: column, row, slice; the drawing may reach beyond the image where it is empty.
            what: the name of what is drawn, for messages.

        Raises:
            GridMismatchError: foreground lies outside of the image.
        """
        if not classes.any():
            return
        column, row, slice_index = corner
        low = np.clip((-column, -row), 0, classes.shape)
        high = np.clip(np.array(self.grid.shape[:2]) - (column, row), 0, classes.shape)
        inside = classes[low[0] : high[0], low[1] : high[1]]
        if not 0 <= slice_index < self.grid.shape[2]:
            inside = inside[:0]
        outside = np.count_nonzero(classes) - np.count_nonzero(inside)
        if outside:
            raise GridMismatchError(
                f"{what} has {outside} voxels outside of {self.grid.name}, which has {self.grid.shape[0]} columns, "
                f"{self.grid.shape[1]} rows and {self.grid.shape[2]} slices (it lies from column {column}, row {row}, "
                f"in slice {slice_index}, counted from 0): give the whole series it was drawn on, or crop the "
                "annotation to this one"
            )
        x, y = slice(column + low[0], column + high[0]), slice(row + low[1], row + high[1])
        region = self.array[x, y, slice_index]
        both = (region > 0) & (inside > 0) & (region != inside)
        if both.any():
            if self.contested is None:
                self.contested = self._zeros(np.bool_)
            self.contested[x, y, slice_index] |= both
            counts = np.bincount(region[both], minlength=256) + np.bincount(inside[both], minlength=256)
            self.contested_classes |= {int(value) for value in np.flatnonzero(counts)}
        np.maximum(region, inside, out=region)

    @property
    def n_contested(self) -> int:
        """Number of voxels that several classes claim."""
        return 0 if self.contested is None else int(np.count_nonzero(self.contested))

    def _zeros(self, dtype: type) -> np.ndarray:
        # One slice is one block of memory: slices are painted one by one.
        return np.zeros(self.grid.shape[::-1], dtype=dtype).transpose(2, 1, 0)
