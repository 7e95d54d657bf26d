"""The image planes of one file: one for a classic file, one per frame for enhanced multi-frame objects.

Enhanced objects keep a plane's geometry in functional groups: its own group first, then the shared one, and only
then the file's top level (PS3.3 C.7.6.16).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from monai_vggunet.dicom.headers.discriminators import DISCRIMINATORS, discriminators_at_top, in_order
from monai_vggunet.dicom.headers.functional_groups import GROUPS
from monai_vggunet.dicom.headers.pixel_description import LONGEST_START, contradiction_in_pixels
from monai_vggunet.dicom.headers.plain_elements import PlainElements
from monai_vggunet.dicom.headers.records import FrameRecord, ImageKind
from monai_vggunet.dicom.headers.stored_pixels import StoredPixels

__all__ = ["frames_of", "kind_of", "legible"]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# What scanners write into ImageType of images that are not slices of a volume.
_SCREENS = frozenset({"SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "DOSE_INFO", "DOSE INFO", "DOSE REPORT"})
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})

_GROUPED = tuple(keyword for keyword in DISCRIMINATORS if keyword in GROUPS)


def frames_of(
    path: Path,
    header: Dataset,
    sop_class_uid: str,
    file_bytes: int,
    stored: StoredPixels | None = None,
) -> tuple[FrameRecord, ...] | str:
    """Return the file's image planes, or the reason (text) why it has none that can be trusted.

    Args:
        path: the file the header was read from.
        header: its elements without pixel data.
        sop_class_uid: storage class, which says whether it is a secondary capture.
        file_bytes: size of the file; what a header promises is held against it.
        stored: what is known about the file's pixels.

    Example:
        >>> import pydicom
        >>> header = pydicom.Dataset()
        >>> header.Rows, header.Columns = 4, 5
        >>> [(frame.rows, frame.columns) for frame in frames_of(Path("a.dcm"), header, "", 1000)]
        [(4, 5)]
    """
    try:
        return _all_frames(path, header, sop_class_uid, file_bytes, stored)
    except _UnusableHeader as error:
        return str(error)


class _UnusableHeader(ValueError):
    """A header that describes no plane that can be trusted."""


def _all_frames(
    path: Path, header: Dataset, sop_class_uid: str, file_bytes: int, stored: StoredPixels | None
) -> tuple[FrameRecord, ...]:
    count = _frame_count(header)
    syntax = _raw_text(getattr(header, "file_meta", None) or Dataset(), "TransferSyntaxUID")
    start = stored.layout.offset if stored and stored.layout else LONGEST_START
    element = stored.element if stored else None
    contradiction = contradiction_in_pixels(header, count, syntax, file_bytes, start, element)
    if contradiction:
        raise _UnusableHeader(contradiction)
    told_apart = discriminators_at_top(header, _find_legible)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        # Frames of an object without functional groups (ultrasound, nuclear medicine, ...) share no known geometry.
        first = _frame(path, header, (header,), 0, sop_class_uid, count == 1, told_apart, stored)
        return (first, *(replace(first, frame_index=index) for index in range(1, count)))
    if len(groups) != count:
        raise _UnusableHeader(f"NumberOfFrames is {count}, but {len(groups)} frames are described: a damaged header")
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    return tuple(
        _frame(path, header, (group, shared[0], header), index, sop_class_uid, True, told_apart, stored)
        for index, group in enumerate(groups)
    )


def _frame_count(header: Dataset) -> int:
    """Return NumberOfFrames; 1 when it is absent, or 0 as some software writes for a single frame."""
    text = _raw_text(header, "NumberOfFrames")
    if text and not (_INTEGER.fullmatch(text) and int(text) >= 0):
        raise _UnusableHeader("NumberOfFrames is not a number of frames: a damaged header")
    return int(text or 1) or 1


def _frame(
    path: Path,
    header: Dataset,
    sources: tuple[Dataset, ...],
    index: int,
    sop_class_uid: str,
    placed: bool,
    told_apart: dict[str, str],
    stored: StoredPixels | None = None,
) -> FrameRecord:
    """Describe one plane from the given sources, the nearest first; `placed` is False if its position is unknown.

    `told_apart` are the discriminators at the file's top level.
    """
    types = legible(_find(sources, "ImageType")).split("\\")
    image_type = tuple(part.strip().upper() for part in types if part.strip())
    spacing = _numbers(sources, "PixelSpacing", 2)
    position = _numbers(sources, "ImagePositionPatient", 3) if placed else None
    orientation = _numbers(sources, "ImageOrientationPatient", 6)
    slope, intercept = _rescale(sources, "RescaleSlope"), _rescale(sources, "RescaleIntercept")
    return FrameRecord(
        path=path,
        sop_instance_uid=_sop_instance_uid(header),
        frame_index=index,
        kind=kind_of(image_type, sop_class_uid),
        rows=int(header.Rows),
        columns=int(header.Columns),
        position_lps_mm=None if position is None else (position[0], position[1], position[2]),
        orientation_lps=None if orientation is None else tuple(orientation),  # type: ignore[arg-type]
        pixel_spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        slice_spacing_mm=_number(sources, "SpacingBetweenSlices"),
        slice_thickness_mm=_number(sources, "SliceThickness"),
        rescale_slope=1.0 if slope is None else slope,
        rescale_intercept=intercept or 0.0,
        photometric=legible(_find((header,), "PhotometricInterpretation")),
        samples_per_pixel=int(header.get("SamplesPerPixel") or 1),
        image_type=image_type,
        instance_number=number if _INTEGER.fullmatch(number := _raw_text(header, "InstanceNumber")) else "",
        discriminators=in_order(told_apart | _in_groups(sources)),
        has_rescale=not (slope is None and intercept is None),
        rescale_type=legible(_find(sources, "RescaleType")),
        stored=stored,
    )


def _sop_instance_uid(header: Dataset) -> str:
    """Return the object's UID; a file stripped of it still carries it in its file meta information."""
    meta = getattr(header, "file_meta", None) or Dataset()
    return legible(_raw_text(header, "SOPInstanceUID") or _raw_text(meta, "MediaStorageSOPInstanceUID"))


