"""A label as MONAI loads it, or drawn from a DICOM SEG or RTSTRUCT onto its image's grid."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged
from monai.utils import MetaKeys, SpaceKeys

from monai_vggunet.data.label_picture_reader import LabelPictureReader
from monai_vggunet.data.label_values import CLASS_NUMBERS
from monai_vggunet.data.nifti_file import promised_voxels
from monai_vggunet.data.nifti_reader import NiftiVolumeReader
from monai_vggunet.data.nrrd_header import nrrd_header, nrrd_promise
from monai_vggunet.data.other_files import OtherFileReader
from monai_vggunet.data.picture_reader import ORIENTATION, QUARTER_TURNS
from monai_vggunet.dicom.affine import ras_to_lps
from monai_vggunet.dicom.annotations.annotation import OverlapPolicy, read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.dicom.findings import unpack_findings
from monai_vggunet.dicom.headers.dicom_files import is_meant_as_dicom
from monai_vggunet.errors import GridMismatchError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, ends_with
from monai_vggunet.regular_files import refuse_irregular
from monai_vggunet.transforms.volume_checks import source_name

__all__ = ["LoadLabeld"]

# Of slices with gaps that are kept on request. From half a slice on, the affine puts a slice nearer to another one's
# place than to its own: geometry cannot tell which a contour or frame means.
_AMBIGUOUS_SLICES = 0.5
_FEW_VOXELS = 1 << 24  # a file with no more is read; the error then says in mm how the grids differ


class LoadLabeld(LoadImaged):
    """Load a label: DICOM SEG and RTSTRUCT onto the grid of the image loaded before, all else as `LoadImaged` does.

    A path is DICOM when it is a folder, ends as DICOM does (`.dcm`), or is a DICOM file of any name. The label then is
    a `MetaTensor` `(1, X, Y, Z)`, uint8, with the image's affine: see `read_annotation` for what is refused. An image
    from NIfTI has no frame of reference or study to compare with: geometry alone decides then, and the log says so.

    Args:
        keys: the label's key.
        reference_key: the image's key, a `MetaTensor` `(C, X, Y, Z)` on the grid it was read with.
        segments: name or number of a segment or structure -> class number; None when the label holds only one.
        on_overlap: `higher` lets the higher class number win where classes overlap; `error` refuses.

    Raises:
        GridMismatchError: image and label are pictures that are to be turned differently (EXIF), or the image was read
            over gaps (`on_gap='keep'`) that leave open which slice is meant.
        IrregularFileError: a pipe or a device.
        VGGUNetError: of the kind that fits, as `read_annotation` says.
    """

    def __init__(
        self,
        keys: KeysCollection,
        reference_key: str = "image",
        segments: Mapping[str, int] | None = None,
        on_overlap: OverlapPolicy = "higher",
        allow_missing_keys: bool = False,
    ) -> None:
        readers = [OtherFileReader(may_be_blank=True), LabelPictureReader(), NiftiVolumeReader(may_be_blank=True)]
        super().__init__(keys, readers, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        self.reference_key, self.segments, self.on_overlap = reference_key, dict(segments or {}), on_overlap

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        """Load every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            refuse_irregular(d[key])
            image = d[self.reference_key]
            if isinstance(d[key], (str, Path)) and is_meant_as_dicom(Path(d[key])):
                d[key] = self._drawn(d[key], image)
                continue
            _require_no_more_voxels(d[key], image)
            d[key] = self._loader(d[key], reader)
            _require_same_turn(d[key], image)
        return d

    def _drawn(self, path: str, image: MetaTensor) -> MetaTensor:
        annotation = read_annotation(path, _grid_of(image), self.segments, self.on_overlap)
        meta = {
            MetaKeys.AFFINE: image.affine.clone(),
            MetaKeys.ORIGINAL_AFFINE: image.affine.clone(),
            MetaKeys.SPATIAL_SHAPE: np.array(annotation.array.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: "no_channel",
            "filename_or_obj": str(annotation.path),
            CLASS_NUMBERS: True,
        }
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(annotation.array[None])), meta=meta)


def _require_no_more_voxels(label: Any, image: MetaTensor) -> None:
    """Refuse a label that promises far more voxels than its image has, before they are inflated."""
    path = Path(label) if isinstance(label, (str, Path)) else Path()
    promised, there = _promised(path), math.prod(image.shape[1:])
    if promised > max(there, _FEW_VOXELS):
        raise GridMismatchError(
            f"label {path} promises {promised:,} voxels, its image {source_name(image)} has {there:,}: it was drawn on "
            "another grid, or its header is damaged"
        )


def _require_same_turn(label: MetaTensor, image: MetaTensor) -> None:
    """Refuse a label of which nothing tells whether it was drawn on a picture as it is stored, or as it is seen.

    Both are turned as their own files say. If only one of them says so, the label was drawn on the picture as it is
    seen, or its program ignored what the picture says: sizes tell, if a quarter turn changes them.
    """
    of_label, of_image = (int(one.meta.get(ORIENTATION) or 1) for one in (label, image))
    if of_label == of_image:
        return
    columns, rows = image.shape[1:3]
    quarter_turn = (of_label in QUARTER_TURNS) != (of_image in QUARTER_TURNS)
    if not quarter_turn or columns == rows or tuple(label.shape[1:3]) != (columns, rows):
        raise GridMismatchError(
            f"label {source_name(label)} does not fit image {source_name(image)}: the files say differently how they "
            f"are to be turned (EXIF orientation {of_label} and {of_image}), so that it is unclear whether the label "
            "was drawn on the picture as it is stored or as it is seen; store both upright, without that entry"
        )


def _promised(path: Path) -> int:
    """Return how many voxels a file promises; 0 if files of its kind do not, or it cannot be read."""
    if ends_with(path, NIFTI_ENDINGS):
        return promised_voxels(path)
    if not ends_with(path, NRRD_ENDING):
        return 0
    try:
        promise = nrrd_promise(nrrd_header(path))
    except OSError:  # the reader says what is wrong with it
        return 0
    return promise.voxels if promise else 0


def _grid_of(image: MetaTensor) -> ImageGrid:
    """Return the image's grid.

    Raises:
        GridMismatchError: its slices do not lie where the affine puts them.
    """
    columns, rows, slices = image.shape[1:]
    said = {name: str(image.meta.get(name) or "") for name in ("frame_of_reference_uid", "study_uid", "series_uid")}
    affine = ras_to_lps(np.asarray(image.affine, dtype=np.float64))
    step_mm = float(np.linalg.norm(affine[:3, 2]))
    findings = unpack_findings(image.meta.get("findings") or "")
    displaced_mm = max((finding.displaced_mm for finding in findings), default=0.0)
    if displaced_mm > _AMBIGUOUS_SLICES * step_mm:
        raise GridMismatchError(
            f"the slices of {source_name(image)} were kept with gaps, up to {displaced_mm:.3g} mm off their mean "
            f"step of {step_mm:.3g} mm: a DICOM label has no certain slice there; restore the missing slices"
        )
    return ImageGrid(affine, (columns, rows, slices), source_name(image), **said)


LoadLabelD = LoadLabelDict = LoadLabeld
