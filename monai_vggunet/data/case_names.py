"""Names of cases: taken from their file or folder, each of them unique and fit to be the name of a folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import DICOM_ENDINGS, NIFTI_ENDINGS, PICTURE_ENDINGS, split_ending
from monai_vggunet.names import folder_name, listed, same_on_some_disk

__all__ = [
    "Case",
    "case_stem",
    "distinct_cases",
    "label_stem",
    "named_by_folders",
    "relative_case_name",
    "require_listed_once",
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


def named_by_folders(cases: Iterable[Case], places: Mapping[str, Path] | None = None) -> list[Case]:
    """Give cases of one name those of their folders too, from the innermost on, until they differ.

    Images of one path keep one name: see `require_listed_once`.

    Args:
        cases: named by their own names, with those of some folders or none.
        places: image -> the folder or file that names it, where that is another.

    Example:
        >>> files = ["/site_a/p1/ct.nii", "/site_b/p1/ct.nii", "/site_b/p2/mr.nii"]
        >>> [case["case"] for case in named_by_folders([{"image": f, "case": case_stem(Path(f))} for f in files])]
        ['site_a_p1_ct', 'site_b_p1_ct', 'mr']
    """
    named = [dict(case) for case in cases]
    names = [_names_of((places or {}).get(case["image"], Path(case["image"]))) for case in named]
    depths = [_depth_of(case["case"], above) for case, above in zip(named, names)]
    while True:
        alike: dict[str, list[int]] = {}
        for number, case in enumerate(named):
            alike.setdefault(same_on_some_disk(case["case"]), []).append(number)
        several = [group for group in alike.values() if len({names[number] for number in group}) > 1]
        deeper = [number for group in several for number in group if 0 < depths[number] < len(names[number])]
        if not deeper:
            return named
        for number in deeper:
            depths[number] += 1
            named[number]["case"] = _name_at(names[number], depths[number])


def _names_of(place: Path) -> tuple[str, ...]:
    """Return the names of an image's folders from the outermost to the innermost, and its own."""
    path = Path(os.path.abspath(place))
    return (*path.parts[1:-1], case_stem(path))


def _depth_of(name: str, names: Sequence[str]) -> int:
    """Return of how many of the names in its place a case's name consists; 0 if it was formed in another way."""
    return next((depth for depth in range(1, len(names) + 1) if _name_at(names, depth) == name), 0)


def _name_at(place: Sequence[str], depth: int) -> str:
    return folder_name("_".join(place[-depth:]))


def require_listed_once(cases: Sequence[Case]) -> None:
    """Refuse cases that share a name because they have the same image.

    Raises:
        DatasetError: names them.
    """
    times = Counter((case["case"], os.path.abspath(case["image"])) for case in cases)
    twice = sorted(name for (name, _), count in times.items() if count > 1)
    if twice:
        raise DatasetError(
            f"several cases have the same image, so their results would overwrite each other: {listed(twice)}; list "
            "each image once"
        )
