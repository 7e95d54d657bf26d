"""What cases are called: after their file or folder, so that each has a name of its own that a folder can bear."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import DICOM_ENDINGS, NIFTI_ENDINGS, PICTURE_ENDINGS, split_ending
from monai_vggunet.names import folder_name, listed, same_on_some_disk

__all__ = [
    "Case",
    "case_stem",
    "distinct_cases",
    "label_stem",
    "relative_case_name",
    "require_unique_names",
]

_HASH_LENGTH = 8  # hexadecimal digits that tell apart cases of one name

# keys: image, label (absent without annotation; NIfTI, DICOM SEG or RTSTRUCT, or a folder with one of the latter), case
# (a unique name that a folder can bear, see `folder_name`), patient (a key, no PHI)
Case = dict[str, str]

_log = logging.getLogger(__name__)


def case_stem(path: Path) -> str:
    """Return the name without an image ending; a folder's name as it is (it may hold dots)."""
    return split_ending(path.name, NIFTI_ENDINGS + PICTURE_ENDINGS)[0]


def label_stem(path: Path) -> str:
    """Return a label's name as its image's: a file of DICOM SEG or RTSTRUCT may have an ending of its own."""
    stem, ending = split_ending(path.name, DICOM_ENDINGS)
    return stem if ending and not path.is_dir() else case_stem(path)


def relative_case_name(path: Path, folder: Path) -> str:
    """Return the name of a case below a folder: its folders and its own name, joined by underscores."""
    parts = path.relative_to(folder).parts
    return folder_name("_".join([*parts[:-1], case_stem(path)]) if parts else folder.name)


def distinct_cases(cases: Iterable[Case]) -> list[Case]:
    """Give cases that share a name names of their own: the later one is told apart by a hash of its path.

    A file system that takes upper and lower case, or Unicode's composed and decomposed letters, for the same would
    put the results of both into one folder; so these share a name too.
    """
    found: dict[str, Case] = {}
    for case in cases:
        name, digest = case["case"], os.fsencode(case["image"])
        while same_on_some_disk(name) in found:
            digest = hashlib.sha256(digest).digest()
            name = folder_name(f"{case['case']}~{digest.hex()[:_HASH_LENGTH]}")
        if name != case["case"]:
            _log.warning("a second case is called %s: here it is %s", case["case"], name)
        found[same_on_some_disk(name)] = case | {"case": name}
    return list(found.values())


def require_unique_names(cases: Sequence[Case]) -> None:
    """Refuse cases of one name, where a list was written by hand.

    Raises:
        DatasetError: there are some.
    """
    twice = sorted(name for name, times in Counter(case["case"] for case in cases).items() if times > 1)
    if twice:
        raise DatasetError(f"several cases share a name, so their results would overwrite each other: {listed(twice)}")
