"""Annotated cases whose images are parts, or copies, of one DICOM series: together they are one case."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
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
    members = _sharing_a_series([*folders, *others])
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


def _sharing_a_series(folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return folders by the first of those with which they share a series, directly or by others between them."""
    holder: dict[tuple[str, str], Path] = {}
    first_of, rank = {folder: folder for folder in folders}, {folder: at for at, folder in enumerate(folders)}
    members = {folder: [folder] for folder in folders}
    for folder in folders:
        for series in sorted(image_series(folder)):
            one, other = sorted((first_of[holder.setdefault(series, folder)], first_of[folder]), key=rank.__getitem__)
            if one != other:
                members[one] += members.pop(other)
                first_of |= dict.fromkeys(members[one], one)
    return members


def _require_one_label(group: Sequence[Path], label_of: dict[Path, str]) -> None:
    labels = {label_of[folder] for folder in group if folder in label_of}
    if len({sha256_of_file(Path(label)) if os.path.isfile(label) else label for label in labels}) > 1:
        series = (image_series(folder) for folder in group)
        uid = next((uid for uid, times in Counter(chain.from_iterable(series)).items() if times > 1), ("",))[0]
        raise DatasetError(
            f"{listed(group)} hold the same series ({short_uid(uid)}), each with a label of its own; expected one "
            "label per series: remove one of them, or put parts of the series into one folder with a label of the whole"
        )


def _together(group: Sequence[Path]) -> CasePath:
    """Return all folders below those of a case as one path."""
    common = Path(os.path.commonpath(group))
    places = [place for folder in group for place, _, names in walk_inputs(folder) if names]
    return CasePath(common, tuple(os.path.relpath(place, common) for place in places))
