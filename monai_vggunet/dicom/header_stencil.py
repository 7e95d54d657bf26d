"""Headers that repeat an earlier one byte for byte, but for a few elements, read by comparing instead of parsing.

Two headers with the same elements in the same order tell which of them vary. What lies between these is compared in
one piece: where it is the same, so is everything that walking from element to element would find in it, for a walk
depends on nothing but the bytes from the element on. The elements that vary are read one by one; any doubt, and the
header is parsed as if it were the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag

from monai_vggunet.dicom.plain_elements import PlainElements
from monai_vggunet.dicom.plain_header import (
    EXPLICIT_HEAD,
    HEADER_BYTES,
    IMPLICIT_HEAD,
    LONG,
    LONG_VRS,
    META_START,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    VR_NAMES,
    PlainHeader,
    has_prefix,
    header_bytes,
    parse_plain_header,
    parse_tail,
)

__all__ = ["HeaderReader"]

_MOST_STENCILS = 8  # an archive's files come series by series


class HeaderReader:
    """Read the wanted elements of files, quicker where their headers repeat those of files read before.

    Args:
        tags: elements to keep, from `wanted_tags`.
    """

    def __init__(self, tags: Mapping[int, BaseTag]) -> None:
        self.tags = tags
        self._stencils: tuple[_Stencil, ...] = ()
        self._last: tuple[bytes, PlainHeader] | None = None

    def read(self, path: Path) -> PlainHeader | None:
        """Return what `read_plain_header` returns.

        Raises:
            OSError: if the file cannot be read.
        """
        for count in HEADER_BYTES:
            data, whole = header_bytes(path, count)
            if not has_prefix(data):
                return None
            for stencil in self._stencils:
                header = stencil.read(data, self.tags, whole)
                if header is not None:
                    return header
            header = parse_plain_header(data, self.tags, whole)
            if header is not None:
                # Other threads may read at the same time; each of these is replaced in one step.
                last, self._last = self._last, (data, header)
                if last is not None:
                    self._learn(data, header, *last)
                return header
            if whole:
                break
        return None

    def _learn(self, data: bytes, header: PlainHeader, before: bytes, former: PlainHeader) -> None:
        """Make a stencil of two headers with the same elements, with all that varied among such headers before."""
        layout = _layout_of(data, header)
        twice = len(set(layout[2])) < len(layout[2])  # of an element that stands there twice the last counts
        if twice or layout != _layout_of(before, former):
            return
        kin = next((stencil for stencil in self._stencils if stencil.layout == layout), None)
        bounds, others = header.bounds, former.bounds
        varying = {
            n
            for n in range(len(bounds) - 1)
            if data[bounds[n] : bounds[n + 1]] != before[others[n] : others[n + 1]] or (kin and n in kin.varying)
        }
        if any(layout[2][n] == _TRANSFER_SYNTAX for n in varying):  # what stands in it decides how the rest is read
            return
        rest = tuple(stencil for stencil in self._stencils if stencil is not kin)
        self._stencils = (_Stencil(data, header, layout, frozenset(varying)), *rest)[:_MOST_STENCILS]


_TRANSFER_SYNTAX = b"\x02\x00\x10\x00"
# Transfer syntax, number of elements in group 0002, and the tags of all, as their bytes.
_Layout = tuple[str, int, tuple[bytes, ...]]


def _layout_of(data: bytes, header: PlainHeader) -> _Layout:
    return header.transfer_syntax, header.n_meta, tuple(data[start : start + 4] for start in header.bounds[:-1])


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes that repeat, and the element that varies behind them: its tag, and whether it is of group 0002."""

    repeated: bytes
    tag: int
    in_meta: bool


class _Stencil:
    """A header of which some elements vary."""

    def __init__(self, data: bytes, header: PlainHeader, layout: _Layout, varying: frozenset[int]) -> None:
        self.layout, self.varying = layout, varying
        self.syntax, self.explicit = header.transfer_syntax, header.elements.is_explicit
        self._parts: list[_Part] = []
        start = META_START
        for n in sorted(varying):
            place = header.bounds[n]
            group, element = EXPLICIT_HEAD(data, place)[:2]
            self._parts.append(_Part(data[start:place], group << 16 | element, n < header.n_meta))
            start = header.bounds[n + 1]
        self._end = data[start : header.bounds[-1]]
        loose = {part.tag for part in self._parts}
        self._elements, self._meta = header.elements.raw, header.meta.raw
        self._loose = tuple(tag for tag in self._elements if tag in loose)
        self._loose_meta = tuple(tag for tag in self._meta if tag in loose)

    def read(self, data: bytes, tags: Mapping[int, BaseTag], whole: bool) -> PlainHeader | None:
        """Return the header in these bytes if it is one of this kind."""
        offset, end = META_START, len(data)
        elements, meta = self._elements.copy(), self._meta.copy()
        for part in self._parts:
            if not data.startswith(part.repeated, offset):
                return None
            offset += len(part.repeated)
            if offset + 12 > end:
                return None
            found, name = meta if part.in_meta else elements, None
            start = offset + 8
            if part.in_meta or self.explicit:
                group, element, vr, length = EXPLICIT_HEAD(data, offset)
                if vr in SHORT_VRS:
                    name = VR_NAMES[vr]
                elif vr in LONG_VRS and part.tag not in found:
                    (length,) = LONG(data, start)
                    start += 4
                else:
                    return None
            else:
                group, element, length = IMPLICIT_HEAD(data, offset)
            offset = start + length
            if group << 16 | element != part.tag or length == UNDEFINED_LENGTH or offset > end:
                return None
            if part.tag in found:
                value = data[start:offset]
                if not part.in_meta and not length:
                    value = empty_value_for_VR(name, raw=True)
                implicit = name is None
                tag = found[part.tag].tag
                found[part.tag] = RawDataElement(tag, name, length, value, start, implicit, True)  # type: ignore[arg-type]
        if not data.startswith(self._end, offset):
            return None
        pixels = parse_tail(data, offset + len(self._end), self.explicit, tags)
        if pixels is None or (pixels[0] is None and not whole):
            return None
        known = PlainElements(elements, self.explicit, PlainElements(meta, True, None, (self, self._loose_meta)))
        known.repeats = (self, self._loose)
        return PlainHeader(known, self.syntax, *pixels)
