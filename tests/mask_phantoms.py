"""Masks made up on a series' grid, and DICOM SEG read back by pydicom and plain geometry alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.transforms import LoadImage
from pydicom.dataset import Dataset

from monai_vggunet.data import DicomSeriesReader
from monai_vggunet.outputs import CaseMask, Classes

NAMES = ("background", "liver", "left kidney", "absent", "tumor")
CODES = {"liver": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}}

__all__ = ["CODES", "NAMES", "blobs", "labels_by_hand", "mask_on"]


def blobs(shape: tuple[int, ...]) -> np.ndarray:
    """Return class numbers 0 to 4 without 3, asymmetric in every axis, with a hole and a part of one voxel."""
    mask = np.zeros(shape, np.uint8)
    columns, rows, slices = shape
    mask[columns // 6 : columns // 2, rows // 5 : rows // 2, : max(1, slices // 2)] = 1
    mask[columns // 4, rows // 4, 0] = 0
    mask[columns // 2 : columns // 2 + columns // 4, rows // 8 : rows // 3, slices // 3 :] = 2
    mask[columns // 2 :, -max(2, rows // 4) : -1, -1] = 4
    mask[-1, 0, 0] = 4
    return mask


def mask_on(folder: Path, labels: np.ndarray | None = None, **options: Any) -> CaseMask:
    """Return a mask on the series in a folder; `options` are the reader's, or `classes` and `probabilities`."""
    own = {key: options.pop(key) for key in ("classes", "probabilities") if key in options}
    image = LoadImage(reader=DicomSeriesReader(**options))(folder)
    labels = blobs(image.shape) if labels is None else labels
    classes = own.get("classes", Classes(NAMES, CODES))
    return CaseMask(labels, np.asarray(image.affine), image.meta, classes, "ab" * 32, own.get("probabilities"))


def labels_by_hand(seg: Dataset | Path, affine_ras: np.ndarray, shape: tuple[int, ...], threshold: float = 0.5) -> Any:
    """Return the class numbers of a DICOM SEG on a grid, every frame placed by its own position, voxel by voxel."""
    seg = seg if isinstance(seg, Dataset) else pydicom.dcmread(seg)
    shared = seg.SharedFunctionalGroupsSequence[0]
    frames = seg.pixel_array.reshape(int(seg.NumberOfFrames), seg.Rows, seg.Columns)
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    rows, columns = np.mgrid[: seg.Rows, : seg.Columns]
    labels = np.zeros(shape, np.uint8)
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames):
        origin = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        lps = (
            origin + columns[..., None] * spacing[1] * orientation[:3] + rows[..., None] * spacing[0] * orientation[3:]
        )
        ras = lps * [-1, -1, 1]
        index = (ras - affine_ras[:3, 3]) @ np.linalg.inv(affine_ras[:3, :3]).T
        nearest = np.rint(index).astype(int)
        assert np.abs(index - nearest).max() < 0.02
        if seg.SegmentationType == "LABELMAP":
            values = frame
        else:
            owner = group if "SegmentIdentificationSequence" in group else shared
            number = owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            largest = int(seg.get("MaximumFractionalValue") or 1)
            values = np.where(frame / largest >= threshold, number, 0)
        inside = values > 0
        labels[tuple(nearest[inside].T)] = values[inside]
    return labels
