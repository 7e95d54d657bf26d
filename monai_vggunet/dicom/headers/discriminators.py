"""What may tell planes of several volumes apart, although they share their series and their grid."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error
from typing import Any

from pydicom.tag import BaseTag, Tag

from monai_vggunet.dicom.headers.plain_elements import PlainElements

__all__ = ["DATES", "DISCRIMINATORS", "KEYWORDS", "PRIVATE_TAGS", "TEXTS", "discriminators_of"]

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
    "SequenceName",
    "SeriesNumber",
    "SeriesDescription",
    "AcquisitionNumber",
    "AcquisitionDate",
    "StudyDate",
    "AcquisitionTime",
)
# Those whose values are text, which may be anything; of the others a number may be shown, however long.
TEXTS = frozenset(
    {
        "ImageType",
        "ComplexImageComponent",
        "StackID",
        "MetaboliteMapDescription",
        "ConvolutionKernel",
        "FilterType",
        "ReconstructionMethod",
        "CorrectedImage",
        "SequenceName",
        "SeriesDescription",
    }
)
# GE's name of a private element, which the standard's dictionary does not have.
_GE_FLAG = "VasCollapseFlag"
_STANDARD = tuple(keyword for keyword in DISCRIMINATORS if keyword != _GE_FLAG)
# Those that stand at a header's top level; the others only in functional groups.
KEYWORDS = tuple(keyword for keyword in _STANDARD if keyword not in ("StackID", "MetaboliteMapDescription"))
# How a date is shown: by its place among the others, because days of examinations may identify a patient.
DATES = frozenset({"AcquisitionDate", "StudyDate"})

# Elements in which vendors keep what the standard's element often lacks (their DICOM conformance statements): keyword,
# creator of the block, its tag, the element's tag, and its binary form where it is not text.
_PRIVATE: tuple[tuple[str, str, BaseTag, BaseTag, Struct | None], ...] = (
    ("DiffusionBValue", "GEMS_PARM_01", Tag(0x0043, 0x0010), Tag(0x0043, 0x1039), None),
    ("DiffusionBValue", "SIEMENS MR HEADER", Tag(0x0019, 0x0010), Tag(0x0019, 0x100C), None),
    ("DiffusionBValue", "Philips Imaging DD 001", Tag(0x2001, 0x0010), Tag(0x2001, 0x1003), Struct("<f")),
    ("DiffusionBValue", "Image Private Header", Tag(0x0065, 0x0010), Tag(0x0065, 0x1009), Struct("<d")),
    (_GE_FLAG, "GEMS_PARM_01", Tag(0x0043, 0x0010), Tag(0x0043, 0x1030), Struct("<h")),
)
PRIVATE_TAGS = tuple({tag: None for _, _, creator, element, _ in _PRIVATE for tag in (creator, element)})
# GE adds this to b-values that it computed.
_GE_OFFSET = 1_000_000_000

_TAGS = {keyword: Tag(keyword) for keyword in KEYWORDS}


def discriminators_of(
    header: Any, sources: tuple[Any, ...], find: Callable[[tuple[Any, ...], str], str]
) -> tuple[tuple[str, str], ...]:
    """Return keyword and value of every attribute that a plane has, in the order of `DISCRIMINATORS`.

    Args:
        header: the file's elements.
        sources: where the plane's values stand, the nearest first.
        find: returns the text of a keyword from the sources, empty where they lack it.
    """
    if isinstance(header, PlainElements):  # only what is there is looked for: most attributes are absent
        keywords = [keyword for keyword, tag in _TAGS.items() if tag in header.raw]
    else:
        keywords = list(_STANDARD)
    values = {keyword: text for keyword in keywords if (text := find(sources, keyword))}
    for keyword, creator, creator_tag, tag, form in _PRIVATE:
        if keyword not in values and tag in header and _bytes_of(header, creator_tag).strip(b"\0 ") == creator.encode():
            values[keyword] = _number_of(_bytes_of(header, tag), form)
    return tuple((keyword, values[keyword]) for keyword in DISCRIMINATORS if values.get(keyword))


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
