"""The cases of a data set: what lies in a folder, or what its Decathlon-style `dataset.json` lists."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_vggunet.errors import DatasetError

__all__ = ["PICTURE_ENDINGS", "Case", "annotated_cases", "image_cases"]

NIFTI_ENDINGS = (".nii.gz", ".nii")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# What lies beside images without being one. DICOM often has no ending: of any other file its content tells.
COMPANION_ENDINGS = (".json", ".txt", ".md", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log", ".zip")

# keys: image, label (absent without annotation; NIfTI, DICOM SEG or RTSTRUCT, or a folder with one of the latter), case
# (a unique name), patient (a key, no PHI)
Case = dict[str, str]

_log = logging.getLogger(__name__)


def annotated_cases(dataset_dir: str | os.PathLike[str]) -> tuple[list[Case], dict[str, Any]]:
    """Return every case that has a label, and `dataset.json`'s content (empty without one).

    Raises:
        DatasetError: nothing there, or an image without its label.
    """
    root = _existing_folder(dataset_dir)
    description_file = root / "dataset.json"
    if description_file.is_file():
        description = _read_description(description_file)
        cases = _listed_cases(root, description)
    else:
        description = {}
        cases = _paired_cases(root)
    if not cases:
        raise DatasetError(
            f"{root} holds no annotated case: expected images/ and labels/ with one file (or one folder of DICOM) "
            "per case, or a dataset.json with a 'training' list"
        )
    _require_unique_names(cases)
    return [_with_patient(case) for case in cases], description


def image_cases(dataset_dir: str | os.PathLike[str]) -> list[Case]:
    """Return everything under a folder that can be segmented: one case per NIfTI file, picture or DICOM folder.

    `images/` is taken when it is there, else the folder itself with its sub-folders; a single file is one case.

    Raises:
        DatasetError: the path is missing, or nothing under it is an image.
    """
    root = Path(dataset_dir).expanduser()
    if root.is_file():
        return [{"image": str(root), "case": _stem(root)}]
    root = _existing_folder(root)
    folder = root / "images" if (root / "images").is_dir() else root
    cases = [{"image": str(path), "case": _relative_name(path, folder)} for path in _images_below(folder)]
    if not cases:
        raise DatasetError(f"{folder} holds nothing to segment: expected NIfTI files or folders with DICOM series")
    _require_unique_names(cases)
    return cases


def _existing_folder(folder: str | os.PathLike[str]) -> Path:
    root = Path(folder).expanduser().resolve()
    if "#" in str(root):
        raise DatasetError(
            f"the path {root} holds a '#', which MONAI's config language rewrites: rename the folder, or link to it"
        )
    if not root.is_dir():
        raise DatasetError(f"the data set folder {root} does not exist; pass --dataset_dir with an existing folder")
    if not any(root.iterdir()):
        raise DatasetError(f"the data set folder {root} is empty")
    return root


def _read_description(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} is no readable JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise DatasetError(f"{path} has no list named 'training', as the Medical Segmentation Decathlon writes it")
    if not isinstance(content.get("validation") or [], list):
        raise DatasetError(f"'validation' in {path} is {content['validation']!r}; expected a list, or nothing")
    return content


def _listed_cases(root: Path, description: dict[str, Any]) -> list[Case]:
    cases = []
    for split in ("training", "validation"):
        for number, entry in enumerate(description.get(split) or []):
            if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in ("image", "label")):
                raise DatasetError(
                    f"entry {number} of '{split}' in {root / 'dataset.json'} is {entry!r}; expected an object with the "
                    "paths 'image' and 'label', each relative to the file or absolute"
                )
            image, label = (_listed_path(root, entry[key], split, number) for key in ("image", "label"))
            case = {"image": str(image), "label": str(label), "case": _stem(image), "split": split}
            cases.append(case | ({"patient": str(entry["patient"])} if "patient" in entry else {}))
    names = [case["case"] for case in cases]
    for case in cases:  # `patient_1/image.nii.gz`, `patient_2/image.nii.gz`: the folder tells them apart
        if names.count(case["case"]) > 1:
            case["case"] = f"{Path(case['image']).parent.name}_{case['case']}"
    return cases


def _listed_path(root: Path, name: str, split: str, number: int) -> Path:
    path = root / name
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
        twin = label_of.setdefault(_label_stem(path), path)
        if twin is not path:
            raise DatasetError(f"{labels} holds two labels of one name, {twin.name} and {path.name}: keep one of them")
    cases, without = [], []
    for path in sorted(images.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or _is_image_file(path)):
            continue
        label = label_of.pop(_stem(path), None)
        if label is None:
            without.append(path.name)
        else:
            cases.append({"image": str(path), "label": str(label), "case": _stem(path)})
    if without:
        raise DatasetError(
            f"{len(without)} of {len(without) + len(cases)} images in {images} have no label of the same name in "
            f"{labels}: {', '.join(without[:5])}{' ...' if len(without) > 5 else ''}. Add the labels, or move these out"
        )
    if label_of:
        _log.warning("%d files in %s belong to no image and are left out", len(label_of), labels)
    return cases


def _images_below(folder: Path) -> list[Path]:
    """Return image files, and the topmost folders that hold DICOM files themselves, in sorted order.

    What lies below such a folder belongs to it: the reader scans it as a whole, and a series may be spread over it.
    """
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        visible = sorted(name for name in files if not name.startswith("."))
        found += [Path(parent) / name for name in visible if _is_image_file(Path(name))]
        others = [name for name in visible if not _is_image_file(Path(name)) and not _is_companion(name)]
        if any(_is_dicom(Path(parent) / name) for name in others):
            found.append(Path(parent))
            folders[:] = []
        elif others:
            _log.warning("%d files in %s are neither images nor DICOM and are left out", len(others), parent)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


def _is_dicom(path: Path) -> bool:
    from monai_vggunet.dicom.headers import is_dicom_file  # DICOM alone needs it

    try:
        return is_dicom_file(path)
    except OSError:
        return False


def _is_companion(name: str) -> bool:
    """Whether a file accompanies images without being one; of any other its content tells."""
    return name.lower().endswith(COMPANION_ENDINGS) or name.upper() == "DICOMDIR"


def _is_image_file(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI_ENDINGS + PICTURE_ENDINGS)


def _stem(path: Path) -> str:
    """Return the name without an image ending; a folder's name as it is (it may hold dots)."""
    for ending in NIFTI_ENDINGS + PICTURE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _label_stem(path: Path) -> str:
    """Return a label's name as its image's: a file of DICOM SEG or RTSTRUCT may have an ending of its own."""
    return path.stem if path.suffix.lower() in DICOM_ENDINGS and not path.is_dir() else _stem(path)


def _relative_name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return "_".join([*parts[:-1], _stem(path)]) if parts else folder.name


def _require_unique_names(cases: Sequence[Case]) -> None:
    names = [case["case"] for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(f"several cases share a name, so their results would overwrite each other: {twice[:5]}")


def _with_patient(case: Case) -> Case:
    """Add the key that keeps one patient's series together: a hash for DICOM, else the case's own name."""
    if "patient" in case:
        return case
    if Path(case["image"]).is_dir():
        from monai_vggunet.dicom import patient_key  # DICOM alone needs it

        return case | {"patient": patient_key(case["image"])}
    return case | {"patient": case["case"]}
