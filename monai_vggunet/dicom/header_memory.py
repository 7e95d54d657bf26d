"""What one header of a series says is known when the next one repeats it: only what differs is read anew.

The files of a series repeat nearly all of their elements byte for byte. A record depends on nothing but the elements
asked for, so a file whose elements are those of an earlier one, apart from the few named here, has that file's record
apart from what these few say.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydicom.tag import Tag

from monai_vggunet.dicom.frames import varying_values
from monai_vggunet.dicom.native_pixels import layout_in
from monai_vggunet.dicom.pixel_description import contradiction_in_pixels
from monai_vggunet.dicom.plain_header import PlainHeader
from monai_vggunet.dicom.records import FrameRecord, InstanceRecord
from monai_vggunet.dicom.stored_pixels import StoredPixels

__all__ = ["VARYING", "HeaderMemory"]

# Elements that differ from slice to slice; `varying_values` and the UID are all that a record takes from them.
VARYING = frozenset(
    int(Tag(keyword))
    for keyword in (
        "SOPInstanceUID",
        "ImagePositionPatient",
        "InstanceNumber",
        "AcquisitionNumber",
        "AcquisitionTime",
        "TriggerTime",
    )
)
_SOP_INSTANCE_UID = int(Tag("SOPInstanceUID"))
_META_INSTANCE_UID = int(Tag("MediaStorageSOPInstanceUID"))
_MOST_REMEMBERED = 64  # headers; an archive's files come series by series

_frame_values = attrgetter(*(field.name for field in fields(FrameRecord)))
_instance_values = attrgetter(*(field.name for field in fields(InstanceRecord)))
_FRAME_NAMES = [field.name for field in fields(FrameRecord)]
_INSTANCE_NAMES = [field.name for field in fields(InstanceRecord)]


class HeaderMemory:
    """The last headers with their records.

    Args:
        text_of: from a data set and a keyword to the element's text, as the records have it.
    """

    def __init__(self, text_of: Callable[..., str]) -> None:
        self._text_of = text_of
        self._known: dict[Hashable, tuple[int, InstanceRecord]] = {}

    def recall(self, path: Path, plain: PlainHeader, file_bytes: int) -> InstanceRecord | None:
        """Return the record of a file whose header repeats an earlier one; None for what must be read whole."""
        known = self._known.get(_repeated(plain))
        header = plain.elements
        if known is None or _SOP_INSTANCE_UID not in header:
            return None
        bytes_then, then = known
        try:
            if bytes_then != file_bytes and contradiction_in_pixels(header, 1, plain.transfer_syntax, file_bytes):
                return None
            uid = self._text_of(header, "SOPInstanceUID")
            changed = {"path": path, **varying_values(header, then.frames[0].discriminators)}
            changed["stored"] = _stored(plain, file_bytes, then.frames[0].stored)
        except ValueError:  # whoever reads it whole says what is wrong
            return None
        if not uid:
            return None
        frame = FrameRecord(*_with(_FRAME_NAMES, _frame_values(then.frames[0]), changed))
        own = {"path": path, "sop_instance_uid": uid, "frames": (frame,)}
        return InstanceRecord(*_with(_INSTANCE_NAMES, _instance_values(then), own))

    def remember(self, plain: PlainHeader, file_bytes: int, record: InstanceRecord) -> InstanceRecord:
        """Keep the record of a file with one plane; return it with where its pixels lie."""
        if len(record.frames) != 1:
            return record
        frame = replace(record.frames[0], stored=StoredPixels(file_bytes, layout_in(plain)))
        record = replace(record, frames=(frame,))
        if _SOP_INSTANCE_UID in plain.elements:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[_repeated(plain)] = (file_bytes, record)
        return record


def _stored(plain: PlainHeader, file_bytes: int, then: StoredPixels | None) -> StoredPixels | None:
    """Return where the pixels of a repeated header lie; None if that has to be looked at."""
    if then is None:
        return None
    if then.layout is None:
        return StoredPixels(file_bytes, None) if plain.pixel_length is None else None
    if plain.pixel_offset is None or plain.pixel_length != then.layout.length:
        return None
    return StoredPixels(file_bytes, then.layout.at(plain.pixel_offset))


def _with(names: Sequence[str], values: Sequence[Any], changed: Mapping[str, Any]) -> list[Any]:
    return [changed.get(name, value) for name, value in zip(names, values)]


def _repeated(plain: PlainHeader) -> Hashable:
    """Return everything a record depends on but the elements that vary."""
    meta = plain.elements.file_meta
    return (
        plain.transfer_syntax,
        plain.elements.content(VARYING),
        None if meta is None else meta.content(frozenset([_META_INSTANCE_UID])),
    )
