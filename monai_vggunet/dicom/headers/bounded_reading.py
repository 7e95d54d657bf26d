"""DICOM files read by pydicom, in memory that is bounded by the file's size and by what its header states.

pydicom allocates whatever length an element states, parses any number of items, and inflates a deflated data set
(PS3.5 A.5) as a whole, pixels included: 3 MB may become 7 GB while a header is read.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import unpack_from
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import _at_pixel_data, _read_file_meta_info, read_dataset, read_preamble
from pydicom.tag import BaseTag, Tag

from monai_vggunet.dicom.headers.element_budget import ElementBudget, TooLargeError
from monai_vggunet.dicom.headers.pixel_description import LONGEST_TAIL, promised_pixel_bytes
from monai_vggunet.dicom.headers.stored_pixels import PixelElement
from monai_vggunet.dicom.headers.unparsed_sequence import ITEM_TAGS, UnparsedSequence, is_unparsed_sequence
from monai_vggunet.memory import lack_of_memory
from monai_vggunet.regular_files import open_regular

__all__ = ["TooLargeError", "read_before_pixels", "read_dicom", "read_file_meta"]

# Bytes before the pixels; the largest enhanced objects, with tens of thousands of frames, stay below.
LONGEST_INFLATED_HEADER = 1 << 26
# Objects without pixels are all header: contours may take this much.
LONGEST_INFLATED_OBJECT = 1 << 28
# Bytes of a value before the pixels; a longer one is never needed, and is skipped. (pydicom collects those that do not
# state their length.)
LARGEST_VALUE = 1 << 28

# pydicom reads tag and length of an element or item at once, those of a fragment (PS3.5 A.4) one by one.
_HEAD_BYTES, _TAG_BYTES = 8, 4
_LONG_HEAD_BYTES = 12  # of an explicit element of pixels: tag, value representation, reserved bytes, length
_PIXEL_VRS = frozenset(vr + b"\0\0" for vr in (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"))
_UNDEFINED_LENGTH = 0xFFFFFFFF
_SMALL_READ = 1 << 16
_BLOCK = 1 << 16  # bytes inflated at once


def read_dicom(path: Path, before_pixels: bool = False, tags: Sequence[Any] | None = None) -> FileDataset:
    """Read a file as `pydicom.dcmread(force=True)` does, but refuse one that would swell in memory.

    A deflated file is inflated up to its pixels, and then by no more than its header says they take.

    Args:
        path: the file.
        before_pixels: stop where PixelData begins.
        tags: elements to keep, by keyword or tag; None for all.

    Raises:
        TooLargeError: it would take more memory than there is, or than an honest file of its kind.
        OSError: it cannot be read.
        Exception: what pydicom and zlib raise on damaged files.
    """
    with _refusals_kept(), _BoundedFile(path) as file:
        return _read(path, file, before_pixels, tags)[0]


def read_before_pixels(path: Path, tags: Sequence[Any]) -> tuple[FileDataset, PixelElement | None]:
    """Read a header as `read_dicom` does; also return the element at which it ends, that of the pixels.

    Args:
        path: the file.
        tags: elements to keep, by keyword or tag.

    Raises:
        Exception: as `read_dicom`.
    """
    with _refusals_kept(), _BoundedFile(path) as file:
        dataset, rest = _read(path, file, True, tags)
        return dataset, _next_element(rest, "<" if dataset.original_encoding[1] is not False else ">")


def read_file_meta(path: Path) -> FileMetaDataset:
    """Read the file meta information (group 0002) of a file with preamble and prefix.

    Raises:
        TooLargeError: it holds more elements than an honest file.
        OSError: it cannot be read.
        Exception: what pydicom raises on damaged files, or those without prefix.
    """
    with _refusals_kept(), _BoundedFile(path) as file:
        read_preamble(file, False)  # type: ignore[arg-type]
        return _read_file_meta_info(file)  # type: ignore[arg-type]


def _read(
    path: Path, file: _BoundedFile, before_pixels: bool, tags: Sequence[Any] | None
) -> tuple[FileDataset, _BoundedFile | _Inflated]:
    """Return what a file holds, and the stream of it, which stands behind what was read."""
    rest: _BoundedFile | _Inflated = file
    try:
        dataset = dcmread(
            file,
            stop_before_pixels=before_pixels,
            specific_tags=None if tags is None else list(tags),
            force=True,
            defer_size=LARGEST_VALUE if before_pixels else None,
        )
    except _AskedForTheRestError:
        wanted = None if tags is None else [Tag(tag) for tag in tags]
        dataset, rest = _deflated_file(path, file, before_pixels, wanted)
    _count_unparsed(dataset, file.elements.budget)
    return dataset, rest


def _next_element(stream: _BoundedFile | _Inflated, order: str) -> PixelElement | None:
    """Return the element of pixels that a stream stands at; None if it holds nothing more of that kind.

    Whether it is explicit is seen from its own bytes: an implicit length that reads as these would be odd.
    """
    start, head = stream.tell(), stream.read(_LONG_HEAD_BYTES)
    if len(head) < _LONG_HEAD_BYTES:
        return None
    group, element = unpack_from(order + "2H", head)
    explicit = head[_TAG_BYTES:_HEAD_BYTES] in _PIXEL_VRS
    (length,) = unpack_from(order + "L", head, _HEAD_BYTES if explicit else _TAG_BYTES)
    tag = group << 16 | element
    if not _at_pixel_data(BaseTag(tag), None, length):
        return None
    offset = start + (_LONG_HEAD_BYTES if explicit else _HEAD_BYTES)
    in_file = not isinstance(stream, _Inflated)
    return PixelElement(tag, None if length == _UNDEFINED_LENGTH else length, offset if in_file else None)


@contextmanager
def _refusals_kept() -> Iterator[None]:
    """Raise a refusal as what it is: pydicom makes an `OSError` of any error met where an item begins."""
    try:
        yield
    except OSError as error:
        if isinstance(error.__context__, TooLargeError):
            raise error.__context__ from None
        raise


class _AskedForTheRestError(Exception):
    """pydicom asks for the whole rest of a file at once, which it does only for a deflated data set."""


class _Elements:
    """Counts the elements, items and fragments of a file, which it knows by how many bytes pydicom reads at once."""

    def __init__(self, deflated_bytes: int | None = None) -> None:
        self.budget = ElementBudget(deflated_bytes)
        self._last = 0

    def count(self, read: bytes, end: int) -> None:
        """Take note of what was read, and of where it ends.

        Raises:
            TooLargeError: there are too many of them.
        """
        if len(read) == _HEAD_BYTES or (len(read) == _TAG_BYTES and read in ITEM_TAGS):
            self.budget.spend(max(0, end - self._last))
            self._last = end


class _BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it holds: Python would allocate that much before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_regular(path))
        self.size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self.elements = _Elements()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or as many as there are."""
        if size is None or size < 0:
            raise _AskedForTheRestError
        if size > _SMALL_READ:
            size = max(0, min(size, self.size - self.tell()))
        data = super().read(size)
        if size <= _HEAD_BYTES:
            self.elements.count(data, self.tell())
        return data


