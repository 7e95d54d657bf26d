"""A study as people view it: nearest patient axes, radiological convention, true proportions, a sensible window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from PIL import Image

from monai_vggunet.data.stack_axis import PLANES
from monai_vggunet.dicom.affine import lps_to_ras
from monai_vggunet.errors import GridMismatchError
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.outputs.class_colors import class_color

__all__ = ["DisplayView", "display_view", "outline", "paint", "resized"]

SOFT_TISSUE_HU = (-160.0, 240.0)  # the usual window of an abdomen
PERCENTILES = (0.5, 99.5)  # for intensities without a unit: a few bright vessels do not set the scale
MOST_SAMPLED = 2_000_000  # voxels sampled for the percentiles
AFFINE_TOLERANCE_MM = 1e-2  # a NIfTI header keeps its affine as float32
EVEN = 0.01  # spacings whose relative difference is smaller count as equal
FILL = 0.4  # opacity of a class


@dataclass(frozen=True)
class DisplayView:
    """Image and mask with axes that grow, as nearly as the grid allows, to the patient's right, front and head (RAS).

    Attributes:
        image: `(X, Y, Z)`, or `(X, Y, Z, 3)` of a color picture, 0 to 255; None if only the mask is available.
        labels: `(X, Y, Z)`, uint8.
        affine: voxel index to RAS mm, `(4, 4)`; exact, whatever the reordering.
        window: intensities shown as black and white.
        axis: along which the slices are stacked.
        is_picture: a photograph or the like: no patient axes, no mm.
    """

    image: np.ndarray | None
    labels: np.ndarray
    affine: np.ndarray
    window: tuple[float, float]
    axis: int
    is_picture: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxels along each axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @property
    def plane(self) -> str:
        """The nearest patient plane of the slices."""
        return PLANES[self.axis]

    def gray(self, index: int) -> np.ndarray:
        """Return slice `index`, windowed, `(rows, columns, 3)` in 0 to 255, as on a light box."""
        if self.image is None:
            flat = _upright(np.take(self.labels, index, self.axis))
            return np.zeros((*flat.shape, 3), np.uint8)
        plane = _upright(np.take(self.image, index, self.axis))
        low, high = self.window
        shown = np.clip((plane.astype(np.float32) - low) * (255.0 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
        return shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)

    def classes(self, index: int) -> np.ndarray:
        """Return the mask of slice `index`, `(rows, columns)`, oriented like `gray`."""
        return self.oriented(self.labels, index)

    def oriented(self, array: np.ndarray, index: int) -> np.ndarray:
        """Return slice `index` of any array on this grid, oriented like `gray`."""
        return _upright(np.take(array, index, self.axis))

    def size_px(self, width: int) -> tuple[int, int]:
        """Return width and height that show a slice in its true proportions, no higher than twice the width."""
        across, along = (self.labels.shape[k] * self.spacing_mm[k] for k in range(3) if k != self.axis)
        scale = min(width / across, 2 * width / along)
        return max(1, round(across * scale)), max(1, round(along * scale))

    def letters(self) -> tuple[str, str, str, str]:
        """Return the patient's sides at the left, right, top and bottom of a slice, as letters; empty for pictures."""
        if self.is_picture:
            return ("", "", "", "")
        return {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}[
            self.plane
        ]  # type: ignore[return-value]


def display_view(
    labels: np.ndarray,
    affine: np.ndarray,
    image: np.ndarray | None = None,
    image_affine: np.ndarray | None = None,
    modality: str = "",
) -> DisplayView:
    """Bring a mask and its image to the nearest patient axes by flips and swaps alone.

    Args:
        labels: `(X, Y, Z)`, or `(X, Y)` of a picture.
        affine: voxel index to RAS mm, `(4, 4)`.
        image: `(C, X, Y, Z)` of one channel, or of the three colors.
        image_affine: compared with `affine` when given.
        modality: `CT` gets a window in HU, `PICTURE` its own 0 to 255, others the image's percentiles.

    Raises:
        GridMismatchError: the image does not lie on the mask's grid.
    """
    is_picture = modality == PICTURE or (labels.ndim == 2 and np.allclose(affine[:3, :3], np.eye(3)))
    volume = labels[..., None] if labels.ndim == 2 else labels
    shown = None if image is None else _on_grid(image, volume.shape, affine, image_affine)
    if is_picture:  # columns run to the left and rows to the back, so that the picture keeps the file's orientation
        affine = lps_to_ras(np.eye(4))
    turn = nib.orientations.io_orientation(affine)
    straight = affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    volume = nib.orientations.apply_orientation(volume, turn)
    if shown is not None:
        shown = nib.orientations.apply_orientation(shown, turn)
    axis = _slice_axis(volume.shape, np.linalg.norm(straight[:3, :3], axis=0))
    return DisplayView(shown, volume, straight, _window(shown, modality, is_picture), axis, is_picture)


def paint(gray: np.ndarray, classes: np.ndarray, opacity: float = FILL) -> np.ndarray:
    """Return a slice `(rows, columns, 3)` with its classes in their colors, their borders opaque."""
    shown = gray.astype(np.float32)
    lookup = np.array([class_color(n) for n in range(int(classes.max(initial=0)) + 1)], np.float32)
    inside, border = classes > 0, outline(classes)
    shown[inside] = (1 - opacity) * shown[inside] + opacity * lookup[classes[inside]]
    shown[border] = lookup[classes[border]]
    return shown.astype(np.uint8)


def outline(classes: np.ndarray) -> np.ndarray:
    """Return the pixels of a class that touch another class or the background, `(rows, columns)` as bool."""
    padded = np.pad(classes, 1)
    center = padded[1:-1, 1:-1]
    around: Sequence[np.ndarray] = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (center > 0) & np.logical_or.reduce([center != other for other in around])


def resized(picture: np.ndarray, size: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """Return a picture at `(width, height)`; classes by the nearest pixel."""
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize(size, how))


def _upright(plane: np.ndarray) -> np.ndarray:
    """Turn a slice of a RAS array so that right is at the left and top is up: both indices fall along the screen."""
    return plane[::-1, ::-1].swapaxes(0, 1)


def _slice_axis(shape: tuple[int, ...], spacing_mm: np.ndarray) -> int:
    """Return the axis that holds a single slice, or along which voxels are farthest apart; axial if all are equal."""
    single = [k for k in range(3) if shape[k] == 1]
    if single:
        return single[-1]
    return 2 if np.ptp(spacing_mm) < EVEN * spacing_mm.max() else int(spacing_mm.argmax())


def _on_grid(
    image: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, image_affine: np.ndarray | None
) -> np.ndarray:
    """Return `(X, Y, Z)`, or `(X, Y, Z, 3)` where the channels differ."""
    moved = image_affine is not None and not np.allclose(affine, image_affine, atol=AFFINE_TOLERANCE_MM)
    if image.ndim != 4 or image.shape[0] not in (1, 3) or image.shape[1:] != shape or moved:
        raise GridMismatchError(
            f"the image (channels and shape {image.shape}{', another affine' if moved else ''}) does not lie on the "
            f"mask's grid (shape {shape}): give the image that was segmented (--images)"
        )
    if image.shape[0] == 3 and not (image[:1] == image).all():
        return np.moveaxis(image, 0, -1)
    return image[0]


def _window(image: np.ndarray | None, modality: str, is_picture: bool) -> tuple[float, float]:
    if image is None or is_picture:
        return (0.0, 255.0)
    if modality == "CT":
        return SOFT_TISSUE_HU
    values = image.ravel()[:: max(1, image.size // MOST_SAMPLED)]
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
