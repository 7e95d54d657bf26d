"""DICOM SEG and RTSTRUCT -> a label map on the grid of the image they were drawn on."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from monai_vggunet.dicom.annotations.label_grid import ImageGrid, LabelCanvas
from monai_vggunet.dicom.annotations.segment_names import assign_classes
from monai_vggunet.dicom.annotations.segmentation import SEGMENTATION_CLASSES, paint_segments, segments_of
from monai_vggunet.dicom.annotations.structure_set import (
    RTSTRUCT_CLASS,
    paint_structures,
    structure_frames_of_reference,
    structures_of,
)
from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.dicom.headers.bounded_reading import TooLargeError, read_dicom
from monai_vggunet.dicom.headers.dicom_files import is_dicom_file
from monai_vggunet.errors import (
    ConfigurationError,
    DicomReadError,
    GridMismatchError,
    LabelContentError,
    SeriesSelectionError,
    VGGUNetError,
)
from monai_vggunet.folder_walk import walk
from monai_vggunet.names import listed
from monai_vggunet.privacy import clean_uid
from monai_vggunet.short_uid import short_uid

__all__ = ["Annotation", "OverlapPolicy", "annotation_file", "read_annotation"]

OverlapPolicy = Literal["higher", "error"]

_CLASSES = {*SEGMENTATION_CLASSES, RTSTRUCT_CLASS}
_UNDEFINED_LENGTH = 0xFFFFFFFF  # PS3.5 7.1.1
# What pydicom and arithmetic raise on elements that are absent, empty, or hold something other than they should.
_DAMAGE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A label map read from DICOM.

    Attributes:
        array: (columns, rows, slices), uint8 class numbers on the image's grid; 0 is background.
        path: of the object.
        findings: what a user should know.
    """

    array: np.ndarray
    path: Path
    findings: tuple[Finding, ...]


def read_annotation(
    path: str | os.PathLike[str],
    grid: ImageGrid,
    class_map: Mapping[str, int] | None = None,
    on_overlap: OverlapPolicy = "higher",
) -> Annotation:
    """Read a DICOM SEG or RTSTRUCT as a label map on an image's grid.

    It is placed by geometry alone and nothing is resampled or interpolated: a SEG's voxels must be the image's, a
    contour must lie in one of its slices. Beyond that, FrameOfReferenceUID and study must be the image's, where both
    state them; where one does not (an image from NIfTI never does) geometry decides, and a finding says so.

    Args:
        path: the file, or a folder that holds one such object (other files may lie beside it).
        grid: the image's.
        class_map: name or number of a segment or structure -> class number; see `assign_classes`.
        on_overlap: where classes overlap, the `higher` class number wins and a finding says how many voxels; `error`
            refuses.

    Raises:
        DicomReadError: not readable, damaged, or another kind of object.
        SeriesSelectionError: a folder with several annotations; lists them.
        GridMismatchError: drawn on another grid, in another frame of reference or study, or reaching beyond the image.
        DicomGeometryError: frames without a place in space.
        DicomPixelError: pixel data missing or not decodable.
        LabelContentError: segments that the class map does not tell apart, or overlapping ones, if that is an error.

    Example:
        >>> grid = ImageGrid(np.eye(4), (512, 512, 40))
        >>> read_annotation("seg.dcm", grid, {"liver": 1})  # doctest: +SKIP
    """
    if on_overlap not in ("higher", "error"):
        raise ConfigurationError(f"on_overlap is {on_overlap!r}; expected 'higher' or 'error'")
    file = annotation_file(path)
    dataset = _read(file)
    canvas = LabelCanvas(grid)
    try:
        findings = _drawn(dataset, file, canvas, class_map)
    except VGGUNetError:
        raise
    except _DAMAGE as error:
        raise DicomReadError(
            f"{file} has unreadable content ({type(error).__name__}): a damaged object; export it again"
        ) from error
    findings += _overlap(canvas, file, on_overlap)
    if not canvas.array.any():
        findings.append(warning(FindingKind.EMPTY_LABEL, "no voxel belongs to a class"))
    for finding in findings:
        logger.log(finding.log_level, "%s: %s", file.name, finding.text)
    return Annotation(canvas.array, file, tuple(findings))


