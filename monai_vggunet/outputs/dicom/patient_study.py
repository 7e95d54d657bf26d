"""Patient and study of a derived DICOM object: the source's own elements (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

__all__ = ["HEADER_KEYWORDS", "UTF8", "copy_patient_and_study", "series_number_beside"]

UTF8 = "ISO_IR 192"

# Type 2: written empty where the source has none.
_REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
_IDENTITY = ("PatientName", "PatientID")
_OPTIONAL = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
)
_OTHERS = (
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "SeriesNumber",
    "Modality",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
# Everything that is read from a source's header, besides its geometry.
HEADER_KEYWORDS = (*_REQUIRED, *_OPTIONAL, *_OTHERS)

_DERIVED_SERIES = 1000  # added to the source's SeriesNumber, as scanners' own derived series are
_LARGEST_NUMBER = 2**31 - 1  # PS3.5 6.2, IS


def copy_patient_and_study(header: Dataset, target: Dataset, own_texts: Iterable[str] = ()) -> None:
    """Give a derived object its source's patient and study.

    Name and identifier are copied to the letter. Other elements that break DICOM's rules (an age of `0Y`, a long
    StudyID) are left empty, because they would make the object invalid. The source's character set is kept if it can
    hold the object's own texts and is a single one, since dcmjs does not read several. Otherwise the object is in
    UTF-8, and the source's texts are re-encoded.

    Args:
        header: of the source.
        target: the derived object, complete except for these elements.
        own_texts: other texts in the object (class names, meanings of codes).
    """
    source = Dataset()
    for keyword in (*_REQUIRED, *_OPTIONAL):
        if keyword in header and (keyword in _IDENTITY or _is_valid(header[keyword])):
            source[keyword] = header[keyword]
        elif keyword in _REQUIRED:
            setattr(source, keyword, None)
    if not any(source.get(keyword) for keyword in ("DeidentificationMethod", "DeidentificationMethodCodeSequence")):
        source.pop("PatientIdentityRemoved", None)  # valid only together with how it was done (C.7.1.1)
    target.StudyInstanceUID = header.StudyInstanceUID
    target.update(source)
    several = isinstance(header.get("SpecificCharacterSet"), MultiValue)
    if several or not all(text.isascii() for text in own_texts):
        target.SpecificCharacterSet = UTF8
    elif header.get("SpecificCharacterSet"):
        target["SpecificCharacterSet"] = header["SpecificCharacterSet"]
    elif "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet


def _is_valid(element: DataElement) -> bool:
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    try:
        for value in values if element.VR != "SQ" else ():
            validate_value(element.VR, str(value) if element.VR in ("DS", "IS") else value, config.RAISE)
    except ValueError:
        return False
    return True


def series_number_beside(header: Dataset) -> int:
    """Return a SeriesNumber that sorts after the scanner's series and tells to which one the object belongs."""
    text = str(header.get("SeriesNumber") or "").strip()
    number = int(text) if text.isascii() and text.isdigit() else 0
    return min(number + _DERIVED_SERIES, _LARGEST_NUMBER)
