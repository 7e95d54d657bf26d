"""What may tell planes of several volumes apart, although they share their series and their grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, error
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag

from monai_vggunet.dicom.headers.plain_elements import PlainElements

__all__ = ["DATES", "DISCRIMINATORS", "KEYWORDS", "PRIVATE_TAGS", "TEXTS", "discriminators_at_top", "in_order"]

# In the order in which they are tried.
DISCRIMINATORS = (
    "EchoNumbers",
    "EchoTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "ImageType",
    "ComplexImageComponent",
    "InversionTime",
    "FlipAngle",
    "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase",
    "TriggerTime",
    "StackID",
    "MetaboliteMapDescription",
    "VasCollapseFlag",
    "ConvolutionKernel",
    "KVP",
    "SliceThickness",
    "ReconstructionDiameter",
    "FilterType",
    "ReconstructionMethod",
    "CorrectedImage",
    "Units",
    "ContrastBolusAgent",
    "PatientPosition",
    "SequenceName",
    "SeriesNumber",
    "SeriesDescription",
    "AcquisitionNumber",
    "AcquisitionDate",
    "StudyDate",
    "AcquisitionTime",
)
# GE's name of a private element, which the standard's dictionary does not have.
_GE_FLAG = "VasCollapseFlag"
_STANDARD = tuple(keyword for keyword in DISCRIMINATORS if keyword != _GE_FLAG)
# Those that stand at a header's top level; the others only in functional groups.
KEYWORDS = tuple(keyword for keyword in _STANDARD if keyword not in ("StackID", "MetaboliteMapDescription"))
# Those whose values are text, which may be anything; of the others a number may be shown, however long.
TEXTS = frozenset(keyword for keyword in _STANDARD if dictionary_VR(keyword) in ("CS", "LO", "SH", "ST"))
# How a date is shown: by its place among the others, because days of examinations may identify a patient.
DATES = frozenset(keyword for keyword in _STANDARD if dictionary_VR(keyword) == "DA")

# Elements in which vendors keep what the standard's element often lacks (their DICOM conformance statements): keyword,
# creator of the block, its tag, the element's tag, and its binary form where it is not text.
_PRIVATE: tuple[tuple[str, bytes, BaseTag, BaseTag, Struct | None], ...] = (
    ("DiffusionBValue", b"GEMS_PARM_01", Tag(0x0043, 0x0010), Tag(0x0043, 0x1039), None),
    ("DiffusionBValue", b"SIEMENS MR HEADER", Tag(0x0019, 0x0010), Tag(0x0019, 0x100C), None),
    ("DiffusionBValue", b"Philips Imaging DD 001", Tag(0x2001, 0x0010), Tag(0x2001, 0x1003), Struct("<f")),
    ("DiffusionBValue", b"Image Private Header", Tag(0x0065, 0x0010), Tag(0x0065, 0x1009), Struct("<d")),
    (_GE_FLAG, b"GEMS_PARM_01", Tag(0x0043, 0x0010), Tag(0x0043, 0x1030), Struct("<h")),
)
PRIVATE_TAGS = tuple({tag: None for _, _, creator, element, _ in _PRIVATE for tag in (creator, element)})
# GE adds this to b-values that it computed.
_GE_OFFSET = 1_000_000_000

_TAGS = {keyword: int(Tag(keyword)) for keyword in KEYWORDS}
_TEXT_VRS = frozenset({"CS", "DA", "DS", "IS", "LO", "SH", "TM"})


def discriminators_at_top(header: Any, find: Callable[[tuple[Any, ...], str], str]) -> dict[str, str]:
    """Return keyword and value of every attribute that stands at a header's top level, private ones too.

    Args:
        header: the file's elements.
        find: returns the text of a keyword from some sources, empty where they lack it.
    """
    values: dict[str, str] = {}
    raw = header.raw if isinstance(header, PlainElements) else None
    for keyword, tag in _TAGS.items():
        if raw is None or tag in raw:
            text = (_plain_text(raw[tag]) if raw is not None else None) or find((header,), keyword)
            if text:
                values[keyword] = text
    for keyword, creator, creator_tag, tag, form in _PRIVATE:
        if tag in header and keyword not in values and _bytes_of(header, creator_tag).strip(b"\0 ") == creator:
            values[keyword] = _number_of(_bytes_of(header, tag), form)
    return values


def in_order(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return keywords and values as a plane's record holds them: in the order of `DISCRIMINATORS`."""
    return tuple((keyword, values[keyword]) for keyword in DISCRIMINATORS if values.get(keyword))


def _plain_text(element: Any) -> str | None:
    """Return the text of an element that is plain, far quicker than `find`; None of any other, which `find` reads."""
    value = element.value
    if element.VR not in _TEXT_VRS or not isinstance(value, bytes) or not value.isascii():
        return None
    text = value.decode("ascii").strip("\0 ")
    return text if text.isprintable() else None


def _bytes_of(header: Any, tag: BaseTag) -> bytes:
    element = header.get_item(tag) if tag in header else None
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else b""


def _number_of(value: bytes, form: Struct | None) -> str:
    """Return the first number of a private element; empty if it holds none."""
    try:
        number = float(form.unpack_from(value)[0]) if form else float(value.strip(b"\0 ").split(b"\\")[0])
        return f"{number % _GE_OFFSET:g}" if number >= 0 else ""
    except (error, ValueError, OverflowError):
        return ""
