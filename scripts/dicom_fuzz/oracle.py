"""What a volume must be, from the files alone: a second reader of headers and pixels that shares no code with ours.

Numbers are taken from the text in the files by a strict pattern, uncompressed pixels straight from their bytes, and
compressed ones from pydicom.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from dicom_fuzz.phantom_series import Files
from dicom_fuzz.raw_elements import RawFile
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from pydicom.valuerep import PersonName

__all__ = ["Plane", "complaints", "planes_of"]

# A voxel may lie this far from where its header puts it.
POSITION_TOLERANCE_MM = 0.1
# float32 keeps seven digits.
VALUE_TOLERANCE = 1e-6

_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_CHARACTER_SET = re.compile(rb"(\x08\x00\x05\x00|\x00\x08\x00\x05)[A-Z?]{2}")
_INTEGER = re.compile(rb"[+-]?\d+")
_UNCOMPRESSED = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
    ExplicitVRBigEndian,
)
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


@dataclass(frozen=True)
class Plane:
    """One plane as its file describes it.

    Attributes:
        name: the file.
        corners_mm: (4, 3), LPS: of the first column and row, the last column, the last row, and both last.
        values: (rows, columns), rescaled; None when nothing is known of them.
        padded: (rows, columns), where the stored value is padding.
        problem: why there is no right value, whatever a decoder gives; empty otherwise.
    """

    name: str
    corners_mm: np.ndarray
    shape: tuple[int, int]
    values: np.ndarray | None
    problem: str = ""
    padded: np.ndarray | None = None


def complaints(
    array: np.ndarray, affine_ras: np.ndarray, findings: Sequence[str], files: Files, originals: Files
) -> list[str]:
    """Compare a volume with the files that it was read from.

    Args:
        array: (columns, rows, slices).
        affine_ras: 4x4.
        findings: what the reader said about the volume.
        files: the files as they were read.
        originals: the files before they were damaged: of a truncated file the values that it once had are right.

    Returns:
        What is wrong, in words; empty for a right volume.
    """
    array, affine = np.asarray(array), np.asarray(affine_ras, float)
    if array.ndim != 3 or affine.shape != (4, 4) or not np.isfinite(affine).all():
        return [f"array of shape {array.shape}, affine {affine.tolist()}"]
    if not np.isfinite(array).all():
        return ["values that are no numbers"]
    planes = [plane for name, data in files.items() if data for plane in planes_of(name, data, originals.get(name))]
    affine_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    found, used = [], set()
    padded = np.zeros(array.shape, dtype=bool)
    for k in range(array.shape[2]):
        problem, plane = _judge_slice(array[:, :, k].T, affine_lps, k, planes)
        used.add(plane.name if plane else "")
        found += [f"slice {k}: {problem}"] if problem else []
        if plane is not None and plane.padded is not None:
            padded[:, :, k] = plane.padded.T
    if padded.any() and not padded.all() and array[padded].max() > array[~padded].min():
        found.append(f"padding reads as {array[padded].max()}, other values begin at {array[~padded].min()}")
    unused = sorted(set(files) - used)
    if unused and not any(findings):
        found.append(f"{unused} left out silently")
    return found


def _judge_slice(values: np.ndarray, affine_lps: np.ndarray, k: int, planes: list[Plane]) -> tuple[str, Plane | None]:
    """Return what is wrong with one slice (rows, columns), and the plane that it comes from."""
    rows, columns = values.shape
    voxels = np.array([(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)])
    corners = np.c_[voxels, np.full(4, k), np.ones(4)] @ affine_lps[:3].T
    near = [p for p in planes if p.shape == values.shape and _apart_mm(p.corners_mm, corners) < POSITION_TOLERANCE_MM]
    if not near:
        off = min((_apart_mm(plane.corners_mm, corners) for plane in planes), default=np.inf)
        return f"no file has a plane there, the nearest is {off:.3g} mm away", None
    for plane in near:
        if plane.values is not None and _equal(values, plane.values, plane.padded):
            return "", plane
    unknown = [plane for plane in near if plane.values is None and not plane.problem]
    if unknown:  # the file tells where the plane is, but pydicom does not say what its values are
        return "", unknown[0]
    return near[0].problem or f"values differ from those of {near[0].name}", near[0]


def _apart_mm(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other, axis=1).max())


def _equal(got: np.ndarray, expected: np.ndarray, padded: np.ndarray | None) -> bool:
    if padded is not None:
        got, expected = got[~padded], expected[~padded]
    if not expected.size:
        return True
    scale = max(float(np.abs(expected).max()), 1e-30)
    return bool((np.abs(got - expected) <= VALUE_TOLERANCE * np.maximum(np.abs(expected), scale * 1e-3)).all())


def planes_of(name: str, data: bytes, original: bytes | None = None) -> list[Plane]:
    """Return the planes of a file whose headers make sense to a strict reader.

    A file that was cut short behind its header still has the planes of the original: its lost pixels cannot be others.
    """
    if original and len(data) < len(original) and original.startswith(data) and _pixels_start(original):
        return planes_of(name, original) if len(data) > _pixels_start(original) else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = _read(data)
            count = _integer(dataset, "NumberOfFrames") or 1
            groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
        except Exception:  # any damage at all
            return []
        if count != max(len(groups), 1):
            return []
        shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
        planes = []
        for index in range(count):
            sources = [*groups[index : index + 1], *shared[:1], dataset]
            try:
                planes.append(_plane(name, dataset, sources, index))
            except Exception:  # this plane is nowhere
                continue
        return planes


def _read(data: bytes) -> Dataset:
    """Read a file, if necessary without its character set: if that is damaged, pydicom reads nothing at all."""
    try:
        return pydicom.dcmread(io.BytesIO(data), force=True)
    except Exception:  # whatever is left then is the file's own damage
        return pydicom.dcmread(io.BytesIO(_CHARACTER_SET.sub(_as_other_element, data)), force=True)


def _as_other_element(head: re.Match[bytes]) -> bytes:
    """Return the head of a character set as that of the preceding element, a meaningless text."""
    return head[1].replace(b"\x05", b"\x04") + b"CS"


def _pixels_start(data: bytes) -> int:
    """Return where in a well-formed file the pixels begin; 0 if the whole file is compressed."""
    file = RawFile.from_bytes(data)
    return 0 if file.deflated else len(file.head) + file.find("PixelData")[0].value_start


def _plane(name: str, dataset: Dataset, sources: list[Dataset], index: int) -> Plane:
    position = _numbers(sources, "ImagePositionPatient", 3)
    cosines = _numbers(sources, "ImageOrientationPatient", 6)
    between_rows, between_columns = _numbers(sources, "PixelSpacing", 2)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    last_column = (columns - 1) * between_columns * cosines[:3]
    last_row = (rows - 1) * between_rows * cosines[3:]
    corners = position + np.array([np.zeros(3), last_column, last_row, last_column + last_row])
    try:
        slope, intercept = (_rescale(sources, *part) for part in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)))
        if slope == 0:
            raise ValueError("slope 0")
    except ValueError as error:
        return Plane(name, corners, (rows, columns), None, f"no rescale: {error}")
    try:
        stored = _stored(dataset, index, rows, columns)
    except _NoPixelsError as error:
        return Plane(name, corners, (rows, columns), None, str(error))
    except Exception:  # a codec's refusal, of whatever kind
        return Plane(name, corners, (rows, columns), None)
    padded = _padded(dataset, stored)
    if dataset.get("ModalityLUTSequence"):
        try:
            values = np.asarray(apply_modality_lut(stored, dataset), float)
            return Plane(name, corners, (rows, columns), values, padded=padded)
        except Exception:  # a table that makes no sense
            return Plane(name, corners, (rows, columns), None, "Modality LUT that cannot be applied")
    return Plane(name, corners, (rows, columns), stored * slope + intercept, padded=padded)


class _NoPixelsError(ValueError):
    """Pixels that are not in the file, or that its header describes with contradictions."""


def _stored(dataset: Dataset, index: int, rows: int, columns: int) -> np.ndarray:
    """Return the stored values of a frame, (rows, columns), as wide integers."""
    allocated, used = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.HighBit) if "HighBit" in dataset else used - 1
    signed = int(dataset.PixelRepresentation)
    if signed not in (0, 1) or not 0 < used <= high + 1 <= allocated or dataset.get("SamplesPerPixel", 1) != 1:
        raise _NoPixelsError(f"bits {used} of {allocated} up to {high}, representation {signed}: contradictory")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax in _UNCOMPRESSED:
        if allocated not in (8, 16, 32):
            raise _NoPixelsError(f"{allocated} bits allocated")
        element = dataset.get_item(Tag("PixelData"))
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        size = rows * columns
        start = index * size * allocated // 8
        if len(element.value) < start + size * allocated // 8:
            raise _NoPixelsError("pixels are missing")
        stored = np.frombuffer(element.value, f"{order}u{allocated // 8}", size, start).reshape(rows, columns)
    elif syntax == RLELossless:
        stored = pixel_array(dataset, index=index, raw=True).view(f"u{allocated // 8}")
    else:
        return np.asarray(pixel_array(dataset, index=index, raw=True)).astype(np.int64)
    wide = (stored.astype(np.int64) >> (high + 1 - used)) & ((1 << used) - 1)
    return np.where(wide >> (used - 1), wide - (1 << used), wide) if signed else wide


def _padded(dataset: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Return where stored values are padding (PS3.3 C.7.5.1.1.2), which is signed as the pixels are."""
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        element = dataset.get_item(Tag(keyword))
        if element is None or len(element.value or b"") != 2:
            break
        word = int.from_bytes(element.value, "little" if element.is_little_endian else "big")
        word &= (1 << int(dataset.BitsAllocated)) - 1
        top = 1 << (min(16, int(dataset.BitsAllocated)) - 1)
        ends.append(word - 2 * top if int(dataset.PixelRepresentation) and word & top else word)
    return (stored >= min(ends)) & (stored <= max(ends)) if ends else None


