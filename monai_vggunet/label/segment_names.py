"""Numbers and names of segments between a client and the model: clients number as they like, and send a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_vggunet.errors import LabelContentError

__all__ = ["by_class_number", "descriptions_of"]


def by_class_number(labels: np.ndarray, described: Any, class_names: Sequence[str]) -> np.ndarray:
    """Return a submitted label in the model's own class numbers.

    3D Slicer writes the segments of its list as 1, 2, 3... whatever they are, and sends the list: without the segment
    of class 1, class 2 arrives as 1. Its `idx` also counts segments that were not written; other clients mean the
    number in the label by it. Both readings are tried; what the numbers contradict is none.

    Args:
        labels: whole numbers of any shape, 0 where there is nothing.
        described: the client's `label_info`, `[{"name": ..., "idx": ...}, ...]` in the order of the segments, `idx`
            optional; None or empty where none was sent: the numbers then are class numbers, and stay.
        class_names: of the model, background first.

    Raises:
        LabelContentError: the description is malformed, names no class of the model where the label has voxels, fits
            the numbers in neither reading, or in both with different classes.
    """
    if not described:
        return labels
    entries = _entries(described)
    present = [int(number) for number in np.unique(labels) if number != 0]
    by_place = {place: name for place, (name, _) in enumerate(entries, 1)}
    by_idx = {idx: name for name, idx in entries if idx is not None}
    readings = [
        {number: names[number] for number in present} for names in (by_place, by_idx) if names.keys() >= set(present)
    ]
    if not readings:
        listed = ", ".join(repr(name) for name, _ in entries)
        raise LabelContentError(f"the label holds the numbers {present}, and is described as {listed}: which is which?")
    if readings[0] != readings[-1]:
        ways = " or ".join(", ".join(f"{number} for {name!r}" for number, name in way.items()) for way in readings)
        raise LabelContentError(f"the label's description can be read in two ways ({ways}): list 'background' last")
    classes = np.zeros(1 + max(present, default=0), dtype=np.uint8)
    for number, name in readings[0].items():
        classes[number] = _class_number(name, class_names)
    return classes[labels.astype(np.int64)]


def descriptions_of(
    found: Sequence[int], described: Sequence[dict[str, Any]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a client's descriptions of the classes that a mask holds, in the order of their numbers.

    MONAI Label gives the first description to the first class that is there: where class 1 is not, class 2 would be
    stored under its name.

    Args:
        found: numbers of the classes in the mask.
        described: one entry per class, called as the class is, or else in the order of the classes; a class without
            an entry gets its name.
        class_names: of the model, background first.
    """
    known = [name.casefold() for name in class_names]
    names = [str(entry.get("name", "")).strip().casefold() for entry in described]
    chosen = []
    for number in sorted(found):
        place = names.index(known[number]) if known[number] in names else number - 1
        fits = place < len(names) and (names[place] == known[number] or names[place] not in known)
        chosen.append(described[place] if fits else {"name": class_names[number]})
    return chosen


def _entries(described: Any) -> list[tuple[str, int | None]]:
    """Return name and idx of every segment."""
    entries = []
    for segment in described if isinstance(described, (list, tuple)) else [described]:
        name, idx = (segment.get("name"), segment.get("idx")) if isinstance(segment, dict) else (None, None)
        if not isinstance(name, str) or not (idx is None or (isinstance(idx, int) and not isinstance(idx, bool))):
            raise LabelContentError(f'label_info holds {segment!r}; expected a list of {{"name": ..., "idx": ...}}')
        entries.append((name, idx))
    return entries


def _class_number(name: str, class_names: Sequence[str]) -> int:
    """Return the class of a name; upper and lower case are one where that leaves no doubt."""
    if name in class_names:
        return list(class_names).index(name)
    alike = [number for number, known in enumerate(class_names) if known.casefold() == name.strip().casefold()]
    if len(alike) != 1:
        known = ", ".join(class_names[1:])
        raise LabelContentError(f"the label has voxels of a segment {name!r}; expected {known}: rename or remove it")
    return alike[0]
