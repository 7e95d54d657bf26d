"""The cases of a data set: what lies in a folder, or what its Decathlon-style `dataset.json` lists."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from monai_vggunet.data.case_names import (
    Case,
    case_stem,
    distinct_cases,
    label_stem,
    named_by_folders,
    relative_case_name,
    require_listed_once,
)
from monai_vggunet.data.class_names import stated_classes
from monai_vggunet.data.label_values import LABEL_VALUES, as_text
from monai_vggunet.dicom import patient_key
from monai_vggunet.dicom.places import is_case_folder
from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, PICTURE_ENDINGS, ends_with, is_companion
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import (
    called_as_results,
    holds_results_alone,
    place_within,
    require_output_apart,
    require_sources_kept,
    walk_inputs,
)
from monai_vggunet.names import counted, folder_name, listed, listed_by_reason
from monai_vggunet.privacy import clean_text, know_cases, know_input, know_names, know_tree
from monai_vggunet.regular_files import IRREGULAR, is_irregular

__all__ = ["Case", "annotated_cases", "image_cases"]

LONGEST_LIST = 1 << 28  # bytes of a list of cases; a million take less

_log = logging.getLogger(__name__)


def annotated_cases(dataset_dir: str | os.PathLike[str]) -> tuple[list[Case], dict[str, Any]]:
    """Return every case that has a label, and `dataset.json`'s content (empty without one).

    Raises:
        DatasetError: nothing there, or an image without its label.
    """
    know_input(dataset_dir)
    root = _existing_folder(dataset_dir)
    know_tree(root)
    if "#" in str(root):
        raise _rewritten(root)
    description_file = root / "dataset.json"
    if description_file.is_file():
        description = _read_description(description_file)
        cases = _listed_cases(root, description) if "training" in description else _paired_cases(root)
        cases = _with_label_values(cases, description)
    else:
        description = {}
        cases = _paired_cases(root)
    if not cases:
        raise DatasetError(
            f"{root} holds no annotated case: expected images/ and labels/ with one file (or one folder of DICOM) "
            "per case, or a dataset.json with a 'training' list"
        )
    know_cases(case["case"] for case in cases)
    know_names(filter(os.path.islink, (case[key] for case in cases for key in ("image", "label"))))
    require_listed_once(cases)
    return [_with_patient(case) for case in distinct_cases(cases)], description


def image_cases(dataset_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str] | None = None) -> list[Case]:
    """Return everything under a folder that can be segmented: one case per NIfTI file, picture or DICOM folder.

    `images/` is taken when it is there, else the folder itself with its sub-folders; a single file is one case.
    Results of earlier runs are none, wherever they lie.

    Args:
        dataset_dir: the folder or file.
        output_dir: where results will go; studies that lie there are cases too, what is only called as a result is not.

    Raises:
        DatasetError: the path is missing, or nothing under it is an image.
        ConfigurationError: the output is the input.
    """
    know_input(dataset_dir)
    root = _expanded(dataset_dir)
    folder = root if root.is_file() else _images_folder(_existing_folder(root))
    know_tree(root)
    if output_dir is not None:
        require_output_apart([root, folder], output_dir)
    if root.is_file():
        cases = [{"image": str(root), "case": folder_name(case_stem(root))}]
    else:
        images = _images_below(folder, place_within(folder, output_dir))
        cases = distinct_cases({"image": str(path), "case": relative_case_name(path, folder)} for path in images)
    if not cases:
        raise DatasetError(
            f"{folder} holds nothing to segment: expected NIfTI files or folders with DICOM series; unpack archives "
            "(.zip)"
        )
    know_cases(case["case"] for case in cases)
    if output_dir is not None:
        require_sources_kept({case["case"]: case["image"] for case in cases}, output_dir)
    return cases


def _expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` as the home folder, unless something of that very name is there."""
    return Path(path) if os.path.lexists(path) else Path(os.path.expanduser(path))


def _existing_folder(folder: str | os.PathLike[str]) -> Path:
    root = Path(os.path.realpath(_expanded(folder)))
    if "::" in str(root) and not root.exists() and os.path.exists(str(root).replace("::", "#")):
        raise _rewritten(root)
    if is_irregular(root):
        raise DatasetError(f"{root} is {IRREGULAR}; expected a folder, or an image file")
    if not root.is_dir():
        raise DatasetError(f"the data set folder {root} does not exist; pass --dataset_dir with an existing folder")
    try:
        empty = not any(root.iterdir())
    except OSError as error:
        raise DatasetError(f"the data set folder {root} cannot be listed: {error.strerror}") from error
    if empty:
        raise DatasetError(f"the data set folder {root} is empty")
    return root


def _rewritten(root: Path) -> DatasetError:
    return DatasetError(
        f"the path {str(root).replace('::', '#')} holds a '#', which MONAI's config language rewrites: rename the "
        "folder, or link to it"
    )


