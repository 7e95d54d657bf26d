"""The wanted elements of a plain file's header, several times faster than a general parser finds them.

Plain means what nearly every stored image is: preamble and prefix, little endian, not deflated, known value
representations, whole elements. Everything else is left to pydicom, and so is the meaning of every value: the elements
found here are pydicom's raw elements.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from struct import error as StructError

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag

from monai_vggunet.dicom.headers.dicom_files import META_START, has_prefix
from monai_vggunet.dicom.headers.plain_elements import CHARACTER_SET, PlainElements
from monai_vggunet.regular_files import open_regular

__all__ = [
    "PlainHeader",
    "parse_plain_header",
    "read_plain_header",
    "wanted_tags",
]

_META_GROUP = 0x0002

# Nearly every classic header ends within the first of these; one that exceeds the second need not be fast.
_HEADER_BYTES = (1 << 14, 1 << 20)

_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
# Encapsulated pixel data: JPEG, JPEG-LS, JPEG 2000, HTJ2K (4.x) and RLE (5); the header is explicit little endian.
_ENCAPSULATED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")

_TRANSFER_SYNTAX = 0x00020010
_PIXEL_GROUP = 0x7FE0
_PIXEL_DATA = 0x7FE00010
_OTHER_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009})  # floating point
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITER_GROUP = 0xFFFE
_UNDEFINED_LENGTH = 0xFFFFFFFF

# PS3.5 7.1.2: these have two reserved bytes and a length of four bytes.
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_VR_NAMES = {vr: vr.decode() for vr in (*_SHORT_VRS, *_LONG_VRS)}

_EXPLICIT_HEAD = Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD = Struct("<HHL").unpack_from
_LONG = Struct("<L").unpack_from


@dataclass(frozen=True, slots=True)
class PlainHeader:
    """What a plain file says before its pixels.

    Attributes:
        elements: the wanted elements; `elements.file_meta` holds those of group 0002.
        transfer_syntax: UID.
        pixel_offset: where the value of PixelData begins in the file; None without PixelData.
        pixel_length: its length in bytes as written; None if it is undefined, as of encapsulated frames.
    """

    elements: PlainElements
    transfer_syntax: str
    pixel_offset: int | None
    pixel_length: int | None


def read_plain_header(path: Path, tags: Mapping[int, BaseTag]) -> PlainHeader | None:
    """Read the wanted elements of one file, or None if the file is not plain.

    Args:
        path: any file.
        tags: elements to keep, from `wanted_tags`.

    Raises:
        OSError: if the file cannot be read.
    """
    for count in _HEADER_BYTES:
        data, whole = _header_bytes(path, count)
        header = parse_plain_header(data, tags, whole)
        if header is not None or whole or not has_prefix(data):
            return header
    return None


def _header_bytes(path: Path, count: int) -> tuple[bytes, bool]:
    """Return a file's first bytes, and whether they are all of it.

    Raises:
        OSError: if the file cannot be read.
    """
    with open_regular(path) as stream:
        data = stream.read(count) or b""
    return data, len(data) < count


def wanted_tags(keywords: Collection[str], private: Iterable[BaseTag] = ()) -> dict[int, BaseTag]:
    """Return the tags of DICOM keywords, those given, and of the character set without which no text can be read.

    Example:
        >>> list(map(hex, wanted_tags(["Rows"])))
        ['0x80005', '0x280010']
    """
    tags = (tag_for_keyword(keyword) for keyword in keywords)
    return {int(tag): BaseTag(tag) for tag in (CHARACTER_SET, *tags, *private) if tag is not None}


def parse_plain_header(data: bytes, tags: Mapping[int, BaseTag], whole: bool = True) -> PlainHeader | None:
    """Find the wanted elements in a file's first bytes, or return None if they are not plain or do not suffice.

    Args:
        data: the file from its first byte.
        tags: elements to keep. One of them in a form that needs a general parser (a sequence) makes the file not plain.
        whole: whether `data` is all of the file; if not, the pixels' element must begin in it.
    """
    if not has_prefix(data):
        return None
    try:
        meta, offset = _file_meta(data)
        syntax = _uid(meta.get(_TRANSFER_SYNTAX))
        explicit = syntax == _EXPLICIT or syntax.startswith(_ENCAPSULATED)
        if not explicit and syntax != _IMPLICIT:
            return None
        found, pixels = _walk(data, offset, explicit, tags)
    except (_NotPlain, StructError):
        return None
    if pixels is None and not whole:
        return None
    elements = PlainElements(found, explicit, PlainElements(meta, True))
    offset_of_pixels, length = pixels or (None, None)
    return PlainHeader(elements, syntax, offset_of_pixels, length)


class _NotPlain(ValueError):
    """Bytes that need a general parser."""


def _file_meta(data: bytes) -> tuple[dict[int, RawDataElement], int]:
    """Return the elements of group 0002, and where the data set begins."""
    found: dict[int, RawDataElement] = {}
    offset, end = META_START, len(data)
    while offset < end:
        group, element, vr, length = _EXPLICIT_HEAD(data, offset)
        if group != _META_GROUP:
            break
        start = offset + 8
        if vr in _LONG_VRS:
            (length,) = _LONG(data, start)
            start += 4
        elif vr not in _SHORT_VRS:
            raise _NotPlain
        offset = start + length
        if offset > end:
            raise _NotPlain
        tag = group << 16 | element
        found[tag] = RawDataElement(BaseTag(tag), vr.decode(), length, data[start:offset], start, False, True)
    return found, offset


def _walk(
    data: bytes, offset: int, explicit: bool, tags: Mapping[int, BaseTag]
) -> tuple[dict[int, RawDataElement], tuple[int, int | None] | None]:
    """Go from element to element up to the pixels; return the wanted ones, and offset and length of PixelData."""
    found: dict[int, RawDataElement] = {}
    end = len(data)
    while offset < end:
        if explicit:  # `_head` written out: this loop is where the time goes
            group, element, vr, length = _EXPLICIT_HEAD(data, offset)
            if vr in _SHORT_VRS:
                start = offset + 8
            else:
                group, element, vr, start, length = _head(data, offset, explicit)
        else:
            group, element, length = _IMPLICIT_HEAD(data, offset)
            vr, start = None, offset + 8
        tag = group << 16 | element
        if group >= _PIXEL_GROUP or group == _META_GROUP:
            if tag == _PIXEL_DATA:
                return found, (start, None if length == _UNDEFINED_LENGTH else length)
            if tag in _OTHER_PIXEL_DATA or group in (_DELIMITER_GROUP, _META_GROUP):
                raise _NotPlain
        if length == _UNDEFINED_LENGTH:
            if tag in tags or vr not in (b"SQ", None):
                raise _NotPlain
            offset = _after_sequence(data, start, explicit)
            continue
        offset = start + length
        if offset > end:
            raise _NotPlain
        if tag in tags:
            # Private elements are taken as bytes, whatever they are.
            if not group & 1 and (vr in (b"SQ", b"UN") or (vr is None and dictionary_VR(tag) == "SQ")):
                raise _NotPlain
            name = vr and _VR_NAMES[vr]
            value = data[start:offset] if length else empty_value_for_VR(name, raw=True)
            found[tag] = RawDataElement(tags[tag], name, length, value, start, not explicit, True)  # type: ignore[arg-type]
    return found, None


def _head(data: bytes, offset: int, explicit: bool) -> tuple[int, int, bytes | None, int, int]:
    """Return group, element, value representation, start and length of the element at an offset."""
    if not explicit:
        group, element, length = _IMPLICIT_HEAD(data, offset)
        return group, element, None, offset + 8, length
    group, element, vr, length = _EXPLICIT_HEAD(data, offset)
    if vr in _SHORT_VRS:
        return group, element, vr, offset + 8, length
    if vr in _LONG_VRS:
        return group, element, vr, offset + 12, _LONG(data, offset + 8)[0]
    raise _NotPlain


def _after_sequence(data: bytes, offset: int, explicit: bool) -> int:
    """Return where the element after a sequence of undefined length begins."""
    while True:
        group, element, length = _IMPLICIT_HEAD(data, offset)
        tag, offset = group << 16 | element, offset + 8
        if tag == _SEQUENCE_END:
            return offset
        if tag != _ITEM:
            raise _NotPlain
        offset = _after_item(data, offset, explicit) if length == _UNDEFINED_LENGTH else offset + length


def _after_item(data: bytes, offset: int, explicit: bool) -> int:
    """Return where the element after an item of undefined length begins."""
    while True:
        if _IMPLICIT_HEAD(data, offset)[:2] == (_ITEM_END >> 16, _ITEM_END & 0xFFFF):
            return offset + 8
        _, _, vr, start, length = _head(data, offset, explicit)
        if length != _UNDEFINED_LENGTH:
            offset = start + length
        elif vr in (b"SQ", None):
            offset = _after_sequence(data, start, explicit)
        else:
            raise _NotPlain


def _uid(element: RawDataElement | None) -> str:
    value = element.value if element else None
    return value.decode("ascii", "replace").rstrip("\0 ") if isinstance(value, bytes) else ""
