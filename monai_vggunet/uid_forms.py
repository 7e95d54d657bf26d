"""What is a DICOM UID (PS3.5 9.1), asked wherever one becomes part of an address or of a folder's name."""

from __future__ import annotations

import re

__all__ = ["UID_PATTERN", "is_archive_uid", "is_uid"]

_LONGEST_UID = 64  # characters
# Without the rules on leading zeros, which hospitals break.
UID_PATTERN = rf"(?=.{{1,{_LONGEST_UID}}}\Z)[0-9]+(\.[0-9]+)*"

_UID = re.compile(UID_PATTERN)
_ARCHIVE_UID = re.compile(rf"(?=.{{1,{_LONGEST_UID}}}\Z)[0-9A-Za-z][0-9A-Za-z._-]*")


def is_uid(text: str, fewest_components: int = 1) -> bool:
    """Whether a text has the form of a UID: numbers between dots, at most 64 characters.

    Args:
        text: any text.
        fewest_components: how many numbers it must have; outside of elements for UIDs, a few may be a date.

    Example:
        >>> is_uid("1.2.840.10008.1.1"), is_uid("1..2"), is_uid("12.03.1956", fewest_components=5)
        (True, False, False)
    """
    return _UID.fullmatch(text) is not None and text.count(".") >= fewest_components - 1


def is_archive_uid(text: str) -> bool:
    """Whether an archive may list something under a text: some have letters in UIDs; no path climbs by them."""
    return _ARCHIVE_UID.fullmatch(text) is not None
