"""An archive's answer to an object sent by STOW-RS (PS3.18 10.5.3), and DICOM's status codes in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence

__all__ = ["StowAnswer", "failures_in", "read_answer", "status_in_words"]

REASONS = {  # PS3.18 table 10.5.3-1 and PS3.4 table B.2-1
    0x0110: "processing failure",
    0x0117: "invalid object instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0xA700: "out of resources",
    0xA900: "object does not match its class",
    0xC000: "cannot be understood",
    0xC122: "transfer syntax not supported",
}
LARGEST_STATUS = 0xFFFF  # VR US


@dataclass(frozen=True)
class StowAnswer:
    """What the answer says about each instance; empty if it cannot be read.

    Attributes:
        failed: SOPInstanceUID (empty where none is given) and FailureReason.
        stored: SOPInstanceUIDs.
    """

    failed: tuple[tuple[str, Any], ...] = ()
    stored: tuple[str, ...] = ()

    @property
    def named(self) -> set[str]:
        """All SOPInstanceUIDs that the answer mentions."""
        return {*self.stored, *(uid for uid, _ in self.failed)}


def read_answer(answer: Dataset) -> StowAnswer:
    """Return what an answer says; any error means that the answer does not follow DICOM's model."""
    failed = [(_uid(item), item.get("FailureReason")) for item in _items(answer, "FailedSOPSequence")]
    return StowAnswer(tuple(failed), tuple(_uid(item) for item in _items(answer, "ReferencedSOPSequence")))


def failures_in(response: Any) -> StowAnswer | None:
    """Return the failures that a refusal (`requests.Response`) lists; None if it lists none."""
    try:
        answer = read_answer(Dataset.from_json(response.json()))
    except Exception:  # no JSON, or not DICOM's: the HTTP status has to do
        return None
    return answer if answer.failed else None


def status_in_words(code: Any) -> str:
    """Return a status (PS3.7 C) in the standard's words; a value that is no status is not repeated.

    Example:
        >>> status_in_words(0xA701)
        'out of resources (0xA701)'
    """
    if not isinstance(code, int) or not 0 <= code <= LARGEST_STATUS:
        return "failure, with a reason that DICOM does not know"
    general = REASONS.get(code) or REASONS.get(code & 0xFF00) or REASONS.get(code & 0xF000) or "failure"
    return f"{general} (0x{code:04X})"


def _items(answer: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence's items, or none if the element is no sequence."""
    value = answer.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID", ""))
