"""To which study and series a file belongs: the few elements that say so, found several times faster than a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from monai_vggunet.dicom.headers.bounded_reading import read_dicom
from monai_vggunet.dicom.headers.dicom_files import is_dicom_file
from monai_vggunet.dicom.headers.frames import kind_of
from monai_vggunet.dicom.headers.header import is_object
from monai_vggunet.dicom.headers.plain_header import read_plain_header, wanted_tags
from monai_vggunet.dicom.headers.records import ImageKind

__all__ = ["Identity", "read_identity"]

_KEYWORDS = ("ImageType", "SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID")
_TAGS = wanted_tags(_KEYWORDS)


class Identity(NamedTuple):
    """What a file belongs to; UIDs are empty where the file lacks them.

    Attributes:
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        is_image: whether it may be a plane of a volume: no localizer, no screen capture and no object without an image.
    """

    study_uid: str
    series_uid: str
    is_image: bool


def read_identity(path: Path) -> Identity | None:
    """Read what a file belongs to; None of a file that is not DICOM or cannot be read, whatever is wrong with it."""
    try:
        plain = read_plain_header(path, _TAGS)
        if plain is None and not is_dicom_file(path):
            return None
        header: Any = plain.elements if plain else read_dicom(path, before_pixels=True, tags=list(_KEYWORDS))
        sop_class, modality = str(header.get("SOPClassUID") or ""), str(header.get("Modality") or "")
        types = tuple(str(part).strip().upper() for part in _values(header.get("ImageType")))
        is_image = not is_object(sop_class, modality) and kind_of(types, sop_class) == ImageKind.IMAGE
        study, series = (str(header.get(keyword) or "") for keyword in ("StudyInstanceUID", "SeriesInstanceUID"))
        return Identity(study, series, is_image)
    except Exception:  # as in `read_header`; whoever reads the case says what is wrong
        return None


def _values(element: Any) -> tuple[Any, ...]:
    return () if not element else (element,) if isinstance(element, str) else tuple(element)
