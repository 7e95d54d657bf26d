"""What a record of a study has to look like where others read it: a folder of results may come from anyone."""

from __future__ import annotations

from typing import Any

from monai_vggunet.json_rules import Rule, mapping, number, optional, require_object, several, whole

__all__ = ["require_record"]

LONGEST_TEXT = 100_000  # characters; an error may list what lies in a folder
MOST_ENTRIES = 10_000  # findings, flags, files
LARGEST = 1e12

_ANY_TEXT = Rule(f"text of up to {LONGEST_TEXT:,} characters", lambda v: isinstance(v, str) and len(v) <= LONGEST_TEXT)
_TEXTS = several(_ANY_TEXT, 0, MOST_ENTRIES)
_NUMBER = number(-LARGEST, LARGEST)
_OBJECT: tuple[dict[str, Any], tuple[str, ...]] = ({}, ())
_SOURCE = {
    "modality": _ANY_TEXT,
    "study_uid": _ANY_TEXT,
    "series_uid": _ANY_TEXT,
    "shape": several(whole(0), 0, 8),
    "spacing_mm": several(_NUMBER, 0, 3),
    "findings": _TEXTS,
}
_FIELDS: dict[str, Any] = {
    "case": _ANY_TEXT,
    "status": _ANY_TEXT,
    "kind": _ANY_TEXT,
    "error": _ANY_TEXT,
    "source": (_SOURCE, ()),
    "volumes_ml": mapping(_NUMBER, MOST_ENTRIES),
    "confidence": mapping(optional(_NUMBER), MOST_ENTRIES),
    "flags": _TEXTS,
    "model": (
        {"weights_sha256": _ANY_TEXT, "engine": _ANY_TEXT, "versions": mapping(_ANY_TEXT, MOST_ENTRIES)},
        (),
    ),
    "seconds": _NUMBER,
    "finished": _ANY_TEXT,
    "identity": ({"input_sha256": _ANY_TEXT, "settings": ({"reader": _OBJECT}, ())}, ()),
    "outputs": _TEXTS,
    "files": mapping(_ANY_TEXT, MOST_ENTRIES),
}


def require_record(content: Any) -> None:
    """Refuse what is no record as `study_record` makes it; other fields may be there too, as of a later version.

    Args:
        content: of `record.json`.

    Raises:
        ValueError: names the field, what kind of value it has and what was expected.
    """
    require_object(content, _FIELDS, open_end=True, quoting=False)
