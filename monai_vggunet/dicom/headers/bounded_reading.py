"""DICOM files read by pydicom, in memory that is bounded by the file's size and by what its header states.

pydicom allocates whatever length an element states, parses any number of items, and inflates a deflated data set
(PS3.5 A.5) as a whole, pixels included: 3 MB may become 7 GB while a header is read.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import _at_pixel_data, _read_file_meta_info, read_dataset, read_preamble
from pydicom.tag import Tag

from monai_vggunet.dicom.headers.pixel_description import LONGEST_TAIL, promised_pixel_bytes
from monai_vggunet.memory import available_memory, lack_of_memory
from monai_vggunet.regular_files import open_regular

__all__ = ["TooLargeError", "read_dicom", "read_file_meta"]

# Bytes before the pixels; the largest enhanced objects, with tens of thousands of frames, stay below.
LONGEST_INFLATED_HEADER = 1 << 26
# Objects without pixels are all header: contours may take this much.
LONGEST_INFLATED_OBJECT = 1 << 28
# Bytes of a value before the pixels; a longer one is never needed, and is skipped. (pydicom collects those that do not
# state their length.)
LARGEST_VALUE = 1 << 28

# pydicom reads two or three times per element or item, and the objects it makes take up to this much for each read.
BYTES_PER_READ = 512
MOST_READS = 1 << 24  # a minute's work; headers of tens of thousands of frames stay below
_READS_UNQUESTIONED = 1 << 17

_READS_PER_ITEM = 3

_ITEM, _ITEM_BIG_ENDIAN = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
_PIXEL_GROUP = 0x7FE0
_SMALL_READ = 1 << 16
_BLOCK = 1 << 16  # bytes inflated at once


class TooLargeError(ValueError):
    """A file that holds, or inflates to, more than any honest one; the text quotes nothing from the file."""


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
    with _BoundedFile(path) as file:
        try:
            dataset = dcmread(
                file,
                stop_before_pixels=before_pixels,
                specific_tags=None if tags is None else list(tags),
                force=True,
                defer_size=LARGEST_VALUE if before_pixels else None,
            )
        except _AskedForTheRestError:
            dataset = _deflated_file(path, file, before_pixels, None if tags is None else [Tag(tag) for tag in tags])
        for tag in dataset.keys():  # noqa: SIM118 (items would be parsed)
            file.budget.spend(_READS_PER_ITEM * _items_in(dataset.get_item(tag)))
        return dataset


def read_file_meta(path: Path) -> FileMetaDataset:
    """Read the file meta information (group 0002) of a file with preamble and prefix.

    Raises:
        OSError: it cannot be read.
        Exception: what pydicom raises on damaged files, or those without prefix.
    """
    with _BoundedFile(path) as file:
        read_preamble(file, False)  # type: ignore[arg-type]
        return _read_file_meta_info(file)  # type: ignore[arg-type]


class _AskedForTheRestError(Exception):
    """pydicom asks for the whole rest of a file at once, which it does only for a deflated data set."""


class _Budget:
    """How often pydicom may read, which bounds the number of its objects: empty items cost eight bytes in the file."""

    def __init__(self) -> None:
        self._reads, self._most = 0, _READS_UNQUESTIONED

    def spend(self, reads: int = 1) -> None:
        """Count what is read, or will be.

        Raises:
            TooLargeError: that is too much.
        """
        self._reads += reads
        if self._reads > self._most:
            self._most = min(MOST_READS, available_memory() // BYTES_PER_READ)
            if self._reads > self._most:
                raise TooLargeError("it holds more elements than an honest file, or than fit into memory")


class _BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it holds: Python would allocate that much before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_regular(path))
        self._size = self.seek(0, io.SEEK_END)
        self.seek(0)
        self.budget = _Budget()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or as many as there are."""
        self.budget.spend()
        if size is None or size < 0:
            raise _AskedForTheRestError
        if size > _SMALL_READ:
            size = max(0, min(size, self._size - self.tell()))
        return super().read(size)


class _Inflated:
    """What a deflated data set inflates to, as far as it is asked for, and up to a limit."""

    def __init__(self, file: _BoundedFile, limit: int) -> None:
        self.limit, self.name = limit, file.name
        self._file, self._inflater = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._data, self._place = bytearray(), 0

    def read(self, size: int) -> bytes:
        """Read so many bytes, or as many as there are."""
        self._file.budget.spend()
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
        return part

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may lie ahead."""
        self._place = offset if whence == io.SEEK_SET else self._place + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place


def _items_in(element: Any) -> int:
    """Return how many items a sequence holds that pydicom has not parsed yet, with those within them."""
    value = element.value
    if not isinstance(element, RawDataElement) or not isinstance(value, bytes) or len(value) < _SMALL_READ:
        return 0
    is_sequence = element.VR in ("SQ", "UN", None) and element.tag.group != _PIXEL_GROUP
    return value.count(_ITEM if element.is_little_endian else _ITEM_BIG_ENDIAN) if is_sequence else 0


def _deflated_file(path: Path, file: _BoundedFile, before_pixels: bool, tags: list[Any] | None) -> FileDataset:
    """Read a deflated file that stands where its data set begins."""
    start = file.tell()
    file.seek(0)
    preamble, meta = read_preamble(file, True), _read_file_meta_info(file)
    file.seek(start)
    dataset = _deflated(file, before_pixels, tags)
    whole = FileDataset(str(path), dataset, preamble, meta, False, True)
    whole.set_original_encoding(False, True, dataset._character_set)
    return whole


def _deflated(file: _BoundedFile, before_pixels: bool, tags: list[Any] | None) -> Dataset:
    """Read a deflated data set: explicit little endian, from where the file stands."""
    stream: Any = _Inflated(file, LONGEST_INFLATED_HEADER if before_pixels else LONGEST_INFLATED_OBJECT)
    dataset = read_dataset(stream, False, True, stop_when=_at_pixel_data, specific_tags=tags)
    if not before_pixels:
        promised = promised_pixel_bytes(dataset)
        lacking = lack_of_memory(2 * promised)
        if lacking:
            raise TooLargeError(f"inflated, {lacking}")
        stream.limit = stream.tell() + promised + LONGEST_TAIL
        dataset.update(read_dataset(stream, False, True, specific_tags=tags))
    return dataset
