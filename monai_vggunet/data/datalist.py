"""A data set's folder, or its Decathlon-style `dataset.json`, as lists of cases split by patient."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_vggunet.errors import DatasetError
from monai_vggunet.files import write_json

__all__ = ["Datalist", "annotated_cases", "evaluation_datalist", "image_cases", "load_datalist"]

NIFTI_ENDINGS = (".nii.gz", ".nii")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DATALIST_NAME = "datalist.json"  # the split, beside the checkpoints

Case = dict[str, str]  # keys: image, label (absent without annotation), case (a unique name), patient (a key, no PHI)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Datalist:
    """The cases of a training run: who trains, who validates, and what the labels mean.

    Attributes:
        training, validation: cases as dictionaries with `image`, `label`, `case` and `patient`.
        class_names: name of every class number, background first; empty when the data set does not say.
        modality: `CT`, `MR`, ... as the data set states it; empty when it does not.
    """

    training: list[Case]
    validation: list[Case]
    class_names: list[str] = field(default_factory=list)
    modality: str = ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the split as JSON; under `torchrun` call it on one process alone."""
        write_json(path, asdict(self))


def load_datalist(
    dataset_dir: str | os.PathLike[str],
    val_fraction: float = 0.2,
    seed: int = 0,
    max_training_cases: int | None = None,
) -> Datalist:
    """Find a data set's annotated cases and split them by patient, the same way for the same seed.

    `dataset.json` (Medical Segmentation Decathlon, or nnU-Net's names of labels) is read when it is there; its
    `validation` list, if any, is taken as it is. Otherwise `images/` holds NIfTI files, pictures or one folder per
    DICOM series, and `labels/` a file of the same name for each.

    Args:
        dataset_dir: the folder.
        val_fraction: share of the patients kept for validation, at least one.
        seed: of the split.
        max_training_cases: keep the first n training cases alone (for few-sample studies).

    Raises:
        DatasetError: the folder is missing or empty, an image has no label, a listed file is missing.
    """
    cases, description = annotated_cases(dataset_dir)
    given = [c for c in cases if c.get("split") == "validation"]
    if given:
        training, validation = [c for c in cases if c.get("split") != "validation"], given
        shared = {c["patient"] for c in training} & {c["patient"] for c in validation}
        if shared:
            _log.warning("%d patients stand in both the training and the validation list of dataset.json", len(shared))
    else:
        training, validation = _split_by_patient(cases, val_fraction, seed)
    training = training[:max_training_cases]
    for case in cases:
        case.pop("split", None)
    return Datalist(training, validation, _class_names(description), _modality(description))


def evaluation_datalist(
    dataset_dir: str | os.PathLike[str], split_file: str | os.PathLike[str], split: str = "unseen"
) -> Datalist:
    """Choose the cases a model is judged on.

    Args:
        dataset_dir: the folder of annotated cases.
        split_file: `datalist.json` of the training run; it may be missing when the model came from elsewhere.
        split: `unseen` leaves out the cases the model was trained on, `all` takes them too.

    Returns:
        A list whose `training` and `validation` both hold the cases.

    Raises:
        DatasetError: no case is left.
    """
    cases, description = annotated_cases(dataset_dir)
    known: set[str] = set()
    if split == "unseen" and Path(split_file).is_file():
        listed = json.loads(Path(split_file).read_text(encoding="utf-8"))
        held_out = {case["image"] for case in listed["validation"]}
        known = {case["image"] for case in listed["training"]} - held_out
    elif split not in ("unseen", "all"):
        raise DatasetError(f"split is {split!r}; expected 'unseen' or 'all'")
    chosen = [case for case in cases if case["image"] not in known]
    if not chosen:
        raise DatasetError(
            f"the model was trained on all {len(cases)} cases of {dataset_dir}: pass --dataset_dir with others, or "
            "--split all to see how well it fits them"
        )
    _log.info("judging %d cases; %d that the model was trained on are left out", len(chosen), len(cases) - len(chosen))
    return Datalist(chosen, chosen, _class_names(description), _modality(description))


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
            f"{root} holds no annotated case: expected images/ and labels/ with one file (or one folder with a DICOM "
            "series) per case, or a dataset.json with a 'training' list"
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
    return content


def _listed_cases(root: Path, description: dict[str, Any]) -> list[Case]:
    cases = []
    for split in ("training", "validation"):
        for number, entry in enumerate(description.get(split, [])):
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
    label_of = {_stem(path): path for path in labels.iterdir() if not path.name.startswith(".")}
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
    """Return image files, and the folders that directly hold other files (taken for DICOM), in sorted order."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in files if not name.startswith("."))
        pictures = [Path(parent) / name for name in visible if _is_image_file(Path(name))]
        others = [name for name in visible if not _is_image_file(Path(name)) and not name.endswith((".json", ".txt"))]
        found += pictures
        if others:
            found.append(Path(parent))
    return found


def _is_image_file(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI_ENDINGS + PICTURE_ENDINGS)


def _stem(path: Path) -> str:
    """Return the name without an image ending; a folder's name as it is (it may hold dots)."""
    for ending in NIFTI_ENDINGS + PICTURE_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


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


def _split_by_patient(cases: list[Case], val_fraction: float, seed: int) -> tuple[list[Case], list[Case]]:
    if not 0.0 <= val_fraction < 1.0:
        raise DatasetError(f"val_fraction is {val_fraction}; expected a share from 0 up to, but not including, 1")
    patients = sorted({case["patient"] for case in cases})
    if len(patients) == 1 or val_fraction == 0.0:
        _log.warning(
            "validating on the training cases themselves (%d patient(s), val_fraction %g): the figures below say how "
            "well the model fits, not how well it will do on others",
            len(patients),
            val_fraction,
        )
        return cases, cases
    random.Random(seed).shuffle(patients)
    held_out = set(patients[: max(1, round(val_fraction * len(patients)))])
    training = [case for case in cases if case["patient"] not in held_out]
    return training, [case for case in cases if case["patient"] in held_out]


def _class_names(description: dict[str, Any]) -> list[str]:
    """Read `{"0": "background", "1": "liver"}` (Decathlon) or `{"background": 0, "liver": 1}` (nnU-Net)."""
    labels = description.get("labels") or {}
    if all(str(key).isdigit() for key in labels):
        by_number = {int(key): str(name) for key, name in labels.items()}
    elif all(isinstance(value, int) for value in labels.values()):
        by_number = {value: name for name, value in labels.items()}
    else:
        raise DatasetError(f"'labels' in dataset.json is {labels!r}; expected class numbers and names, 0 = background")
    if by_number and sorted(by_number) != list(range(len(by_number))):
        raise DatasetError(f"the class numbers in dataset.json are {sorted(by_number)}; expected 0, 1, 2, ... no gaps")
    return [by_number[number] for number in sorted(by_number)]


def _modality(description: dict[str, Any]) -> str:
    channels = description.get("modality") or description.get("channel_names") or {}
    first = str(channels.get("0", "")) if isinstance(channels, dict) else str(channels)
    return {"MRI": "MR"}.get(first.upper(), first.upper())
