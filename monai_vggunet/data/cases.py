"""The annotated cases of a data set: what lies in a folder, or what its Decathlon-style `dataset.json` lists."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from monai_vggunet.case_path import is_folder_or_case
from monai_vggunet.data.case_names import (
    Case,
    case_stem,
    distinct_cases,
    label_stem,
    named_by_folders,
    require_listed_once,
)
from monai_vggunet.data.class_names import stated_classes
from monai_vggunet.data.input_folders import existing_folder, rewritten_path
from monai_vggunet.data.label_values import LABEL_VALUES, as_text
from monai_vggunet.data.shared_series import join_shared_series
from monai_vggunet.dicom import patient_key
from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import ARCHIVE_ENDINGS, is_archive, is_image_file, split_ending
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import holds_results_alone
from monai_vggunet.names import counted, folder_name, listed
from monai_vggunet.privacy import clean_text, know_cases, know_input, know_names, know_tree

__all__ = ["Case", "annotated_cases"]

LONGEST_LIST = 1 << 28  # bytes of a list of cases; a million take less

_log = logging.getLogger(__name__)


def annotated_cases(dataset_dir: str | os.PathLike[str]) -> tuple[list[Case], dict[str, Any]]:
    """Return every case that has a label, and `dataset.json`'s content (empty without one).

    Raises:
        DatasetError: nothing there, or an image without its label.
    """
    know_input(dataset_dir)
    root = existing_folder(dataset_dir)
    know_tree(root)
    if "#" in str(root):
        raise rewritten_path(root)
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
    cases, _ = join_shared_series(cases)
    know_cases(case["case"] for case in cases)
    know_names(filter(os.path.islink, (case[key] for case in cases for key in ("image", "label"))))
    require_listed_once(cases)
    return [_with_patient(case) for case in distinct_cases(cases)], description


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
        raise DatasetError(
            f"entry {number} of '{split}' in {root / 'dataset.json'} names {path}, which does not exist: restore it, "
            "or correct the path"
        )
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
    cases: list[Case] = []
    without: list[Path] = []
    for path in sorted(images.iterdir()):
        if (
            not path.name.startswith(".")
            and is_archive(path)
            and split_ending(path.name, ARCHIVE_ENDINGS)[0] in label_of
        ):
            raise DatasetError(f"{path} is an archive; expected an image, or a folder of DICOM files: unpack it")
        if path.name.startswith(".") or not (path.is_dir() or is_image_file(path)):
            continue
        label = label_of.pop(case_stem(path), None)
        if label is not None:
            cases.append({"image": str(path), "label": str(label), "case": folder_name(case_stem(path))})
        elif not (path.is_dir() and holds_results_alone(path)):
            without.append(path)
    if without:
        cases, without = join_shared_series(cases, without)
    if without:
        raise DatasetError(
            f"{len(without)} of {len(without) + len(cases)} images in {images} have no label of the same name in "
            f"{labels}: {listed(path.name for path in without)}. Add the labels, or move these out"
        )
    if label_of:
        _log.warning("left out, without an image of their name: %s in %s", counted(len(label_of), "label"), labels)
    return cases


def _with_patient(case: Case) -> Case:
    """Add the key that keeps one patient's series together: a hash for DICOM, else the case's own name."""
    if "patient" in case:
        return case
    if is_folder_or_case(case["image"]):
        return case | {"patient": patient_key(case["image"])}
    return case | {"patient": case["case"]}
