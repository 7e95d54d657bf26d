"""Which class number each segment or structure of an annotation becomes: by name, or by number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monai_vggunet.dicom.findings import Finding, FindingKind, note
from monai_vggunet.errors import ConfigurationError, LabelContentError
from monai_vggunet.privacy import clean_text

__all__ = ["MAX_CLASS", "Segment", "assign_classes", "same_name"]

MAX_CLASS = 255  # labels are uint8
_MOST_LISTED = 30  # names in one message; whole-body models write more than a hundred


@dataclass(frozen=True)
class Segment:
    """A segment of a DICOM SEG (SegmentNumber, SegmentLabel), or a structure of an RTSTRUCT (ROINumber, ROIName).

    Its name is free text, and cleaned where a message shows it.
    """

    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.number} {clean_text(self.name)!r}"


def assign_classes(
    segments: Sequence[Segment], class_map: Mapping[str, int] | None, source: str
) -> tuple[dict[int, int], list[Finding]]:
    """Return the class of each segment that has one, and findings about the others.

    A key of the map is a segment's name, without regard to case and outer blanks, or, where no segment is so named,
    its number. A name wins over a number. Class 0 is background. Without a map a single segment becomes class 1.

    Args:
        segments: what the object holds.
        class_map: name or number -> class number; None or empty for no map.
        source: the file, for messages.

    Returns:
        `(classes, notes)`: segment number -> class number from 1, and notes.

    Raises:
        LabelContentError: no segment is in the map, or there are several and no map; lists them.
        ConfigurationError: a class number out of range.

    Example:
        >>> classes, notes = assign_classes([Segment(1, "Liver"), Segment(2, "Table")], {"liver": 1}, "seg.dcm")
        >>> classes, notes[0].text
        ({1: 1}, "background, as the class map does not name them: 2 'Table'")
    """
    if not class_map:
        return _classes_without_map(segments, source), []
    for name, number in class_map.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_CLASS:
            raise ConfigurationError(
                f"class {number!r} of segment {name!r} is not a whole number from 0 to {MAX_CLASS}: correct it"
            )
    by_name = {same_name(str(name)): number for name, number in class_map.items()}
    names = {same_name(segment.name) for segment in segments}
    numbers = {key: value for key, value in by_name.items() if key not in names}
    found: dict[int, int] = {}
    used: set[str] = set()
    for segment in segments:
        for table, key in ((by_name, same_name(segment.name)), (numbers, str(segment.number))):
            if key in table:
                found[segment.number] = table[key]
                used.add(key)
                break
    classes = {number: value for number, value in found.items() if value > 0}
    if not classes:
        raise LabelContentError(
            f"{source} holds none of the segments that the class map names ({_listed(list(class_map))}); it holds "
            f"{_listed(segments)}: correct 'segments' in dataset.json, as in {_suggestion(segments)}"
        )
    notes: list[Finding] = []
    unnamed = [segment for segment in segments if segment.number not in found]
    if unnamed:
        text = f"background, as the class map does not name them: {_listed(unnamed)}"
        notes.append(note(FindingKind.SEGMENTS_LEFT_OUT, text, count=len(unnamed)))
    absent = [name for name, value in class_map.items() if value > 0 and same_name(str(name)) not in used]
    if absent:
        text = f"not in this object: {_listed(absent)}"
        notes.append(note(FindingKind.CLASSES_ABSENT, text, count=len(absent)))
    return classes, notes


def same_name(name: str) -> str:
    """Return what names are compared by: lower case, outer blanks dropped, inner ones counted as one."""
    return " ".join(name.split()).casefold()


def _classes_without_map(segments: Sequence[Segment], source: str) -> dict[int, int]:
    if len(segments) == 1:
        return {segments[0].number: 1}
    raise LabelContentError(
        f"{source} holds {len(segments)} segments, {_listed(segments)}, and nothing says which class each is: write "
        f"{_suggestion(segments)} into dataset.json; several names may share a number"
    )


def _suggestion(segments: Sequence[Segment]) -> str:
    names = list(dict.fromkeys(clean_text(segment.name).strip() or str(segment.number) for segment in segments))
    return '"segments": ' + json.dumps({name: k + 1 for k, name in enumerate(names[:_MOST_LISTED])}, ensure_ascii=False)


def _listed(items: Sequence[object]) -> str:
    text = ", ".join(str(item) for item in items[:_MOST_LISTED])
    return text + (f" and {len(items) - _MOST_LISTED} more" if len(items) > _MOST_LISTED else "")
