"""The cases of a training run: a data set split by patient, and the cases a model is evaluated on."""

from __future__ import annotations

import logging
import os
import random
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from monai_vggunet.atomic_files import PRIVATE, write_json
from monai_vggunet.data.cases import LONGEST_LIST, Case, annotated_cases
from monai_vggunet.data.class_codes import resolve_class_codes
from monai_vggunet.data.class_names import require_distinct_names, stated_classes
from monai_vggunet.data.modality import modality_name
from monai_vggunet.dicom.annotations.segment_names import MAX_CLASS, same_name
from monai_vggunet.errors import DatasetError
from monai_vggunet.json_files import read_json
from monai_vggunet.json_rules import (
    FLAG,
    MOST_COUNTED,
    Rule,
    also,
    mapping,
    require_object,
    several,
    versioned,
    whole,
    without_version,
)
from monai_vggunet.names import counted
from monai_vggunet.privacy import know_listed, protect_logs, write_down

__all__ = ["Datalist", "annotated_datalist", "load_datalist"]

_NAME = Rule("text", lambda value: isinstance(value, str))
_CASE = also(
    mapping(_NAME, 64), "with 'image', 'label' and 'case'", lambda case: {"image", "label", "case"} <= case.keys()
)
_CASES = several(_CASE, 0, MOST_COUNTED)
_FIELDS: dict[str, Any] = {
    "training": _CASES,
    "validation": _CASES,
    "class_names": several(_NAME, 0, MAX_CLASS + 1),
    "modality": _NAME,
    "segments": mapping(whole(0, MAX_CLASS), MOST_COUNTED),
    "class_codes": Rule("an object", lambda value: isinstance(value, dict)),  # see resolve_class_codes
    "also_trained": _CASES,
    "all_trained_known": FLAG,
    "trained": several(_NAME, 0, MOST_COUNTED),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Datalist:
    """The cases for training and for validation, and what their labels mean; content of `datalist.json`.

    Attributes:
        FORMAT: version of what the file's fields are and mean.
        training, validation: cases as dictionaries with `image`, `label`, `case` and `patient`; where it is known, with
            `content` (see `image_digest`).
        class_names: name of every class number, background first; empty when the data set does not say.
        modality: `CT`, `MR`, ... as the data set states it; empty when it does not.
        segments: of labels in DICOM SEG or RTSTRUCT, name (or number) of a segment or structure -> class number; as
            `segments` in dataset.json has it, else the class names themselves; empty when the data set says neither.
        class_codes: what the classes mean, by class name, as `codes` in dataset.json states it: see
            `resolve_class_codes`.
        also_trained: cases besides `training` that the model was trained on, before this run.
        all_trained_known: whether these are all cases that it was trained on.
        trained: names of the validation cases that the model is trained on, or on whose patients; see `record_cases`.
    """

    FORMAT: ClassVar[int] = 2  # 1 had none of the last three

    training: list[Case]
    validation: list[Case]
    class_names: list[str] = field(default_factory=list)
    modality: str = ""
    segments: dict[str, int] = field(default_factory=dict)
    class_codes: dict[str, Any] = field(default_factory=dict)
    also_trained: list[Case] = field(default_factory=list)
    all_trained_known: bool = True
    trained: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | os.PathLike[str], remedy: str = "pass --dataset_dir") -> Datalist:
        """Read `datalist.json`, as a training run writes it beside its model; names of files need not be UTF-8.

        Args:
            path: the file.
            remedy: what helps besides restoring the file, for the error.

        Raises:
            DatasetError: missing, or not a list of cases as training writes it.
        """
        try:
            content = without_version(read_json(path, LONGEST_LIST, errors="surrogateescape"), cls.FORMAT)
            require_object(content, _FIELDS, ("training", "validation"), quoting=False)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path} is not a list of cases as training writes it ({error}): restore it, or {remedy}"
            ) from error
        listed = cls(**content)
        know_listed([*listed.training, *listed.validation, *listed.also_trained])
        return listed

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `datalist.json`, which only its owner may read; under `torchrun`, call it on one process only.

        The pseudonyms of the cases are written down too, see `keep_names`.

        Raises:
            OutputWriteError: the folder cannot be written, or the disk is full.
        """
        write_down((case["case"], case["image"]) for case in (*self.training, *self.validation))
        write_json(path, versioned(asdict(self), self.FORMAT), PRIVATE)


def load_datalist(
    dataset_dir: str | os.PathLike[str],
    val_fraction: float = 0.2,
    seed: int = 0,
    max_training_cases: int | None = None,
) -> Datalist:
    """Find a data set's annotated cases and split them by patient, the same way for the same seed.

    `dataset.json` (Medical Segmentation Decathlon, or nnU-Net's names of labels) is read when it is there; its
    `validation` list, if any, is taken as it is. Otherwise `images/` holds NIfTI files, pictures or one folder per
    DICOM series, and `labels/` a file of the same name for each (NIfTI, DICOM SEG or RTSTRUCT), or a folder with one.

    Args:
        dataset_dir: the folder.
        val_fraction: share of the patients kept for validation, at least one.
        seed: of the split.
        max_training_cases: keep only the first n training cases (for few-sample studies).

    Raises:
        DatasetError: the folder is missing or empty, an image has no label, a listed file is missing.
    """
    protect_logs()
    cases, description = annotated_cases(dataset_dir)
    given = [c for c in cases if c.get("split") == "validation"]
    if given:
        training, validation = [c for c in cases if c.get("split") != "validation"], given
        shared = {c["patient"] for c in training} & {c["patient"] for c in validation}
        if shared:
            count = counted(len(shared), "patient")
            _log.warning("both the training and the validation list of dataset.json hold %s", count)
    else:
        training, validation = _split_by_patient(cases, val_fraction, seed)
    if max_training_cases is not None and max_training_cases < 1:
        raise DatasetError(f"max_training_cases is {max_training_cases}; expected at least 1, or None for all")
    if not training:
        raise DatasetError(
            f"dataset.json in {dataset_dir} lists no training case; expected its list 'training' to hold some"
        )
    training = training[:max_training_cases]
    for case in cases:
        case.pop("split", None)
    return Datalist(training, validation, *_meaning(description))


def annotated_datalist(dataset_dir: str | os.PathLike[str]) -> Datalist:
    """Return a data set's annotated cases without a split: `training` and `validation` both hold all of them.

    Raises:
        DatasetError: see `load_datalist`.
    """
    cases, description = annotated_cases(dataset_dir)
    for case in cases:
        case.pop("split", None)
    return Datalist(cases, cases, *_meaning(description))


def _split_by_patient(cases: list[Case], val_fraction: float, seed: int) -> tuple[list[Case], list[Case]]:
    if not 0.0 <= val_fraction < 1.0:
        raise DatasetError(f"val_fraction is {val_fraction}; expected a share from 0 up to, but not including, 1")
    patients = sorted({case["patient"] for case in cases})
    if len(patients) == 1 or val_fraction == 0.0:
        _log.warning(
            "validating on the training cases themselves (%s, val_fraction %g): the figures below say how "
            "well the model fits, not how well it will do on others",
            counted(len(patients), "patient"),
            val_fraction,
        )
        return cases, cases
    random.Random(seed).shuffle(patients)
    n_held_out = min(max(1, round(val_fraction * len(patients))), len(patients) - 1)
    held_out = set(patients[:n_held_out])
    training = [case for case in cases if case["patient"] not in held_out]
    return training, [case for case in cases if case["patient"] in held_out]


def _meaning(description: dict[str, Any]) -> tuple[list[str], str, dict[str, int], dict[str, Any]]:
    """Return the class names, the modality, the class of each segment and the codes that `dataset.json` states."""
    stated = stated_classes(description)
    names = list(stated.values())
    segments = _segments(description, list(stated))
    if not names and segments:  # the first name of each class
        names = [
            "background",
            *(next(k for k, v in segments.items() if v == n) for n in range(1, max(segments.values()) + 1)),
        ]
        require_distinct_names(names, "'segments' in dataset.json")
    elif not segments:
        segments = {name: number for number, name in enumerate(names) if number > 0}
    codes = description.get("codes") or {}
    return names, _modality(description), segments, resolve_class_codes(codes, names) if names else codes


def _segments(description: dict[str, Any], values: list[int]) -> dict[str, int]:
    """Read `{"Liver": 1, "Liver tumor": 2, "Spleen": 0}`; 0 makes a segment background.

    Args:
        description: content of `dataset.json`.
        values: the numbers that its `labels` state, in the order of the classes; empty without them.
    """
    segments = description.get("segments") or {}
    if not isinstance(segments, dict) or not all(
        isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in segments.values()
    ):
        raise DatasetError(
            f"'segments' in dataset.json is {segments!r}; expected an object with the name of a segment or structure "
            'and its class number, such as {"Liver": 1, "Liver tumor": 2}'
        )
    if not segments:
        return {}
    plain = [same_name(name) for name in segments]
    twice = sorted({name for name in plain if plain.count(name) > 1})
    if twice:
        raise DatasetError(
            f"'segments' in dataset.json names {', '.join(twice)} more than once (upper and lower case count as the "
            "same): keep one entry of each"
        )
    numbers, known_numbers = set(segments.values()) - {0}, set(values or range(MAX_CLASS + 1))
    if not numbers or numbers - known_numbers:
        without_gaps = values == list(range(len(values)))
        classes = f"0 to {len(values) - 1}" if without_gaps else ", ".join(map(str, values))
        known = f"'labels' names the classes {classes}" if values else f"a label holds numbers up to {MAX_CLASS}"
        raise DatasetError(
            f"'segments' in dataset.json gives the classes {sorted(numbers)}, but {known}: correct one of the two"
        )
    if not values and numbers != set(range(1, max(numbers) + 1)):
        raise DatasetError(
            f"'segments' in dataset.json gives the classes {sorted(numbers)}; expected 1, 2, ... without gaps, or "
            "'labels' that name the others"
        )
    class_of = {value: number for number, value in enumerate(values)}
    return {name: class_of.get(number, 0) if values else number for name, number in segments.items()}


def _modality(description: dict[str, Any]) -> str:
    """Return the first channel's modality as DICOM names it; empty when it is not stated."""
    channels = description.get("modality") or description.get("channel_names") or {}
    return modality_name(str(channels.get("0", "")) if isinstance(channels, dict) else str(channels))
