"""Masks as NIfTI on the source's own grid, written by MONAI's `SaveImaged`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import FolderLayoutBase, MetaTensor, NibabelWriter

from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.errors import GridMismatchError
from monai_vggunet.layout import MASK
from monai_vggunet.outputs.case_mask import Classes
from monai_vggunet.outputs.label_names import write_label_names

__all__ = ["CaseFolderLayout", "NiftiMaskWriter", "mask_image", "write_mask"]

SCANNER = 1  # NIfTI-1 qform and sform code: scanner-based anatomical coordinates
ORTHOGONAL = 1e-4  # cosine between axes above which the grid is sheared; an affine stored as float32 is at 1e-6
AFFINE_TOLERANCE_MM = 1e-3  # preprocessing and its inverse change an affine by rounding alone


def mask_image(labels: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Return a label map `(X, Y[, Z])` as a NIfTI image with units mm and both space codes set.

    A qform is a rotation and three spacings and cannot hold a shear: with a tilted gantry only the sform is coded
    (NIfTI-1, methods 2 and 3). The header carries nothing of the patient.

    Args:
        labels: class numbers; stored in the smallest unsigned type.
        affine: voxel index to RAS mm, `(4, 4)`.
    """
    array = np.asarray(labels)
    array = array.astype(np.min_scalar_type(int(array.max(initial=0))))
    image = nib.Nifti1Image(array, None)
    image.header.set_xyzt_units("mm", "sec")
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sheared = np.abs(directions.T @ directions - np.eye(3)).max() > ORTHOGONAL
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=0 if sheared else SCANNER)
    return image


def write_mask(path: str | os.PathLike[str], labels: np.ndarray, affine: np.ndarray) -> None:
    """Write a label map, whole or not at all.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    with atomic_path(path) as temporary:
        nib.save(mask_image(labels, affine), temporary)


class NiftiMaskWriter(NibabelWriter):
    """MONAI image writer for masks: for `SaveImaged(writer="monai_vggunet.outputs.NiftiMaskWriter", resample=False)`.

    Unlike its base class, it states units and space codes, keeps a volume of one slice three-dimensional, never
    resamples, and leaves no partial file. `mask.json` beside `mask.nii.gz` says what made it and, if `class_names` are
    given, what its numbers mean.

    Args:
        class_names: background first.
        class_codes: see `resolve_class_codes`.
        model_sha256: hash of the model's weights.
        kwargs: of `NibabelWriter`.
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        class_codes: Mapping[str, Any] | None = None,
        model_sha256: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.classes = None if class_names is None else Classes(class_names, dict(class_codes or {}))
        self.model_sha256 = model_sha256

    def set_data_array(self, data_array: Any, channel_dim: int | None = 0, *args: Any, **kwargs: Any) -> None:
        """Take a label map with one channel.

        Raises:
            GridMismatchError: several channels: a label map has one.
        """
        array = data_array.as_tensor() if isinstance(data_array, MetaTensor) else data_array
        array = np.asarray(array)
        if channel_dim is not None and array.shape[channel_dim] != 1:
            raise GridMismatchError(
                f"a mask has one channel, got shape {array.shape}: reduce class scores to labels before saving"
            )
        self.data_obj = array if channel_dim is None else np.squeeze(array, axis=channel_dim)

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = False, **options: Any) -> None:
        """Take the affine, and drop the slice axis that was added to a two-dimensional source.

        Raises:
            GridMismatchError: the mask does not lie on the source's grid: preprocessing was not undone.
        """
        meta = meta_dict or {}
        affine, original = meta.get("affine"), meta.get("original_affine")
        self.affine = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
        shape = tuple(int(n) for n in np.asarray(meta.get("spatial_shape", ())).ravel())
        mask = np.asarray(self.data_obj)
        if len(shape) == 2 and mask.ndim == 3 and mask.shape[2] == 1:
            mask = self.data_obj = mask[..., 0]
        moved = original is not None and not np.allclose(self.affine, np.asarray(original), atol=AFFINE_TOLERANCE_MM)
        if shape and (moved or mask.shape != shape):
            raise GridMismatchError(
                f"the mask (shape {mask.shape}) does not lie on its source's grid (shape {shape}"
                f"{', another affine' if moved else ''}): put Invertd before SaveImaged"
            )

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write the file under its final name once it is whole, and its sidecar."""
        write_mask(filename, np.asarray(self.data_obj), np.asarray(self.affine))
        sidecar = Path(filename).name.partition(".")[0] + ".json"
        write_label_names(Path(filename).with_name(sidecar), self.classes, self.model_sha256)


class CaseFolderLayout(FolderLayoutBase):
    """Where results go: `OUT/<case>/mask.nii.gz`, for `SaveImaged(folder_layout=...)`.

    Args:
        output_dir: OUT.
        cases: dictionaries with `image` (a path) and `case` (a unique name).
        name: of the file.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], cases: Iterable[Mapping[str, str]], name: str = MASK
    ) -> None:
        self.output_dir, self.name = Path(output_dir), name
        self.case_of = {str(case["image"]): case["case"] for case in cases}

    def filename(self, subject: str = "", **kwargs: Any) -> str:  # type: ignore[override]
        """Return the path for an image, given where it was read from."""
        case = self.case_of.get(str(subject), Path(str(subject)).name)
        return str(self.output_dir / case / self.name)