def _drawn(dataset: Dataset, file: Path, canvas: LabelCanvas, class_map: Mapping[str, int] | None) -> list[Finding]:
    """Draw an object onto the canvas; return findings."""
    structures = _sop_class(dataset) == RTSTRUCT_CLASS
    segments = structures_of(dataset, file) if structures else segments_of(dataset, file)
    classes, notes = assign_classes(segments, class_map, str(file))
    findings = notes + _require_same_world(dataset, file, canvas.grid, set(classes))
    if structures:
        return findings + paint_structures(dataset, file, canvas, classes)
    paint_segments(dataset, file, canvas, classes)
    return findings


def annotation_file(path: str | os.PathLike[str]) -> Path:
    """Return the one file at `path` that is a DICOM SEG or RTSTRUCT.

    Args:
        path: the file itself, or a folder; images and other files in it are skipped.

    Raises:
        DicomReadError: nothing there, or another kind of object.
        SeriesSelectionError: several; lists them.
    """
    root = Path(path)
    if not root.is_dir():
        return root
    found = []
    for file in sorted(folder / name for folder, _, names in walk(root) for name in names):
        kind = _kind_of(file)
        if kind:
            found.append((file, kind))
    if not found:
        raise DicomReadError(f"the folder {root} holds neither a DICOM SEG nor an RTSTRUCT; expected one as a label")
    if len(found) > 1:
        names = listed(f"{file.relative_to(root)} ({kind})" for file, kind in found)
        raise SeriesSelectionError(
            f"the folder {root} holds {len(found)} annotations: {names}; "
            "expected one: name the file as the case's 'label' in dataset.json, or keep it alone in the folder"
        )
    return found[0][0]


def _kind_of(file: Path) -> str:
    """Return what annotation a file is; empty for anything else, damaged files included."""
    try:
        if not is_dicom_file(file):
            return ""
        header = read_dicom(file, before_pixels=True, tags=["SOPClassUID"])
    except Exception:  # a folder may hold anything
        return ""
    return UID(_sop_class(header)).name if _sop_class(header) in _CLASSES else ""


def _read(file: Path) -> Dataset:
    if not file.exists():
        raise DicomReadError(f"{file} does not exist; expected a DICOM SEG or RTSTRUCT")
    try:
        readable = is_dicom_file(file)
    except OSError as error:
        raise DicomReadError(f"{file} cannot be read: {error.strerror or type(error).__name__}") from error
    try:
        dataset = read_dicom(file) if readable else Dataset()
    except TooLargeError as error:
        raise DicomReadError(f"{file} cannot be read: {error}; a damaged file") from error
    except Exception as error:  # a parser meets every kind of damage
        raise DicomReadError(f"{file} cannot be read: {type(error).__name__}; a damaged file") from error
    if not readable:
        raise DicomReadError(f"{file} is not a DICOM file; expected a DICOM SEG or RTSTRUCT")
    if any(_is_cut_short(dataset.get_item(tag)) for tag in dataset.keys()):  # noqa: SIM118 (items would be parsed)
        raise DicomReadError(f"{file} ends within an element: a file cut short; restore it")
    if _sop_class(dataset) not in _CLASSES:
        raise DicomReadError(
            f"{file} is of the kind {_kind_name(dataset)!r}; expected a label as DICOM SEG, "
            "Label Map SEG or RTSTRUCT (or as NIfTI)"
        )
    return dataset


def _is_cut_short(element: object) -> bool:
    """Whether an element holds less than it says: pydicom reads the items of such a sequence as if they were all."""
    return (
        isinstance(element, RawDataElement)
        and element.length != _UNDEFINED_LENGTH
        and len(element.value or b"") < element.length
    )


