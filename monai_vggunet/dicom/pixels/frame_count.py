"""How many compressed frames a file holds: more than NumberOfFrames says would be left out silently."""

from __future__ import annotations

import io
from collections.abc import Sequence
from struct import Struct

from pydicom.uid import UID, RLELossless

from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.pixels.codestream import starts_codestream
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.names import counted
from monai_vggunet.regular_files import open_regular

__all__ = ["require_frame_count"]

# PS3.5 A.4: a table of offsets, then fragments; each is an item with a tag and a length, always little endian.
_ITEM = Struct("<2HL")
_ITEM_TAG = (0xFFFE, 0xE000)
_COMPRESSED = ("1.2.840.10008.1.2.4.", RLELossless)  # JPEG, JPEG-LS, JPEG 2000 and HTJ2K; RLE
# A file may be made of fragments without end; so many belong to no frame that is worth counting.
_MOST_FRAGMENTS = 1 << 16
_START_BYTES = 12  # of a fragment, in which a codestream is recognized


def require_frame_count(frames: Sequence[FrameRecord]) -> None:
    """Refuse files that hold more compressed frames than their headers say, or none where they should begin.

    Only the beginning of each fragment is read. Uncompressed pixels are judged by their length, see
    `contradiction_in_pixels`.

    Args:
        frames: planes; those of one file count once.

    Raises:
        DicomPixelError: names the first file and both numbers.
    """
    for frame in {frame.path: frame for frame in frames}.values():
        element, coded = frame.stored.element if frame.stored else None, frame.format
        if element is None or coded is None or element.offset is None:
            continue
        if not coded.transfer_syntax.startswith(_COMPRESSED):
            continue
        try:
            with open_regular(frame.path) as stream:
                held = _frames_in(stream, element.offset, coded.transfer_syntax == RLELossless, coded.frame_count)
        except OSError:
            continue  # whoever reads the pixels says so
        if held is None:
            raise DicomPixelError(
                f"{frame.name} holds no compressed frame where its pixels begin, but its transfer syntax is "
                f"{UID(coded.transfer_syntax).name}: a damaged header or file; restore or remove it",
                FindingKind.UNREADABLE_PIXELS,
                [frame.sop_instance_uid],
            )
        if held > coded.frame_count:
            many = counted(coded.frame_count, "frame")
            raise DicomPixelError(
                f"{frame.name} holds {held} compressed frames or more, but NumberOfFrames says {many}: restore the "
                "header, or split the file",
                FindingKind.DAMAGED_HEADER,
                [frame.sop_instance_uid],
            )


def _frames_in(stream: io.RawIOBase | io.BytesIO, offset: int, each_fragment: bool, expected: int) -> int | None:
    """Count frames from the table of offsets on, up to one more than expected; None where there is no item.

    A frame may take several fragments. The first begins a codestream; of RLE, each fragment is a frame (PS3.5 A.4.2).
    """
    stream.seek(offset)
    length = _item_length(stream.read(_ITEM.size) or b"")
    if length is None:
        return None
    count, place = 0, offset + _ITEM.size + length
    for _ in range(expected + _MOST_FRAGMENTS):
        stream.seek(place)
        head = stream.read(_ITEM.size + _START_BYTES) or b""
        length = _item_length(head)
        if length is None:
            break
        count += each_fragment or starts_codestream(head[_ITEM.size :])
        if count > expected:
            break
        place += _ITEM.size + length
    return count


def _item_length(head: bytes) -> int | None:
    if len(head) < _ITEM.size:
        return None
    group, element, length = _ITEM.unpack_from(head)
    return length if (group, element) == _ITEM_TAG else None
