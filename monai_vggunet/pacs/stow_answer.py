"""What an archive says to an object that was sent to it by STOW-RS (PS3.18 10.5.3), and DICOM's statuses in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence

__all__ = ["StowAnswer", "failures_in", "read_answer", "status_in_words"]

REASONS = {  # PS3.18 table 10.5.3-1 and PS3.4 table B.2-1
    0x0110: "processing failure",
    0x0117: "invalid object instance",
    0x0122: "kind of object not supported",
    0x0124: "not authorized",
    0xA700: "out of resources",
    0xA900: "object does not match its class",
    0xC000: "cannot be understood",
    0xC122: "transfer syntax not supported",
}
LARGEST_STATUS = 0xFFFF  # VR US


@dataclass(frozen=True)
class StowAnswer:
    """What was said of each instance; nothing where the answer cannot be read.

    Attributes:
        failed: SOPInstanceUID (empty where none is said) and FailureReason.
        stored: SOPInstanceUIDs.
    """

    failed: tuple[tuple[str, Any], ...] = ()
    stored: tuple[str, ...] = ()

    @property
    def named(self) -> set[str]:
        """SOPInstanceUIDs that it speaks of at all."""
        return {*self.stored, *(uid for uid, _ in self.failed)}


def read_answer(answer: Dataset) -> StowAnswer:
    """Return what an answer says; any error means that it is not DICOM's model."""
    failed = [(_uid(item), item.get("FailureReason")) for item in _items(answer, "FailedSOPSequence")]
    return StowAnswer(tuple(failed), tuple(_uid(item) for item in _items(answer, "ReferencedSOPSequence")))


def failures_in(response: Any) -> StowAnswer | None:
    """Return what a refusing answer (`requests.Response`) lists as failed; None where it lists nothing."""
    try:
        answer = read_answer(Dataset.from_json(response.json()))
    except Exception:  # no JSON, or not DICOM's: the status alone speaks
        return None
    return answer if answer.failed else None


def status_in_words(code: Any) -> str:
    """Return a status (PS3.7 C) in words of the standard; whatever is no such number is not repeated.

    Example:
        >>> status_in_words(0xA701)
        'out of resources (0xA701)'
    """
    if not isinstance(code, int) or not 0 <= code <= LARGEST_STATUS:
        return "failure, for a reason that is none of DICOM's"
    general = REASONS.get(code) or REASONS.get(code & 0xFF00) or REASONS.get(code & 0xF000) or "failure"
    return f"{general} (0x{code:04X})"


def _items(answer: Dataset, keyword: str) -> list[Dataset]:
    """Return a sequence's items; what is no sequence says nothing."""
    value = answer.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID", ""))
