"""How well a model did on the evaluated cases, as `metrics.json` keeps it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from monai_vggunet.atomic_files import write_json
from monai_vggunet.data import trained_note
from monai_vggunet.errors import DatasetError
from monai_vggunet.json_files import read_json
from monai_vggunet.json_rules import (
    FLAG,
    MOST_COUNTED,
    Rule,
    mapping,
    number,
    optional,
    require_object,
    several,
    versioned,
    whole,
    without_version,
)
from monai_vggunet.training.history import LARGEST

__all__ = ["Evaluation"]

MOST_CASES, MOST_NAMES = 1_000_000, 10_000  # names of classes and of metrics


@dataclass(frozen=True)
class Evaluation:
    """The content of `metrics.json`: figures by the name of their metric, such as `val_mean_dice`.

    A figure that does not exist, such as the Dice of an absent class, is null.

    Attributes:
        FORMAT: version of what the file's fields are and mean.
        n_cases: how many were evaluated.
        mean: metric -> mean over the classes.
        per_class: metric -> class -> mean over the cases; without the background.
        per_case: case, by its pseudonym -> metric -> class -> figure.
        trained: pseudonyms of the cases that the model was trained on, or on whose patients.
        all_trained_known: whether it is known on which cases the model was trained; false in files of format 1, which
            did not tell.
    """

    FORMAT: ClassVar[int] = 2

    n_cases: int
    mean: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    per_case: dict[str, dict[str, dict[str, float | None]]]
    trained: list[str] = field(default_factory=list)
    all_trained_known: bool = False

    @property
    def note(self) -> str:
        """What is to be said beside the figures: see `trained_note`."""
        return trained_note(len(self.trained), self.n_cases, self.all_trained_known)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read `metrics.json`.

        Raises:
            DatasetError: missing, or not as an evaluation writes it.
        """
        try:
            content = without_version(read_json(path), cls.FORMAT)
            require_object(content, _FIELDS, _REQUIRED, quoting=False)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path} is not as an evaluation writes it ({error}): restore it, or evaluate again"
            ) from error
        return cls(**content)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `metrics.json`, whole or not at all.

        Raises:
            OutputWriteError: the folder cannot be written, or the disk is full.
        """
        write_json(path, versioned(asdict(self), self.FORMAT))


_FIGURES = mapping(optional(number(-LARGEST, LARGEST)), MOST_NAMES)
_BY_METRIC = mapping(_FIGURES, MOST_NAMES)
_FIELDS: dict[str, Any] = {
    "n_cases": whole(0, MOST_COUNTED),
    "mean": _FIGURES,
    "per_class": _BY_METRIC,
    "per_case": mapping(_BY_METRIC, MOST_CASES),
    "trained": several(Rule("text", lambda value: isinstance(value, str)), 0, MOST_CASES),
    "all_trained_known": FLAG,
}
_REQUIRED = ("n_cases", "mean", "per_class", "per_case")
