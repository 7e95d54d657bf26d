"""Names of cases: taken from their file or folder, each of them unique and fit to be the name of a folder."""

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
# (a unique name that is fit for a folder, see `folder_name`), patient (a key, no PHI), label_values (see that module)
Case = dict[str, str]

_log = logging.getLogger(__name__)


def case_stem(path: Path) -> str:
    """Return the name without an image ending; a folder's name as it is (it may hold dots)."""
    return split_ending(path.name, NIFTI_ENDINGS + PICTURE_ENDINGS)[0]


def label_stem(path: Path) -> str:
    """Return a label's name without its ending, as its image has it; DICOM SEG and RTSTRUCT may have a DICOM ending."""
    stem, ending = split_ending(path.name, DICOM_ENDINGS)
    return stem if ending and not path.is_dir() else case_stem(path)


def relative_case_name(path: Path, folder: Path) -> str:
    """Return the name of a case below a folder: its folders and its own name, joined by underscores."""
    parts = path.relative_to(folder).parts
    return folder_name("_".join([*parts[:-1], case_stem(path)]) if parts else folder.name)


def distinct_cases(cases: Iterable[Case]) -> list[Case]:
    """Give cases that share a name different names: the later one gets a hash of its path.

    Names that differ only by upper and lower case, or by Unicode's composed and decomposed letters, count as the same:
    some file systems would put the results of both into one folder.
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
    """Refuse a list, written by hand, in which cases share a name.

    Raises:
        DatasetError: names them.
    """
    twice = sorted(name for name, times in Counter(case["case"] for case in cases).items() if times > 1)
    if twice:
        raise DatasetError(f"several cases share a name, so their results would overwrite each other: {listed(twice)}")
