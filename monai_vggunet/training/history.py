"""The curve of a training run, as `history.json` keeps it: the figures of each epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from monai_vggunet.atomic_files import write_json
from monai_vggunet.data import Datalist, trained_note
from monai_vggunet.errors import DatasetError
from monai_vggunet.json_files import read_json
from monai_vggunet.json_rules import (
    FLAG,
    MOST_COUNTED,
    Rule,
    number,
    optional,
    require_object,
    several,
    versioned,
    whole,
    without_version,
)

__all__ = ["LOSS", "PER_CLASS", "RATES", "History"]

PER_CLASS = "_per_class"  # ends the name of a figure that an entry gives for every class
LOSS, RATES = "loss", "learning_rates"
MOST_EPOCHS, MOST_FIGURES = 1_000_000, 10_000
LARGEST = float(np.finfo(np.float32).max)  # of a figure, which is computed in float32


@dataclass(frozen=True)
class History:
    """The content of `history.json`.

    Attributes:
        FORMAT: version of what the file's fields are and mean.
        epochs: an entry each, in their order: `epoch` (from 1), `seconds` of training until then, `loss`,
            `learning_rates` (of each parameter group), and, where the epoch was validated, the figures: each by its
            name as the mean over the classes, and under that name with `_per_class` for each class but the background.
            A figure that does not exist, such as the Dice of an absent class, is null.
        n_validation: number of validation cases; null where it is not known, as in files of format 1.
        n_trained: how many of them the model is trained on, or on whose patients: see `trained_note`.
        all_trained_known: whether it is known on which cases the model is trained.
    """

    FORMAT: ClassVar[int] = 2

    epochs: list[dict[str, Any]] = field(default_factory=list)
    n_validation: int | None = None
    n_trained: int = 0
    all_trained_known: bool = True

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """Read `history.json`; a bare list is its form from before there were versions.

        Raises:
            DatasetError: missing, or not as training writes it.
        """
        try:
            content = read_json(path)
            content = {"epochs": content} if isinstance(content, list) else without_version(content, cls.FORMAT)
            require_object(content, _FIELDS, ("epochs",), quoting=False)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{path} is not a curve as training writes it ({error}): restore it, or move it away"
            ) from error
        return cls(**content)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `history.json`, whole or not at all.

        Raises:
            OutputWriteError: the folder cannot be written, or the disk is full.
        """
        write_json(path, versioned(asdict(self), self.FORMAT))

    def with_epoch(self, entry: Mapping[str, Any]) -> History:
        """Return the curve with one more epoch, which replaces the same and later ones of an earlier attempt."""
        return replace(self, epochs=[*(e for e in self.epochs if e["epoch"] < entry["epoch"]), dict(entry)])

    def of_cases(self, datalist: Datalist) -> History:
        """Return the curve with what a run's list says of its validation cases."""
        n_validation, n_trained = len(datalist.validation), len(datalist.trained)
        return replace(
            self, n_validation=n_validation, n_trained=n_trained, all_trained_known=datalist.all_trained_known
        )

    @property
    def note(self) -> str:
        """What is to be said beside the figures of validation: see `trained_note`."""
        return trained_note(self.n_trained, self.n_validation or 0, self.all_trained_known)


_FIGURE = optional(number(-LARGEST, LARGEST))
_FIGURES = several(_FIGURE, 0, MOST_FIGURES)


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and len(entry) <= MOST_FIGURES
        and whole(1).holds(entry.get("epoch"))
        and number(0, LARGEST).holds(entry.get("seconds"))
        and all(
            (_FIGURES if name == RATES or name.endswith(PER_CLASS) else _FIGURE).holds(value)
            for name, value in entry.items()
        )
    )


_EPOCH = Rule(
    f"an object with numbers as 'epoch', 'seconds' and figures, and lists of them as '{RATES}' and '...{PER_CLASS}'",
    _is_entry,
)
_FIELDS: dict[str, Any] = {
    "epochs": several(_EPOCH, 0, MOST_EPOCHS),
    "n_validation": optional(whole(0, MOST_COUNTED)),
    "n_trained": whole(0, MOST_COUNTED),
    "all_trained_known": FLAG,
}