def _element(sources: list[Dataset], keyword: str) -> tuple[str, bytes | object]:
    """Return VR and value of the nearest element of that name that is not empty: its bytes when it is text."""
    for source in sources:
        places = [source]
        if keyword in _GROUPS and source.get(_GROUPS[keyword]):
            places.insert(0, source[_GROUPS[keyword]].value[0])
        for place in places:
            element = place.get_item(Tag(keyword))
            if element is None:
                continue
            if isinstance(element, RawDataElement) and element.VR in ("DS", "IS", None):
                value = (element.value or b"").strip(b"\0 \t\r\n")
                if value:
                    return "text", value
            elif place[keyword].value is not None and np.size(place[keyword].value):
                value = place[keyword].value
                if place[keyword].VR in ("DS", "IS", "FD", "FL"):
                    return "numbers", value
                # Text of another kind has its meaning; numbers of another kind have not.
                texts = [value] if isinstance(value, str | PersonName) else list(value) if np.ndim(value) else []
                if not all(isinstance(text, str | PersonName) for text in texts) or not texts:
                    raise ValueError(f"{keyword} as {place[keyword].VR}")
                return "text", "\\".join(str(text) for text in texts).encode("latin-1").strip(b"\0 \t\r\n")
    return "", b""


def _numbers(sources: list[Dataset], keyword: str, count: int) -> np.ndarray:
    kind, value = _element(sources, keyword)
    parts = value.split(b"\\") if isinstance(value, bytes) and kind == "text" else np.ravel(value)
    if kind == "text" and not all(_NUMBER.fullmatch(part.strip(b"\0 ")) for part in parts):
        raise ValueError(f"{keyword} is no number")
    numbers = np.array([float(part.strip(b"\0 ") if isinstance(part, bytes) else part) for part in parts])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{keyword} is no {count} numbers")
    return numbers


def _rescale(sources: list[Dataset], keyword: str, absent: float) -> float:
    return absent if _element(sources, keyword)[1] in (b"", "") else float(_numbers(sources, keyword, 1)[0])


def _integer(dataset: Dataset, keyword: str) -> int:
    kind, value = _element([dataset], keyword)
    if kind == "text" and isinstance(value, bytes):
        if value and not _INTEGER.fullmatch(value):
            raise ValueError(f"{keyword} is no integer")
        return int(value or 0)
    return int(value) if value not in (b"", "") else 0
