"""Data elements as bytes in a DICOM file: found by pydicom, changed by splicing, so that nonsense can be written."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

__all__ = ["RawElement", "RawFile"]

_PREFIX_BYTES = 132
# In explicit VR these have a length of 4 bytes after 2 reserved ones (PS3.5 7.1.2).
_LONG_VRS = frozenset([b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UN", b"UT", b"UC", b"UR"])
_TRANSFER_SYNTAX = re.compile(rb"\x02\x00\x10\x00UI(..)", re.DOTALL)


@dataclass(frozen=True)
class RawElement:
    """The place of an element in a body: first byte, first byte of its value, end."""

    tag: BaseTag
    vr: bytes
    start: int
    value_start: int
    end: int


@dataclass(frozen=True)
class RawFile:
    """A file in two parts: `head` is preamble and meta information, `body` the (inflated) data set."""

    head: bytes
    body: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> RawFile:
        """Split a well-formed file; raise ValueError for one that an earlier mutation has spoiled."""
        if data[128:132] != b"DICM" or len(data) < _PREFIX_BYTES + 12:
            raise ValueError("no file meta information")
        end = _PREFIX_BYTES + 12 + struct.unpack_from("<I", data, _PREFIX_BYTES + 8)[0]
        part = cls(data[:end], data[end:])
        try:
            return replace(part, body=zlib.decompress(part.body, -15)) if part.deflated else part
        except zlib.error as error:
            raise ValueError("spoiled compression") from error

    def to_bytes(self) -> bytes:
        """Put the file together again."""
        if not self.deflated:
            return self.head + self.body
        deflate = zlib.compressobj(wbits=-15)
        return self.head + deflate.compress(self.body) + deflate.flush()

    @property
    def transfer_syntax(self) -> str:
        """UID of the transfer syntax in the meta information."""
        found = _TRANSFER_SYNTAX.search(self.head)
        if not found:
            return ""
        length = struct.unpack("<H", found[1])[0]
        return self.head[found.end() : found.end() + length].strip(b"\0 ").decode("latin-1")

    @property
    def deflated(self) -> bool:
        """Whether the body is compressed in the file."""
        return self.transfer_syntax == DeflatedExplicitVRLittleEndian

    @property
    def implicit(self) -> bool:
        """Whether elements name no value representation."""
        return self.transfer_syntax == ImplicitVRLittleEndian

    @property
    def order(self) -> str:
        """Byte order as `struct` names it."""
        return ">" if self.transfer_syntax == ExplicitVRBigEndian else "<"

    def with_transfer_syntax(self, uid: bytes) -> RawFile:
        """Claim another transfer syntax; the body stays as it is."""
        found = _TRANSFER_SYNTAX.search(self.head)
        if not found:
            return self
        length = struct.unpack("<H", found[1])[0]
        value = uid + b"\0" * (len(uid) % 2)
        element = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(value)) + value
        head = self.head[: found.start()] + element + self.head[found.end() + length :]
        rest = len(head) - _PREFIX_BYTES - 12
        head = head[: _PREFIX_BYTES + 8] + struct.pack("<I", rest) + head[_PREFIX_BYTES + 12 :]
        # What `to_bytes` deflates depends on the syntax: keep the bytes of the file what they were.
        body = RawFile(self.head, self.body).to_bytes()[len(self.head) :] if self.deflated else self.body
        return _Opaque(head, body)

    def find(self, keyword: str | BaseTag) -> list[RawElement]:
        """Return all elements of that name, nested ones too."""
        tag = Tag(keyword)
        return [element for element in self.elements() if element.tag == tag]

    def elements(self) -> list[RawElement]:
        """Return all elements that hold a value, at any depth, as they lie in the body; ValueError in a spoiled one."""
        try:
            dataset = read_dataset(io.BytesIO(self.body), self.implicit, self.order == "<")
            return sorted(self._walk(dataset), key=lambda element: element.start)
        except Exception as error:  # pydicom raises all kinds
            raise ValueError("spoiled data set") from error

    def _walk(self, dataset: Dataset) -> Iterator[RawElement]:
        for tag in list(dataset.keys()):
            item = dataset.get_item(tag)
            if isinstance(item, RawDataElement):
                vr = (item.VR or dictionary_VR(tag)).encode()
                long = not self.implicit and vr in _LONG_VRS
                end = len(self.body) if item.length == 0xFFFFFFFF else item.value_tell + item.length
                yield RawElement(tag, vr, item.value_tell - (12 if long else 8), item.value_tell, end)
            elif item is not None and item.VR == "SQ":
                for part in item.value:
                    yield from self._walk(part)

    def encode(self, tag: BaseTag, vr: bytes, value: bytes) -> bytes:
        """Return the bytes of one element in this file's encoding."""
        value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
        start = struct.pack(f"{self.order}HH", tag.group, tag.element)
        if self.implicit:
            return start + struct.pack("<I", len(value)) + value
        if vr in _LONG_VRS:
            return start + vr + b"\0\0" + struct.pack(f"{self.order}I", len(value)) + value
        return start + vr + struct.pack(f"{self.order}H", len(value) & 0xFFFF) + value

    def with_value(self, element: RawElement, value: bytes, vr: bytes | None = None) -> RawFile:
        """Give an element another value, and perhaps another value representation."""
        return self.with_bytes(element.start, element.end, self.encode(element.tag, vr or element.vr, value))

    def with_bytes(self, start: int, end: int, new: bytes) -> RawFile:
        """Replace a part of the body."""
        return replace(self, body=self.body[:start] + new + self.body[end:])

    def with_element(self, keyword: str, vr: bytes, value: bytes) -> RawFile:
        """Add an element at its place in the order of tags, or replace it."""
        tag = Tag(keyword)
        elements = self.elements()
        for element in elements:
            if element.tag == tag:
                return self.with_value(element, value, vr)
        place = next((element.start for element in elements if element.tag > tag), len(self.body))
        return self.with_bytes(place, place, self.encode(tag, vr, value))


class _Opaque(RawFile):
    """A file whose body is written unchanged, whatever its head claims."""

    def to_bytes(self) -> bytes:
        return self.head + self.body
