"""One DICOM file's header -> a plain record, or the reason why the file is left out."""

from __future__ import annotations

import hashlib
import logging
import stat
import warnings
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import MediaStorageDirectoryStorage

from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.archives import archive_kind
from monai_vggunet.dicom.headers.bounded_reading import TooLargeError, read_before_pixels
from monai_vggunet.dicom.headers.dicom_files import is_dicom_file
from monai_vggunet.dicom.headers.discriminators import KEYWORDS as DISCRIMINATING
from monai_vggunet.dicom.headers.discriminators import PRIVATE_TAGS
from monai_vggunet.dicom.headers.frames import frames_of, legible
from monai_vggunet.dicom.headers.pixel_format import FORMAT_KEYWORDS, pixel_format_of
from monai_vggunet.dicom.headers.plain_header import PlainHeader, read_plain_header, wanted_tags
from monai_vggunet.dicom.headers.records import InstanceRecord, SkippedFile
from monai_vggunet.dicom.headers.stored_pixels import PixelElement, StoredPixels
from monai_vggunet.dicom.pixels.native_pixels import PIXEL_KEYWORDS, layout_in
from monai_vggunet.regular_files import IRREGULAR

__all__ = ["hash_identifier", "is_object", "keep_values_out_of_warnings", "read_header"]

_KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "InstanceNumber",
    *DISCRIMINATING,
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DirectoryRecordSequence",
    *FORMAT_KEYWORDS,
    *PIXEL_KEYWORDS,
]
_TAGS: list[Any] = [*_KEYWORDS, *PRIVATE_TAGS]
_PLAIN_TAGS = wanted_tags(_KEYWORDS, PRIVATE_TAGS)
_TAG_OF = {
    keyword: Tag(keyword)
    for keyword in (*_KEYWORDS, "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
}
_PIXEL_DATA = Tag("PixelData")

# PS3.4 B.5: storage classes that hold no image volume (or one that is not the scanner's: SEG, RT dose, parametric map).
_OBJECT_CLASSES = tuple(
    "1.2.840.10008.5.1.4." + suffix
    for suffix in ("1.1.66", "1.1.481", "1.1.88", "1.1.11.", "1.1.104", "1.1.9.", "1.1.30", "1.1.4.2", "1.1.67", "34.")
)
_OBJECT_MODALITIES = frozenset(
    ["SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SR", "PR", "KO", "REG", "FID", "DOC", "PLAN", "AU", "ECG"]
)

_PYDICOM_LOGGER = logging.getLogger("pydicom")
# The modules of pydicom that judge values and character sets.
_QUOTING_MODULES = r"pydicom\.(valuerep|values|charset|uid|multival|dataelem)$"

# Characters of the patient's hash that are kept: 64 bits, far beyond any hospital's number of patients.
_HASH_LENGTH = 16


def read_header(path: Path) -> InstanceRecord | SkippedFile:
    """Read one file's header, never its pixels.

    Args:
        path: any file, of any name.

    Returns:
        The record, or a `SkippedFile` with the reason; no content of a file makes this raise.
    """
    keep_values_out_of_warnings()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return SkippedFile(path, FindingKind.IRREGULAR_FILE, IRREGULAR)
        if status.st_size == 0:
            return SkippedFile(path, FindingKind.EMPTY_FILE, "empty file (0 bytes)")
        if path.name.startswith("._"):
            return SkippedFile(path, FindingKind.APPLE_DOUBLE, "AppleDouble companion file of macOS")
        plain = read_plain_header(path, _PLAIN_TAGS)
        if plain is None and not is_dicom_file(path):
            kind = archive_kind(path)
            if kind:
                return SkippedFile(path, FindingKind.ARCHIVE, f"a {kind} archive: unpack it")
            return SkippedFile(path, FindingKind.NOT_DICOM, "not a DICOM file")
        header, element = _plain_pixels(plain) if plain else read_before_pixels(path, _TAGS)
        series_uid = _text(header, "SeriesInstanceUID")
    except TooLargeError as error:
        return SkippedFile(path, FindingKind.UNREADABLE_FILE, f"unreadable: {error}")
    except Exception as error:  # a parser meets every kind of damage; one file must not stop an archive
        return SkippedFile(path, FindingKind.UNREADABLE_FILE, f"unreadable: {type(error).__name__}")
    try:
        layout = layout_in(plain) if plain else None
        syntax = plain.transfer_syntax if plain else _text(header.file_meta, "TransferSyntaxUID")
        pixels = pixel_format_of(header, syntax, element, layout)
        stored = StoredPixels(status.st_size, layout, plain is not None, element, pixels)
        return _record_of(path, header, stored)
    except Exception as error:  # as above; its text is left out because it may quote an identifier
        reason = f"damaged DICOM header: {type(error).__name__}"
        return SkippedFile(path, FindingKind.DAMAGED_HEADER, reason, series_uid)


def _plain_pixels(plain: PlainHeader) -> tuple[Any, PixelElement | None]:
    element = None if plain.pixel_offset is None else PixelElement(_PIXEL_DATA, plain.pixel_length, plain.pixel_offset)
    return plain.elements, element


def _record_of(path: Path, header: Any, stored: StoredPixels) -> InstanceRecord | SkippedFile:
    """Turn a parsed header into a record; a directory, or an image header cut short, into a skipped file."""
    meta = getattr(header, "file_meta", None) or Dataset()
    sop_class = _text(header, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in header:
        return SkippedFile(path, FindingKind.DICOMDIR, "DICOMDIR: a directory of other files")
    series_uid, modality = _text(header, "SeriesInstanceUID"), _text(header, "Modality")
    # De-identified images may have lost their SeriesInstanceUID; together they are one series without a name.
    without_image = is_object(sop_class, modality)
    if not without_image and not (header.get("Rows") and header.get("Columns")):
        reason = "no Rows and Columns: cut short, or not an image"
        return SkippedFile(path, FindingKind.NO_ROWS_AND_COLUMNS, reason, series_uid)
    frames = () if without_image else frames_of(path, header, sop_class, stored.file_bytes, stored)
    if isinstance(frames, str):
        return SkippedFile(path, FindingKind.DAMAGED_HEADER, frames, series_uid)
    return InstanceRecord(
        path=path,
        study_uid=_text(header, "StudyInstanceUID"),
        series_uid=series_uid,
        sop_class_uid=sop_class,
        sop_instance_uid=_text(header, "SOPInstanceUID") or _text(meta, "MediaStorageSOPInstanceUID"),
        modality=modality,
        description=_text(header, "SeriesDescription"),
        series_number=number if (number := _text(header, "SeriesNumber")).isascii() and number.isdecimal() else "",
        frame_of_reference_uid=_text(header, "FrameOfReferenceUID"),
        patient_hash=hash_identifier(_whole_text(header, "PatientID"), _whole_text(header, "IssuerOfPatientID")),
        study_hash=hash_identifier(_text(header, "StudyInstanceUID")),
        frames=frames,
    )


def is_object(sop_class_uid: str, modality: str) -> bool:
    """Whether a file is no image of a volume (but SEG, RTSTRUCT, SR, ...), by its storage class or Modality."""
    return sop_class_uid.startswith(_OBJECT_CLASSES) or modality in _OBJECT_MODALITIES


def hash_identifier(identifier: str, issuer: str = "") -> str:
    """Return a short SHA-256 of an identifier, or nothing for an empty one."""
    return hashlib.sha256(f"{identifier}\\{issuer}".encode()).hexdigest()[:_HASH_LENGTH] if identifier else ""


def _text(header: Dataset, keyword: str) -> str:
    """Return an element as plain text that may be shown, empty when absent."""
    return legible(_whole_text(header, keyword))


def _whole_text(header: Dataset, keyword: str) -> str:
    value = header.get(_TAG_OF[keyword])
    return "" if value is None or value.value is None else str(value.value).strip()


def keep_values_out_of_warnings() -> None:
    """Silence pydicom's warnings about values for this process, and their copies in its log: they quote the values.

    In a damaged file a UID may run on into the patient's name. A filter that stays set is safe with threads, unlike
    `warnings.catch_warnings`. Each call checks that it is there, because others may have put theirs before it.
    """
    if not warnings.filters or getattr(warnings.filters[0][3], "pattern", None) != _QUOTING_MODULES:
        warnings.filterwarnings("ignore", module=_QUOTING_MODULES)
    if _without_warnings not in _PYDICOM_LOGGER.filters:
        _PYDICOM_LOGGER.addFilter(_without_warnings)


def _without_warnings(record: logging.LogRecord) -> bool:
    """Whether a record of pydicom's log is not a copy of a warning."""
    return record.funcName != "warn_and_log"