def _sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None) or Dataset()
    return str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")


def _kind_name(dataset: Dataset) -> str:
    uid = UID(_sop_class(dataset))
    return (clean_uid(uid) if uid.name == uid else uid.name) or "unknown"


def _require_same_world(dataset: Dataset, file: Path, grid: ImageGrid, numbers: set[int]) -> list[Finding]:
    """Refuse an annotation of another frame of reference or study; say what cannot be checked."""
    studies, series = _references(dataset)
    if _sop_class(dataset) == RTSTRUCT_CLASS:
        frames = structure_frames_of_reference(dataset, numbers)
    else:
        frames = {str(dataset.get("FrameOfReferenceUID") or "")} - {""}
    if grid.frame_of_reference_uid and frames - {grid.frame_of_reference_uid}:
        raise GridMismatchError(
            f"{file} is drawn in frame of reference {_listed(frames - {grid.frame_of_reference_uid})}, "
            f"{grid.name} lies in {short_uid(grid.frame_of_reference_uid)}: their coordinates mean different "
            "places; give the series it was drawn on"
        )
    same_series = bool(grid.series_uid) and grid.series_uid in series
    if grid.study_uid and studies and grid.study_uid not in studies and not same_series:
        raise GridMismatchError(
            f"{file} belongs to study {_listed(studies)}, {grid.name} to {short_uid(grid.study_uid)}: an annotation of "
            "another examination, or of another patient; give the one that was drawn on this series"
        )
    unknown = []
    if not (frames and grid.frame_of_reference_uid):
        unknown.append(f"FrameOfReferenceUID ({'the image' if frames else 'the annotation'} states none)")
    if not (studies and grid.study_uid):
        unknown.append(f"study ({'the image' if studies else 'the annotation'} states none)")
    findings: list[Finding] = []
    if unknown:
        text = f"placed by geometry alone, without comparing {' and '.join(unknown)}"
        findings.append(warning(FindingKind.PLACED_BY_GEOMETRY, text))
    if series and grid.series_uid and not same_series:
        text = "it was drawn on another series of the study; its geometry fits this one"
        findings.append(warning(FindingKind.DRAWN_ON_ANOTHER_SERIES, text))
    return findings


def _listed(uids: set[str]) -> str:
    return ", ".join(map(short_uid, sorted(uids)))


def _references(dataset: Dataset) -> tuple[set[str], set[str]]:
    """Return the studies and series that an annotation says it belongs to."""
    studies = {str(dataset.get("StudyInstanceUID") or "")}
    series = {str(item.get("SeriesInstanceUID") or "") for item in dataset.get("ReferencedSeriesSequence") or ()}
    for item in dataset.get("StudiesContainingOtherReferencedInstancesSequence") or ():
        studies.add(str(item.get("StudyInstanceUID") or ""))
        series |= {str(s.get("SeriesInstanceUID") or "") for s in item.get("ReferencedSeriesSequence") or ()}
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            studies.add(str(study.get("ReferencedSOPInstanceUID") or ""))
            series |= {str(s.get("SeriesInstanceUID") or "") for s in study.get("RTReferencedSeriesSequence") or ()}
    return studies - {""}, series - {""}


def _overlap(canvas: LabelCanvas, file: Path, policy: OverlapPolicy) -> list[Finding]:
    if not canvas.n_contested:
        return []
    classes = ", ".join(map(str, sorted(canvas.contested_classes)))
    text = f"{canvas.n_contested} voxels belong to several of the classes {classes}"
    if policy == "error":
        raise LabelContentError(f"{text} in {file}; expected one class each: correct it, or pass on_overlap='higher'")
    wins = f"{text}: the higher class number wins"
    return [warning(FindingKind.CLASSES_OVERLAP, wins, count=canvas.n_contested)]
