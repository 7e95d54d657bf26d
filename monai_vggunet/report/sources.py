"""The image behind a result: found by the series or the content that the record names, and read as it was then."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_vggunet.case_path import is_folder_or_case
from monai_vggunet.case_record import CaseRecord
from monai_vggunet.data import image_cases
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.datalist import Case
from monai_vggunet.data.model_limits import MOST_CLASSES
from monai_vggunet.data.nifti_file import read_nifti_file
from monai_vggunet.dicom.places import scan_path
from monai_vggunet.errors import (
    DatasetError,
    DicomReadError,
    GridMismatchError,
    ImageContentError,
    ImageReadError,
)
from monai_vggunet.outputs import content_digest
from monai_vggunet.privacy import reveal
from monai_vggunet.regular_files import refuse_irregular
from monai_vggunet.transforms import loading

__all__ = ["ImageFinder", "read_case", "read_mask"]


def read_case(
    case: Case,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
    label_values: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Read an image, and its label where the case has one, on the image's own grid.

    Args:
        case: with `image` and perhaps `label`.
        reader_options: arguments of `DicomSeriesReader`.
        segments, label_values: see `loading`.

    Returns:
        `image` `(C, X, Y, Z)`, `affine` `(4, 4)`, voxel index to RAS mm, and `label` `(X, Y, Z)`.

    Raises:
        VGGUNetError: of the kind that fits.
    """
    pipeline = loading("label" in case, None, reader_options, segments, label_values)
    loaded = load_case(pipeline, case, named=False)  # pages and summaries show a failure beside the case's name
    image = loaded["image"]
    read = {"image": image.as_tensor().numpy(), "affine": np.asarray(image.affine, np.float64)}
    return read | ({"label": loaded["label"].as_tensor().numpy()[0]} if "label" in case else {})


def read_mask(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a mask as `segment` writes it: `(X, Y[, Z])`, uint8, and its affine, voxel index to RAS mm.

    Raises:
        DatasetError: it is missing.
        IrregularFileError: it is no regular file.
        ImageReadError: it is damaged, or claims to hold more than it can.
        GridMismatchError: it is no label map of at most 256 classes.
    """
    refuse_irregular(file)
    if not file.exists():
        raise DatasetError(f"{file} is missing: segment the study again, with nifti among the outputs (--output)")
    try:
        mask = read_nifti_file(file, may_be_blank=True)
    except (ImageReadError, ImageContentError) as error:
        raise ImageReadError(f"{file} is damaged: segment the study again ({error})") from error
    if mask.array.ndim not in (2, 3) or mask.array.min(initial=0) < 0 or mask.array.max(initial=0) > MOST_CLASSES - 1:
        raise GridMismatchError(
            f"{file} is no label map (shape {mask.array.shape}); expected two or three dimensions and classes from 0 "
            f"to {MOST_CLASSES - 1}: segment the study again"
        )
    return mask.array.astype(np.uint8), np.asarray(mask.header.get_best_affine(), np.float64)


class ImageFinder:
    """Finds the source of a record in folders of images; each is looked at once.

    Args:
        paths: the inputs of `segment`, or other folders that hold the same images.

    Raises:
        DatasetError: a path does not exist or holds no image.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._cases: list[Case] = [case for path in paths for case in image_cases(path)]
        self._digests: dict[str, str] = {}
        self._series: dict[str, set[str]] = {}

    def find(self, record: CaseRecord) -> tuple[Case, dict[str, Any]] | None:
        """Return the source's case and how it was read; None if no image here is the source.

        A series is recognized by its UID, whatever lies beside it today; anything else by its content. Images with the
        record's own name are looked at first.
        """
        read_so = dict(record.identity.get("settings", {}).get("reader", {}))
        options = {key: reveal(value) if isinstance(value, str) else value for key, value in read_so.items()}
        uid, digest = record.source.series_uid, record.identity.get("input_sha256")
        name = reveal(record.case)
        ordered = sorted(self._cases, key=lambda case: case["case"] != name)
        for case in ordered:
            if uid and is_folder_or_case(case["image"]) and uid in self._series_in(case["image"]):
                return case, {key: options[key] for key in options if key in _HOW} | {"series_uid": uid}
        for case in ordered:
            if not uid and digest and self._digest_of(case["image"]) == digest:
                return case, options
        return None

    def _series_in(self, folder: str) -> set[str]:
        if folder not in self._series:
            try:
                self._series[folder] = {series.series_uid for series in scan_path(folder).series}
            except DicomReadError:
                self._series[folder] = set()
        return self._series[folder]

    def _digest_of(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = content_digest(path)
        return self._digests[path]


_HOW = ("stack", "on_gap", "on_tilt")  # the reader's options that still apply once the series is known
