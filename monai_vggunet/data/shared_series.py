"""Annotated cases whose images are parts, or copies, of one DICOM series: together they are one case."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.case_path import CasePath
from monai_vggunet.data.case_names import Case
from monai_vggunet.dicom.series_cases import image_series
from monai_vggunet.errors import DatasetError
from monai_vggunet.layout import walk_inputs
from monai_vggunet.names import counted, listed
from monai_vggunet.short_uid import short_uid

__all__ = ["join_shared_series"]

_log = logging.getLogger(__name__)


def join_shared_series(cases: Sequence[Case], unlabeled: Iterable[Path] = ()) -> tuple[list[Case], list[Path]]:
    """Make one case of folders that share a series (SeriesInstanceUID), with the label of the first that has one.

    Args:
        cases: with `image` and `label`.
        unlabeled: folders and files beside them that have no label of their own.

    Returns:
        The cases, and what is still without a label.

    Raises:
        DatasetError: several of the folders have a label, and the labels are not the same.
    """
    without = list(unlabeled)
    folders = list(dict.fromkeys(Path(case["image"]) for case in cases if os.path.isdir(case["image"])))
    others = [path for path in without if path.is_dir()]
    if len(folders) + len(others) < 2:
        return list(cases), without
    owner: dict[str, Path] = {}
    members: dict[Path, list[Path]] = {}
    for folder in [*folders, *others]:
        series = sorted(image_series(folder))
        first = next((owner[uid] for uid in series if uid in owner), folder)
        members.setdefault(first, []).append(folder)
        owner |= {uid: first for uid in series if uid not in owner}
    label_of = {Path(case["image"]): case["label"] for case in cases}
    joined: list[Case] = []
    for case in cases:
        group = members.get(Path(case["image"]), [])
        if len(group) > 1:
            _require_one_label(group, label_of)
            _log.info("%s of one series are one case (%s)", counted(len(group), "folder"), listed(group))
            joined.append(case | {"image": str(_together(group))})
        elif group or not os.path.isdir(case["image"]):  # else it belongs to an earlier one
            joined.append(case)
    taken = {folder for first, group in members.items() if first in label_of for folder in group}
    return joined, [path for path in without if path not in taken]


def _require_one_label(group: Sequence[Path], label_of: dict[Path, str]) -> None:
    labels = {label_of[folder] for folder in group if folder in label_of}
    if len({sha256_of_file(Path(label)) if os.path.isfile(label) else label for label in labels}) > 1:
        uid = min(image_series(group[0]) & image_series(group[1]), default="")
        raise DatasetError(
            f"{listed(group)} hold the same series ({short_uid(uid)}), each with a label of its own; expected one "
            "label per series: remove one of them, or put parts of the series into one folder with a label of the whole"
        )


def _together(group: Sequence[Path]) -> CasePath:
    """Return all folders below those of a case as one path."""
    common = Path(os.path.commonpath(group))
    places = [place for folder in group for place, _, names in walk_inputs(folder) if names]
    return CasePath(common, tuple(os.path.relpath(place, common) for place in places))