def _images_folder(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root


def _read_description(path: Path) -> dict[str, Any]:
    try:  # names of files in it need not be UTF-8 where those on the disk are not
        content = read_json(path, LONGEST_LIST, errors="surrogateescape")
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is no readable JSON: {error}") from error
    folders = all((path.parent / name).is_dir() for name in ("images", "labels"))
    named_alone = folders and isinstance(content, dict) and not {"training", "validation"} & content.keys()
    if not named_alone and (not isinstance(content, dict) or not isinstance(content.get("training"), list)):
        raise DatasetError(
            f"{path} has no list named 'training', as the Medical Segmentation Decathlon writes it; expected one, or "
            "the folders images/ and labels/ beside the file"
        )
    if not isinstance(content.get("validation") or [], list):
        kind = type(content["validation"]).__name__
        raise DatasetError(f"'validation' in {path} is of type {kind}; expected a list, or nothing")
    return content


def _listed_cases(root: Path, description: dict[str, Any]) -> list[Case]:
    cases = []
    for split in ("training", "validation"):
        for number, entry in enumerate(description.get(split) or []):
            if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("image", "label")):
                keys = f" with {clean_text(', '.join(map(str, entry)))}" if isinstance(entry, dict) else ""
                raise DatasetError(
                    f"entry {number} of '{split}' in {root / 'dataset.json'} is of type {type(entry).__name__}{keys}; "
                    "expected an object with the paths 'image' and 'label', each relative to the file or absolute"
                )
            know_names([root / entry["image"], root / entry["label"]])
            image, label = (_listed_path(root, entry[key], split, number) for key in ("image", "label"))
            case = {"image": str(image), "label": str(label), "case": folder_name(case_stem(image)), "split": split}
            cases.append(case | ({"patient": str(entry["patient"])} if "patient" in entry else {}))
    return named_by_folders(cases)


def _with_label_values(cases: list[Case], description: dict[str, Any]) -> list[Case]:
    """Note in each case which value of its label is which class, where `dataset.json` names the classes."""
    values = list(stated_classes(description))
    return [case | {LABEL_VALUES: as_text(values)} for case in cases] if values else cases


def _listed_path(root: Path, name: str, split: str, number: int) -> Path:
    path = root / name
    if not path.exists() and (root / name.replace("\\", "/")).exists():  # as Windows writes paths
        path = root / name.replace("\\", "/")
    if not path.exists():
        raise DatasetError(f"entry {number} of '{split}' in {root / 'dataset.json'} names {path}, which does not exist")
    return path


def _paired_cases(root: Path) -> list[Case]:
    images, labels = root / "images", root / "labels"
    for folder in (images, labels):
        if not folder.is_dir():
            raise DatasetError(
                f"{root} has no folder '{folder.name}': expected images/ and labels/ with one entry of the same name "
                "per case, or a dataset.json"
            )
    label_of: dict[str, Path] = {}
    for path in sorted(path for path in labels.iterdir() if not path.name.startswith(".")):
        twin = label_of.setdefault(label_stem(path), path)
        if twin is not path:
            raise DatasetError(f"{labels} holds two labels of one name, {twin.name} and {path.name}: keep one of them")
    cases, without = [], []
    for path in sorted(images.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or _is_image_file(path)):
            continue
        label = label_of.pop(case_stem(path), None)
        if label is not None:
            cases.append({"image": str(path), "label": str(label), "case": folder_name(case_stem(path))})
        elif not (path.is_dir() and holds_results_alone(path)):
            without.append(path.name)
    if without:
        raise DatasetError(
            f"{len(without)} of {len(without) + len(cases)} images in {images} have no label of the same name in "
            f"{labels}: {listed(without)}. Add the labels, or move these out"
        )
    if label_of:
        _log.warning("left out, without an image of their name: %s in %s", counted(len(label_of), "label"), labels)
    return cases


def _images_below(folder: Path, output: Path | None) -> list[Path]:
    """Return image files, and the topmost folders that hold DICOM files themselves, in sorted order.

    What lies below such a folder belongs to it: the reader scans it as a whole, and a series may be spread over it.
    In the output what is called as a result is none of them: a run that was killed left it without its record.
    """
    found: list[Path] = []
    half_done: list[Path] = []
    strange: dict[Path, int] = {}
    unlisted: list[OSError] = []
    for parent, folders, files in walk_inputs(folder, unlisted.append):
        visible = [name for name in files if not name.startswith(".")]
        if output is not None and parent.is_relative_to(output):
            results = called_as_results(visible)
            half_done += [parent / name for name in visible if name in results]
            visible = [name for name in visible if name not in results]
        found += [parent / name for name in visible if _is_image_file(name)]
        others = [name for name in visible if not _is_image_file(name) and not is_companion(name)]
        if is_case_folder(parent, others):
            found.append(parent)
            folders[:] = []
        elif others:
            strange[parent] = len(others)
        folders[:] = [name for name in folders if not name.startswith(".")]
    if half_done:
        count = counted(len(half_done), "file")
        _log.warning("left out of the output, called as results are: %s (%s)", count, listed(half_done))
    if unlisted:
        reasons = listed_by_reason((str(error.filename), str(error.strerror)) for error in unlisted)
        count = counted(len(unlisted), "folder")
        _log.warning("left out, cannot be listed: %s (%s)", count, "; ".join(reasons))
    if strange:
        places = listed(f"{count} in {place}" for place, count in strange.items())
        count = counted(sum(strange.values()), "file")
        _log.warning("left out, neither image nor DICOM: %s (%s)", count, places)
    return found


def _is_image_file(path: str | Path) -> bool:
    return ends_with(path, NIFTI_ENDINGS + PICTURE_ENDINGS)


def _with_patient(case: Case) -> Case:
    """Add the key that keeps one patient's series together: a hash for DICOM, else the case's own name."""
    if "patient" in case:
        return case
    if Path(case["image"]).is_dir():
        return case | {"patient": patient_key(case["image"])}
    return case | {"patient": case["case"]}
