"""Numbers and names of segments between a client and the model: clients number as they like, and send a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from monai_vggunet.errors import LabelContentError
from monai_vggunet.names import listed, shortened

__all__ = ["by_class_number", "descriptions_of", "segment_entries"]

Entry = tuple[str, int | None]  # a segment's name and idx
EXPECTED = 'expected a list of {"name": text, "idx": whole number or missing}, one per segment'


def by_class_number(labels: np.ndarray, described: Any, class_names: Sequence[str]) -> np.ndarray:
    """Return a submitted label in the model's own class numbers.

    3D Slicer writes the segments of its list as 1, 2, 3... whatever they are, and sends the list: without the segment
    of class 1, class 2 arrives as 1. Its `idx` also counts segments that were not written; other clients mean the
    number in the label by it. Every way to read the list that fits the label is followed; all must lead to one result.

    Args:
        labels: whole numbers of any shape, 0 where there is nothing.
        described: the client's `label_info`, `[{"name": ..., "idx": ...}, ...]` in the order of the segments, `idx`
            optional; None or empty where none was sent: the numbers then are class numbers, and stay.
        class_names: of the model, background first.

    Raises:
        LabelContentError: the description is malformed, names no class of the model where the label has voxels, fits
            the label in no way, or in two that lead to different classes.
    """
    if not described:
        return labels
    entries = segment_entries(described)
    present = [int(number) for number in np.unique(labels) if number != 0]
    ways = [
        {number: names[number] for number in present}
        for names in _readings(entries, class_names[0].casefold())
        if names.keys() >= set(present)
    ]
    if not ways:
        numbers, named = listed(map(str, present)), listed(shortened(name) for name, _ in entries)
        raise LabelContentError(
            f"the label holds the numbers [{numbers}], which its description ({named}) does not explain: describe "
            "every segment, with its number in the file as idx"
        )
    meanings = [[_class_number(way[number], class_names) for number in present] for way in ways]
    if any(meaning != meanings[0] for meaning in meanings):
        words = " or ".join(listed(f"{number} for {shortened(name)}" for number, name in way.items()) for way in ways)
        raise LabelContentError(
            f"the label's description can be read in two ways ({words}): put a segment 'background' last in the list"
        )
    classes = np.zeros(1 + max(present, default=0), dtype=np.uint8)
    for number, meaning in zip(present, meanings[0]):
        if meaning is None:
            expected = ", ".join(class_names[1:])
            name = shortened(ways[0][number])
            raise LabelContentError(
                f"the label has voxels of a segment {name}; expected {expected}: rename or remove it"
            )
        classes[number] = meaning
    return classes[labels.astype(np.int64)]


def descriptions_of(found: Sequence[int], described: Any, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a client's descriptions of the classes that a mask holds, in the order of their numbers.

    MONAI Label gives the first description to the first class that is there: where class 1 is not, class 2 would be
    stored under its name.

    Args:
        found: numbers of the classes in the mask.
        described: one entry per class, called as the class is, or else in the order of the classes, with or without
            the background; a class without an entry gets its name.
        class_names: of the model, background first.

    Raises:
        LabelContentError: the description is malformed.
    """
    names = [name for name, _ in segment_entries(described)]
    first = 0 if len(names) == len(class_names) else 1
    chosen = []
    for number in sorted(found):
        places = [place for place, name in enumerate(names) if _class_number(name, class_names) == number]
        place = places[0] if places else number - first
        fits = places or (place < len(names) and _class_number(names[place], class_names) is None)
        chosen.append(described[place] if fits else {"name": class_names[number]})
    return chosen


def segment_entries(described: Any) -> list[Entry]:
    """Return name and idx of every segment of a client's `label_info`.

    Raises:
        LabelContentError: it has another form, or two segments have one number.
    """
    if not isinstance(described, (list, tuple)):
        raise LabelContentError(f"label_info is of type {type(described).__name__}; {EXPECTED}")
    entries = []
    for segment in described:
        name, idx = (segment.get("name"), segment.get("idx")) if isinstance(segment, dict) else (None, None)
        if not isinstance(name, str):
            raise LabelContentError(f"label_info holds {shortened(segment)}; {EXPECTED}")
        if idx is not None and (not isinstance(idx, int) or isinstance(idx, bool)):
            kind = type(idx).__name__
            raise LabelContentError(f"the idx of segment {shortened(name)} is {shortened(idx)}, a {kind}; {EXPECTED}")
        entries.append((name, idx))
    numbers = [idx for _, idx in entries if idx is not None]
    if len(set(numbers)) < len(numbers):
        twice = Counter(numbers).most_common(1)[0][0]
        text = f"label_info gives the idx {shortened(twice)} to several segments; expected a number for each of its own"
        raise LabelContentError(text)
    return entries


def _readings(entries: list[Entry], background: str) -> list[dict[int, str]]:
    """Return what each number may mean, one mapping per way to read the list."""
    by_place = {place: name for place, (name, _) in enumerate(entries, 1)}
    numbers = [idx for _, idx in entries if idx is not None]
    if not numbers:
        from_background = entries[0][0].strip().casefold() in (background, "background")
        return [by_place, dict(enumerate(by_place.values()))] if from_background else [by_place]
    by_idx = {idx: name for name, idx in entries if idx is not None}
    counts = numbers[0] > 0 and all(a < b for a, b in pairwise(numbers))  # as 3D Slicer counts its segments
    return [by_place, by_idx] if counts else [by_idx]


def _class_number(name: str, class_names: Sequence[str]) -> int | None:
    """Return the class of a name, None if it has none; upper and lower case are one where that leaves no doubt."""
    if name in class_names:
        return list(class_names).index(name)
    alike = [number for number, known in enumerate(class_names) if known.casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None