def legible(text: str) -> str:
    r"""Cut a text before its first control character.

    Where the length of an element is damaged, its text runs on into the elements behind it, among them the patient's
    name; the bytes between elements are never printable. Texts that messages show pass through here.

    Example:
        >>> legible("phantom \x10\x00\x10\x00PN\x0e\x00Doe^Jane")
        'phantom'
    """
    if text.isprintable():
        return text
    end = next(index for index, character in enumerate(text) if not character.isprintable())
    return text[:end].strip()


def kind_of(image_type: tuple[str, ...], sop_class_uid: str) -> ImageKind:
    """Return what a plane is for, by the values of its ImageType and its storage class."""
    if sop_class_uid == _SECONDARY_CAPTURE or sop_class_uid.startswith(_SECONDARY_CAPTURE + "."):
        return ImageKind.SECONDARY_CAPTURE
    if _SCREENS.intersection(image_type):  # dose reports and screen copies are often stored as CT or MR images
        return ImageKind.SECONDARY_CAPTURE
    return ImageKind.LOCALIZER if _LOCALIZERS.intersection(image_type) else ImageKind.IMAGE


def _rescale(sources: tuple[Dataset, ...], keyword: str) -> float | None:
    """Return a rescale value, None when absent; one that is present but unusable makes the file a damaged one."""
    text = _find(sources, keyword)
    if not text:
        return None
    value = _decimal(text)
    least = _LEAST_SLOPE if keyword == "RescaleSlope" else 0.0
    if value is None or not least <= abs(value) <= _LARGEST_RESCALE:
        shown = f"{value:.6g}" if value is not None else "not a number"  # which may be anything, and is never shown
        raise _UnusableHeader(f"{keyword} is {shown}: a damaged header")
    return value


