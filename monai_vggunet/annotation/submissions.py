"""A label that a client submits: brought onto its image's grid or refused, and every version of it kept."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_vggunet.annotation.client_segments import by_class_number
from monai_vggunet.atomic_files import sha256_of_file, write_json
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.nrrd_header import doubt_in_nrrd, nrrd_header
from monai_vggunet.errors import LabelContentError, VGGUNetError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, SLICER_ENDING, ends_with
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import HISTORY
from monai_vggunet.outputs import write_mask
from monai_vggunet.transforms import loading

__all__ = ["fitted_label", "keep_version"]

ENDINGS = (*NIFTI_ENDINGS, NRRD_ENDING)
MOST_NUMBERS = 256  # a client may number its segments as it likes


def fitted_label(
    label: str | os.PathLike[str], image: str | os.PathLike[str], class_names: Sequence[str], described: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a submitted label `(X, Y, Z)`, uint8, on its image's own grid, and that grid's RAS affine in mm.

    Geometry decides: axes may be in another order or direction, as viewers store them.

    Args:
        label: NIfTI or NRRD.
        image: the study's file, or the folder of its DICOM series.
        class_names: of the model, background first.
        described: what the client says of the label's numbers, see `by_class_number`.

    Raises:
        GridMismatchError: the label was drawn on another grid.
        LabelContentError: it is no NIfTI or NRRD file; or it holds a number that is no class of the model, or of which
            the description leaves a doubt.
        VGGUNetError: of another kind, when the label or the image cannot be read.
    """
    if not ends_with(label, ENDINGS):
        kind = Path(label).suffix or "file without an ending"
        raise LabelContentError(f"the label is a {kind}; expected NIfTI or NRRD ({', '.join(ENDINGS)})")
    if _numbers_its_own_segments(Path(label)):
        raise LabelContentError(
            "the label is a segmentation of 3D Slicer, with numbers of its own: set 'File Extension' to .nii.gz in the "
            "extension's settings, and submit it again"
        )
    if ends_with(label, NRRD_ENDING) and (doubt := doubt_in_nrrd(Path(label), may_be_blank=True)):
        raise LabelContentError(f"the label {doubt}")
    n_numbers = MOST_NUMBERS if described else len(class_names)
    try:
        loaded = load_case(loading(n_classes=n_numbers), {"image": str(image), "label": str(label)})
    except VGGUNetError as error:  # the files' names are the server's own, and tell its user nothing
        text = str(error).replace(str(label), "the label").replace(str(image), "the study")
        raise error.reworded(text) from error
    array = by_class_number(loaded["label"].as_tensor()[0].numpy(), described, class_names)
    return array, np.asarray(loaded["image"].affine, dtype=np.float64)


def _numbers_its_own_segments(label: Path) -> bool:
    """Whether an NRRD file is a segmentation as 3D Slicer saves it, not a plain labelmap."""
    if not ends_with(label, NRRD_ENDING):
        return False
    return ends_with(label, SLICER_ENDING) or b"Segment0_" in nrrd_header(label)


def keep_version(
    folder: str | os.PathLike[str], study: str, labels: np.ndarray, affine: np.ndarray, note: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep one more version of a study's label, `FOLDER/STUDY/0001.nii.gz` and so on, and what is known of it.

    Args:
        folder: of the history.
        study: the study's name.
        labels: `(X, Y, Z)` class numbers.
        affine: voxel index to RAS mm.
        note: plain values to keep with it: tag, who sent it, which model was in use.

    Returns:
        The entry in the study's `history.json`: number of the version, time, hash, voxels per class, and how many
        voxels changed since the version before.

    Raises:
        OutputWriteError: the folder cannot be written; the history is as it was.
    """
    root = Path(folder) / study
    entries = _entries(root / HISTORY)
    number = 1 + max((entry["version"] for entry in entries), default=0)
    file = root / f"{number:04d}.nii.gz"
    write_mask(file, labels, affine)
    classes, voxels = np.unique(labels, return_counts=True)
    entry = {
        "version": number,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "file": file.name,
        "sha256": sha256_of_file(file),
        "voxels": {str(int(c)): int(n) for c, n in zip(classes, voxels)},
        "changed_voxels": _changed(root / entries[-1]["file"], labels) if entries else None,
        **note,
    }
    write_json(root / HISTORY, [*entries, entry])
    return entry


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        return list(read_json(path))
    except ValueError as error:
        raise LabelContentError(f"{path} is damaged ({error}): move it away, and a new history is begun") from error


def _changed(former: Path, labels: np.ndarray) -> int | None:
    try:
        before = load_case(loading(with_label=False), {"image": str(former)})["image"].as_tensor()[0].numpy()
    except VGGUNetError:  # someone removed or damaged the file: the history goes on
        return None
    return int((before != labels).sum()) if before.shape == labels.shape else None