class _Inflated:
    """What a deflated data set inflates to, as far as it is asked for, and up to a limit."""

    def __init__(self, file: _BoundedFile, limit: int) -> None:
        self.limit, self.name = limit, file.name
        self._file, self._inflater = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._data, self._place = bytearray(), 0
        self._elements = file.elements

    def read(self, size: int) -> bytes:
        """Read so many bytes, or as many as there are."""
        end = self._place + size
        if end > self.limit:
            raise TooLargeError(f"it inflates to more than {self.limit:,} bytes, more than its header promises")
        while len(self._data) < end and not self._inflater.eof:
            compressed = self._inflater.unconsumed_tail or self._file.read1(_BLOCK)
            if not compressed:
                raise zlib.error("incomplete or truncated stream")
            self._data += self._inflater.decompress(compressed, _BLOCK)
        part = bytes(memoryview(self._data)[self._place : end])
        self._place += len(part)
        self._elements.count(part, self._place)
        return part

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may lie ahead."""
        self._place = offset if whence == io.SEEK_SET else self._place + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place


def _count_unparsed(dataset: Dataset, budget: ElementBudget) -> None:
    """Count what pydicom has not parsed yet, within sequences that state their length.

    Raises:
        TooLargeError: there is too much of it.
    """
    for element in dataset.values():
        if not isinstance(element, RawDataElement):
            for item in element.value if element.VR == "SQ" else ():
                _count_unparsed(item, budget)
        elif is_unparsed_sequence(element):
            UnparsedSequence(element, budget.spend).count()


def _deflated_file(
    path: Path, file: _BoundedFile, before_pixels: bool, tags: list[Any] | None
) -> tuple[FileDataset, _Inflated]:
    """Read a deflated file that stands where its data set begins; also return the stream of what it inflates to."""
    start = file.tell()
    file.seek(0)
    preamble, meta = read_preamble(file, True), _read_file_meta_info(file)
    file.seek(start)
    dataset, stream = _deflated(file, before_pixels, tags)
    whole = FileDataset(str(path), dataset, preamble, meta, False, True)
    whole.set_original_encoding(False, True, dataset._character_set)
    return whole, stream


def _deflated(file: _BoundedFile, before_pixels: bool, tags: list[Any] | None) -> tuple[Dataset, Any]:
    """Read a deflated data set: explicit little endian, from where the file stands."""
    file.elements = _Elements(deflated_bytes=file.size)
    stream: Any = _Inflated(file, LONGEST_INFLATED_HEADER if before_pixels else LONGEST_INFLATED_OBJECT)
    dataset = read_dataset(stream, False, True, stop_when=_at_pixel_data, specific_tags=tags)
    if not before_pixels:
        promised = promised_pixel_bytes(dataset)
        lacking = lack_of_memory(2 * promised)
        if lacking:
            raise TooLargeError(f"inflated, {lacking}")
        stream.limit = stream.tell() + promised + LONGEST_TAIL
        dataset.update(read_dataset(stream, False, True, specific_tags=tags))
    return dataset, stream
