"""NIfTI read as carefully as DICOM: which of two transforms counts, which unit, and no header text carried along."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys
from nibabel.spatialimages import HeaderDataError

from monai_vggunet.data.nifti_file import read_nifti_file
from monai_vggunet.dicom.findings import Finding, FindingKind, pack_findings, warning
from monai_vggunet.errors import ImageContentError, ImageReadError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, ends_with

__all__ = ["NiftiVolumeReader"]

MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI-1 xyzt_units, bits 0 to 2: unknown, meter, mm, micrometer
UNIT_NAMES = {1: "meters", 3: "micrometers"}
# sform and qform are both stored as float32, the qform as a quaternion: corners that differ by less, in voxels, agree.
CORNER_TOLERANCE_VOXELS = 0.1
SHEAR_TOLERANCE = 1e-3  # cosine between two axes above which an affine is sheared, which a qform cannot express

PathLike = str | os.PathLike[str]
_log = logging.getLogger(__name__)


class NiftiVolumeReader(ImageReader):
    """Read one `.nii` or `.nii.gz`: values scaled, float32, the affine in mm to RAS, trailing axes of length 1 dropped.

    The sform counts where it is coded, then the qform (NIfTI-1, "methods 3 and 2"). A header in which both are coded
    alike and disagree is refused, unless the sform is sheared, which no qform can hold; where the codes
    differ the sform counts, with a finding. Meters and micrometers become mm. A header without any orientation is read
    with a finding. Text of the header, which may name a patient, is not carried along.

    The metadata hold `affine`, `original_affine`, `spatial_shape`, `space`, `original_channel_dim`, `dim_info` (which
    axis the scanner stacked) and `findings` (see `unpack_findings`).

    Args:
        may_be_blank: whether nearly empty content is plausible, as that of a label: see `read_nifti_file`.

    Raises:
        ImageReadError: in `get_data`, for a file that is missing, truncated or damaged, or promises the impossible.
        ImageContentError: in `get_data`, for contradictory transforms, or values that are not scalars.
    """

    def __init__(self, may_be_blank: bool = False) -> None:
        super().__init__()
        self.may_be_blank = may_be_blank

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether it is one file with a NIfTI ending; lists, which become channels, are left to MONAI's reader."""
        is_one = isinstance(filename, (str, os.PathLike)) and ends_with(filename, NIFTI_ENDINGS)
        return is_one and not os.path.isdir(str(filename))  # a folder may bear any name

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Path:
        """Note what to read; `LoadImage` would swallow an error that this method raised, and try other readers.

        Raises:
            ImageReadError: if it is not one file with a NIfTI ending.
        """
        items = (data,) if isinstance(data, (str, os.PathLike)) else tuple(data)
        if len(items) != 1 or not self.verify_suffix(items[0]):
            raise ImageReadError(f"got {[str(item) for item in items]}, expected one .nii or .nii.gz file")
        return Path(items[0])

    def get_data(self, img: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the array `(X, Y)`, `(X, Y, Z)` or `(X, Y, Z, channels)` and its metadata."""
        if not img.is_file():
            raise ImageReadError(f"{img} does not exist; expected a NIfTI file")
        file = read_nifti_file(img, self.may_be_blank)
        header, array = file.header, file.array
        while array.ndim > 3 and array.shape[-1] == 1:
            array = array[..., 0]
        affine, findings = _affine_of(header, img.name, array.shape)
        findings = [*file.findings, *findings]
        for finding in findings:
            _log.log(finding.log_level, "%s", finding.text)
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.array(array.shape[:3]),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: "no_channel" if array.ndim <= 3 else -1,
            "dim_info": int(header["dim_info"]),
            "findings": pack_findings(findings),
        }
        return array, meta


def _affine_of(header: Any, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, list[Finding]]:
    """Decide which of the header's transforms counts; return it in mm, and what a user should know."""
    findings: list[Finding] = []
    sform, scode = header.get_sform(coded=True)
    try:
        qform, qcode = header.get_qform(coded=True)
    except (HeaderDataError, ValueError):  # a quaternion longer than one
        qform, qcode = None, 0
        findings.append(warning(FindingKind.QFORM_DAMAGED, f"{name}: the qform is damaged and left out"))
    sform = sform if scode else None
    if sform is not None and not _usable(sform):
        raise ImageContentError(
            f"{name} has an sform that is not a transform ({sform[:3].tolist()}): correct its header"
        )
    if qform is not None and not _usable(qform):
        qform = None
    if sform is not None and qform is not None and not _is_sheared(sform):
        apart = _corners_apart(sform, qform, shape)
        if apart > CORNER_TOLERANCE_VOXELS * np.linalg.norm(sform[:3, :3], axis=0).min():
            said = f"{name}: sform (code {scode}) and qform (code {qcode}) put corners up to {apart:.3g} apart"
            if scode == qcode:
                raise ImageContentError(
                    f"{said}, expected one place for each voxel: it is unclear which is right; write the file again "
                    "with the right one alone (nibabel: set_qform(None, 0) or set_sform(None, 0))"
                )
            findings.append(warning(FindingKind.TRANSFORMS_DISAGREE, f"{said}; the sform counts"))
    affine = sform if sform is not None else qform
    edges = header["pixdim"][1:4]
    if sform is None and not all(np.isfinite(edge) and edge for edge, n in zip(edges, shape) if n > 1):
        found = " x ".join(f"{edge:g}" for edge in edges)
        raise ImageContentError(f"{name} has voxels of {found} in its pixdim; expected their size: correct its header")
    if affine is None:
        affine = header.get_base_affine()
        text = f"{name}: the header gives no orientation; axes are taken as left, anterior, superior"
        findings.append(warning(FindingKind.ORIENTATION_UNKNOWN, text))
    unit = int(header["xyzt_units"]) & 7
    if unit in UNIT_NAMES:
        text = f"{name}: lengths are in {UNIT_NAMES[unit]}, here converted to mm"
        findings.append(warning(FindingKind.UNIT_CHANGED, text))
    affine = np.array(affine, dtype=np.float64)
    affine[:3] *= MM_PER_UNIT.get(unit, 1.0)
    return affine, findings


def _usable(affine: np.ndarray) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0)


def _is_sheared(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR_TOLERANCE)


def _corners_apart(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the largest distance between the places that two affines give a corner voxel."""
    size = (*shape, 1, 1)[:3]
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), dtype=float).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((one - other) @ homogeneous)[:3], axis=0).max())
