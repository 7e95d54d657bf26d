"""The elements and items within a sequence that states its length: counted, before pydicom parses them.

pydicom keeps such a sequence as bytes and parses it when it is asked for, out of reach of whoever reads the file. What
counts as what is therefore decided here as pydicom decides it, odd cases included: it takes any tag for an item's, and
implicit value representations within explicit ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

__all__ = ["ITEM_TAGS", "UnparsedSequence", "is_unparsed_sequence"]

ITEM_TAGS = (b"\xff\xfe\xe0\x00", b"\xfe\xff\x00\xe0")  # big, little endian
_SEQUENCE_END_TAGS = (b"\xff\xfe\xe0\xdd", b"\xfe\xff\xdd\xe0")
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED_LENGTH = 0xFFFFFFFF
_HEAD_BYTES = 8
# Honest files share some hundreds; damaged ones may have any number.
_MOST_TAGS_REMEMBERED = 1 << 12

_HEADS, _SHORTS, _LONGS = ((Struct(">" + code), Struct("<" + code)) for code in ("HHL", "H", "L"))
_VRS = frozenset(vr.value.encode() for vr in VR)
_LONG_VRS = frozenset(vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32)


class UnparsedSequence:
    """A sequence that pydicom keeps as bytes.

    Args:
        element: the sequence.
        count: called for each element, item and delimiter with the number of bytes since the one before it.
    """

    def __init__(self, element: RawDataElement, count: Callable[[int], None]) -> None:
        self._value, self._implicit, self._count = element.value or b"", element.is_implicit_VR, count
        order = int(element.is_little_endian)
        self._head, self._short, self._long = _HEADS[order], _SHORTS[order], _LONGS[order]
        self._sequence_end = _SEQUENCE_END_TAGS[order]
        self._last = 0

    def count(self) -> None:
        """Count them all.

        Raises:
            TooLargeError: of `count`, when they are too many.
            RecursionError: they are nested without end.
        """
        self._items(0, len(self._value), self._implicit)

    def _items(self, at: int, end: int, implicit: bool) -> int:
        """Count the items from a place on; return where they end."""
        while at + _HEAD_BYTES <= end:
            tag, length = self._met(at)
            at += _HEAD_BYTES
            if tag == _SEQUENCE_END:
                return at
            if length == _UNDEFINED_LENGTH:
                at = self._elements(at, end, implicit)
            else:
                self._elements(at, min(at + length, end), implicit)
                at += length
        return at

    def _elements(self, at: int, end: int, implicit: bool) -> int:
        """Count the elements of an item, and those within them; return where the item ends."""
        implicit = implicit or not _are_capitals(self._value[at + 4 : at + 6])
        while at + _HEAD_BYTES <= end:
            tag, length = self._met(at)
            vr = self._value[at + 4 : at + 6]
            at += _HEAD_BYTES
            if tag == _ITEM_END:
                return at
            if implicit or not (vr in _VRS or _are_capitals(vr)):
                vr = b""
            elif vr not in _LONG_VRS:
                (length,) = self._short.unpack_from(self._value, at - 2)
            elif at + 4 <= end:
                (length,) = self._long.unpack_from(self._value, at)
                at += 4
            is_sequence = length > 0 and _is_sequence(vr.decode("latin-1"), tag, self._value, at)
            if length != _UNDEFINED_LENGTH:
                if is_sequence:
                    self._items(at, min(at + length, end), implicit)
                at += length
            elif is_sequence:
                at = self._items(at, end, implicit)
            else:
                found = self._value.find(self._sequence_end, at, end)
                at = end if found < 0 else found + _HEAD_BYTES
        return at

    def _met(self, at: int) -> tuple[int, int]:
        """Count what begins at a place; return its tag and its length, if value representations are implicit."""
        group, element, length = self._head.unpack_from(self._value, at)
        self._count(at - self._last)
        self._last = at
        return group << 16 | element, length


def is_unparsed_sequence(element: RawDataElement) -> bool:
    """Whether pydicom may parse an element's value as a sequence when it is asked for."""
    return isinstance(element.value, bytes) and _is_sequence(element.VR or "", element.tag, element.value, 0)


def _is_sequence(vr: str, tag: int, data: bytes, at: int) -> bool:
    if vr in ("", "UN"):
        vr = _known_vr(tag) or ("SQ" if data.startswith(ITEM_TAGS, at) else "")
    return vr == "SQ"


@lru_cache(_MOST_TAGS_REMEMBERED)
def _known_vr(tag: int) -> str:
    """Return the value representation of the data dictionary (PS3.6); empty for unknown and private elements."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _are_capitals(vr: bytes) -> bool:
    return len(vr) == 2 and b"A" <= vr[:1] <= b"Z" and b"A" <= vr[1:] <= b"Z"
