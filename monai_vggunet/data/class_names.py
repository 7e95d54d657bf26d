"""Names of classes as `dataset.json` states them, with the value that each has in a mask: gaps are allowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monai_vggunet.data.model_limits import LARGEST_LABEL, LONGEST_NAME, MOST_CLASSES
from monai_vggunet.dicom.annotations.segment_names import same_name
from monai_vggunet.errors import DatasetError
from monai_vggunet.names import shortened

__all__ = ["BACKGROUND", "require_distinct_names", "stated_classes"]

BACKGROUND = "background"

_NUMBER = re.compile(r"-?[0-9]+")
_EXPECTED = (
    'an object such as {"0": "background", "1": "liver"} (Decathlon) or {"background": 0, "liver": 1} (nnU-Net), with '
    "a whole number for each class"
)


def stated_classes(description: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each value in a mask, as `labels` in `dataset.json` states it; the class numbers follow.

    The first entry is the background: the value 0, or the value that is called so. If neither is listed, 0 is it.

    Args:
        description: content of `dataset.json`.

    Returns:
        Value -> name, background first, then by value; empty if `labels` is absent or empty. The position is the
        number of the class.

    Raises:
        DatasetError: `labels` has another form, states a number twice, or names that cannot be told apart.

    Example:
        >>> stated_classes({"labels": {"4": "enhancing", "1": "necrosis"}})
        {0: 'background', 1: 'necrosis', 4: 'enhancing'}
    """
    labels = description.get("labels") or {}
    if not isinstance(labels, Mapping):
        raise DatasetError(f"'labels' in dataset.json is {shortened(labels)}; expected {_EXPECTED}")
    pairs = _pairs(labels)
    twice = sorted(number for number, times in Counter(number for number, _ in pairs).items() if times > 1)
    if twice:
        raise DatasetError(
            f"'labels' in dataset.json gives several names to {', '.join(map(str, twice))}; expected one name for each "
            "number: keep one of them"
        )
    names = dict(sorted(pairs))
    if not names:
        return {}
    called_so = [number for number, name in names.items() if same_name(name) == BACKGROUND]
    background = 0 if 0 in names or not called_so else called_so[0]
    names = {background: names.get(background, BACKGROUND)} | names
    require_distinct_names(list(names.values()), "'labels' in dataset.json")
    if len(names) > MOST_CLASSES or any(abs(number) > LARGEST_LABEL for number in names):
        raise DatasetError(
            f"'labels' in dataset.json names {len(names)} classes from {min(names)} to {max(names)}; expected at most "
            f"{MOST_CLASSES}, with numbers of up to {LARGEST_LABEL}"
        )
    return names


def require_distinct_names(names: Sequence[str], source: str) -> None:
    """Refuse names of classes that are empty, too long, or the same for a reader; case and blanks do not count.

    Tables, records and DICOM objects are by name: of two classes of one name, one would be lost.

    Args:
        names: of all classes, background first.
        source: where they are stated, for the error.

    Raises:
        DatasetError: says which.
    """
    if any(not same_name(name) or len(name) > LONGEST_NAME for name in names):
        bad = next(name for name in names if not same_name(name) or len(name) > LONGEST_NAME)
        raise DatasetError(
            f"{source} names a class {shortened(bad)}; expected 1 to {LONGEST_NAME} characters, not blanks alone, for "
            "every class"
        )
    times = Counter(map(same_name, names))
    twice = [name for name in names if times[same_name(name)] > 1]
    if twice:
        raise DatasetError(
            f"{source} names several classes alike, {shortened(twice)}; expected a different name for every class "
            "(upper and lower case and blanks do not count): rename one, or give the same class number to both"
        )


def _pairs(labels: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the number and the name of each entry, whichever of the two is the key."""
    if all(_NUMBER.fullmatch(key) and isinstance(name, str) for key, name in labels.items()):
        return [(int(key), name) for key, name in labels.items()]
    if all(isinstance(number, int) and not isinstance(number, bool) for number in labels.values()):
        return [(number, name) for name, number in labels.items()]
    raise DatasetError(f"'labels' in dataset.json is {shortened(dict(labels))}; expected {_EXPECTED}")