def _number(sources: tuple[Dataset, ...], keyword: str) -> float | None:
    numbers = _numbers(sources, keyword, 1)
    return None if numbers is None else numbers[0]


def _numbers(sources: tuple[Dataset, ...], keyword: str, count: int) -> list[float] | None:
    """Return exactly `count` numbers, or None when they are absent or not readable."""
    return _split_numbers(_find(sources, keyword), count)


def _split_numbers(text: str, count: int) -> list[float] | None:
    numbers = [_decimal(part) for part in text.split("\\")]
    known = [number for number in numbers if number is not None]
    return known if len(numbers) == len(known) == count else None


def _decimal(text: str) -> float | None:
    """Return a decimal string's number; None for what only Python accepts as one (`1_0`, `nan`, other digits)."""
    text = text.strip("\0 \t\r\n")
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def _find(sources: tuple[Dataset, ...], keyword: str) -> str:
    """Return an element's text from the first source that has it, multiple values separated by a backslash."""
    for source in sources:
        # A plain header holds none of these sequences, and looking for them takes time.
        for sequence, inner in () if isinstance(source, PlainElements) else GROUPS.get(keyword, ()):
            group = source.get(sequence)
            text = _raw_text(group[0], inner) if group else ""
            if text:
                return text
        text = _raw_text(source, keyword)
        if text:
            return text
    return ""


def _in_groups(sources: tuple[Dataset, ...]) -> dict[str, str]:
    """Return the discriminators that stand in functional groups, which a plain header has none of."""
    if len(sources) == 1:
        return {}
    return {keyword: text for keyword in _GROUPED if (text := _find_legible(sources, keyword))}


def _find_legible(sources: tuple[Dataset, ...], keyword: str) -> str:
    return legible(_find(sources, keyword))


def _raw_text(source: Dataset, keyword: str) -> str:
    """Return an element's text as it stands in the file.

    Decimal strings longer than the 16 characters of PS3.5 6.2 are common; read here as they are, they neither warn
    nor lose digits.
    """
    tag = _tag_of(keyword)
    if isinstance(source, PlainElements):  # asked directly: some 14 times a file
        element = source.raw.get(_number_of(keyword))
    else:
        element = source.get_item(tag) if tag in source else None
    if element is None:
        return ""
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        vr = element.VR or dictionary_VR(tag)
        if vr in _TEXT_VRS or (vr in _NAMING_VRS and element.value.isascii()):
            return element.value.decode("latin-1").strip("\0 ")
    value = source[tag].value
    if value is None:
        return ""
    if keyword in _DECIMALS and source[tag].VR in _BINARY_VRS:  # it would silently be read as another number
        raise _UnusableHeader(f"{keyword} is written as {source[tag].VR}, expected a decimal string: a damaged header")
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(part) for part in value)


_number_of = cache(lambda keyword: int(Tag(keyword)))
_tag_of = cache(Tag)  # pydicom looks a keyword up anew each time, which took most of a header's time

# Value representations whose bytes are the text itself.
_TEXT_VRS = frozenset({"DS", "IS", "CS", "UI", "TM", "DT", "DA"})
# The same as long as they are ASCII, whatever the character set.
_NAMING_VRS = frozenset({"LO", "SH"})
# PS3.5 6.2: digits with sign, point and exponent.
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
# What places a plane and scales its values, and the value representations in which these cannot be.
_DECIMALS = frozenset(
    ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"]
)
_BINARY_VRS = frozenset(["AT", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SQ", "SS", "SV", "UL", "UN", "US", "UV"])
# Beyond these, the product with a stored value of 32 bits no longer fits into float32.
_LARGEST_RESCALE, _LEAST_SLOPE = 1e28, 1e-28
