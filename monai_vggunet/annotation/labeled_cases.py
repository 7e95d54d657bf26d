"""The cases an annotation server has labels for, as a training run's list with a validation set that stays the same."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data import CacheDataset

from monai_vggunet.atomic_files import PRIVATE, write_json
from monai_vggunet.data import Datalist, ModelSpec
from monai_vggunet.data.cases import Case
from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, split_ending
from monai_vggunet.json_files import read_json

__all__ = ["case_dataset", "labeled_cases", "study_name"]

_log = logging.getLogger(__name__)


def labeled_cases(
    listed: Iterable[Sequence[Mapping[str, str]]],
    split_file: str | os.PathLike[str],
    spec: ModelSpec,
    val_fraction: float = 0.2,
    seed: int = 0,
) -> Datalist:
    """Split the server's labeled cases: those drawn for validation once are kept for it in every later training.

    Whatever split the request asks for, the lists are put together first: a model can be compared with the one before
    only on the same cases. With one patient alone there is nothing to hold out: their cases are trained and validated
    on, and the split is drawn when there are more patients.

    Args:
        listed: lists of `{"image": path, "label": path}`, with a key `patient` where one is known.
        split_file: JSON with the patients kept for validation; written when it is missing or none of them is left.
        spec: of the model that is trained further: its classes.
        val_fraction: share of the patients to draw, at least one.
        seed: of the draw.

    Raises:
        DatasetError: no case has a label, two have one name, or the file is damaged.
    """
    cases = [_as_case(entry) for part in listed for entry in part]
    if not cases:
        raise DatasetError("no study has a submitted label yet: submit one, then train")
    if len({case["case"] for case in cases}) < len(cases):
        raise DatasetError("two labeled studies have the same name: rename one of them in the folder of studies")
    patients = sorted({case["patient"] for case in cases})
    held_out = _kept(Path(split_file)) & set(patients)
    if not held_out and len(patients) > 1:
        random.Random(seed).shuffle(patients)
        n_held_out = min(max(1, round(val_fraction * len(patients))), len(patients) - 1)
        held_out = set(patients[:n_held_out])
        write_json(split_file, {"patients": sorted(held_out)}, PRIVATE)
        _log.info("%d of %d patients are kept for validation from now on", len(held_out), len(patients))
    training = [case for case in cases if case["patient"] not in held_out]
    validation = [case for case in cases if case["patient"] in held_out]
    if not training or not validation:
        _log.warning("validating on the training cases themselves: label more patients for an honest comparison")
        training = validation = cases
    segments = {name: number for number, name in enumerate(spec.class_names) if number > 0}
    return Datalist(training, validation, list(spec.class_names), spec.preprocessing.modality, segments)


def case_dataset(data: Any, cases: Sequence[Case], **options: Any) -> CacheDataset:
    """Return the data set of `cases`; `data` is where a server puts its list, which `labeled_cases` has read."""
    return CacheDataset(data=cases, **options)


def study_name(image: str | os.PathLike[str]) -> str:
    """Return what the server calls a study, given its image: the file's name without its ending, or the folder's."""
    return split_ending(Path(image).name, (*NIFTI_ENDINGS, NRRD_ENDING))[0]


def _as_case(entry: Mapping[str, str]) -> Case:
    name = study_name(entry["image"])
    return {"image": entry["image"], "label": entry["label"], "case": name, "patient": entry.get("patient") or name}


def _kept(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    try:
        return set(read_json(path)["patients"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is no list of validation patients ({type(error).__name__}): restore it, or remove it"
        ) from error
