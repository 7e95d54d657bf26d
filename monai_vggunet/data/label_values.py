"""Which values of a mask are which classes: 0, 1, 2, ... themselves, two values such as 0 and 255, or as stated."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from monai_vggunet.errors import LabelContentError
from monai_vggunet.names import MOST_NAMED, shortened

__all__ = ["CLASS_NUMBERS", "LABEL_VALUES", "as_text", "decided_values", "dataset_line", "listed_values", "values_in"]

LABEL_VALUES = "label_values"  # the entry of a case whose data set states which value of its label is which class
CLASS_NUMBERS = "class_numbers"  # true in the metadata of a label that was drawn as classes, from DICOM

# More classes than data sets have without naming them (whole-body CT: 118). An image taken for a mask has more.
MOST_UNNAMED = 128

_NO_VALUE = "-"  # in a case's entry, for a class that its data set does not have

_log = logging.getLogger(__name__)


def decided_values(voxels: Mapping[int, int]) -> tuple[int, ...]:
    """Return the value of each class, background first, where no `dataset.json` states them.

    Values 0, 1, 2, ... without a gap are the classes. Two values, whatever they are, are background and foreground:
    0 is background, or else the lower one, and the log says so.

    Args:
        voxels: how many voxels of all training labels hold each value.

    Raises:
        LabelContentError: more values with gaps, or too many to be classes; lists them, and says what to write.

    Example:
        >>> decided_values({0: 900, 255: 100}), decided_values({0: 900, 1: 50, 2: 50})
        ((0, 255), (0, 1, 2))
    """
    found = sorted(voxels)
    if set(found) <= {0, 1} or (found == list(range(len(found))) and len(found) <= MOST_UNNAMED):
        return tuple(range(max(2, len(found))))
    if len(found) == 2:
        background, foreground = sorted(found, key=lambda value: (value != 0, value))
        _log.info(
            "the labels hold two values: %d is taken as background, %d as foreground (state %s in dataset.json if they "
            "mean something else)",
            background,
            foreground,
            dataset_line(found),
        )
        return background, foreground
    if len(found) > MOST_UNNAMED:
        raise LabelContentError(
            f"the training labels hold {len(found)} values, {listed_values(voxels)}; expected class numbers: these "
            "look like images, or like masks that were scaled or stored with losses. Correct them, or name every "
            "class under 'labels' in dataset.json"
        )
    raise LabelContentError(
        f"the training labels hold the values {listed_values(voxels)}; expected class numbers 0, 1, 2, ... without "
        f"gaps, or two values. If each is a class, write {dataset_line(found)} into dataset.json, with the classes' "
        "names; else correct the labels"
    )


def dataset_line(values: Sequence[int]) -> str:
    """Return the entry for `dataset.json` that names the class of each value.

    Example:
        >>> dataset_line([0, 1, 4])
        '"labels": {"0": "background", "1": "name of 1", "4": "name of 4"}'
    """
    background = 0 if 0 in values else min(values)
    names = {str(value): "background" if value == background else f"name of {value}" for value in sorted(values)}
    return f'"labels": {json.dumps(names)}'


def listed_values(voxels: Mapping[int, int]) -> str:
    """Return values with how many voxels hold them, the lowest first; of many the first alone.

    Example:
        >>> listed_values({255: 10, 0: 9000})
        '0 (9,000 voxels), 255 (10)'
    """
    values = sorted(voxels)
    unit = " voxel" if voxels[values[0]] == 1 else " voxels"
    counts = [f"{voxels[value]:,}{unit if value == values[0] else ''}" for value in values]
    more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
    return ", ".join(f"{value} ({count})" for value, count in zip(values[:MOST_NAMED], counts)) + more


def as_text(values: Sequence[int | None]) -> str:
    """Return the entry `label_values` of a case: the value of each class, background first; None if it has none."""
    return " ".join(_NO_VALUE if value is None else str(value) for value in values)


def values_in(case: Mapping[Any, object]) -> tuple[int | None, ...]:
    """Return the value of each class that a case's data set states; empty if it states none.

    A class of a model that the data set does not have has None.

    Raises:
        LabelContentError: the entry is not one that `as_text` gives.

    Example:
        >>> values_in({"label_values": "0 1 - 4"}), values_in({})
        ((0, 1, None, 4), ())
    """
    text = str(case.get(LABEL_VALUES) or "")
    try:
        return tuple(None if part == _NO_VALUE else int(part) for part in text.split())
    except ValueError as error:
        raise LabelContentError(
            f"label_values is {shortened(text)}; expected whole numbers, such as '0 1 4': restore datalist.json"
        ) from error
