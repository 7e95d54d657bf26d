"""The DICOM instances that a mask was made from: found again by their UIDs and compared with the mask's geometry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from monai_vggunet.case_path import is_folder_or_case
from monai_vggunet.dicom.affine import ras_to_lps
from monai_vggunet.dicom.headers.bounded_reading import read_dicom
from monai_vggunet.dicom.headers.header import read_header
from monai_vggunet.dicom.headers.records import FrameRecord, InstanceRecord, tell_nothing
from monai_vggunet.dicom.referenced_series import ReferencedSeries
from monai_vggunet.errors import DicomReadError, GridMismatchError
from monai_vggunet.layout import files_of
from monai_vggunet.outputs.dicom.patient_study import HEADER_KEYWORDS
from monai_vggunet.short_uid import short_uid

__all__ = ["SourcePlane", "SourceSeries", "find_source_series", "require_source_series"]

# Corners lie within half a voxel of where the mask's affine puts them. The affine is fitted to positions that scanners
# round to 0.1 mm, whereas a flip or a shift moves voxels by at least one.
TOLERANCE_VOXELS = 0.5


@dataclass(frozen=True)
class SourcePlane:
    """One slice's source: its instance, and its frame within that."""

    instance: InstanceRecord
    frame: FrameRecord

    @property
    def is_multi_frame(self) -> bool:
        """Whether the instance holds several frames, so that a reference must say which one."""
        return len(self.instance.frames) > 1


@dataclass(frozen=True)
class SourceSeries:
    """The planes a mask lies on.

    Attributes:
        planes: one per slice of the mask, in its order.
        header: of the first plane's instance, reduced to patient, study and the elements that derived objects repeat.
    """

    planes: tuple[SourcePlane, ...]
    header: Dataset

    @property
    def instances(self) -> list[InstanceRecord]:
        """Every instance once, in the order of its first slice."""
        return list({plane.instance.sop_instance_uid: plane.instance for plane in self.planes}.values())

    def affine_lps(self, slice_index: int) -> np.ndarray:
        """Return the matrix from (column, row, 1) to LPS mm in one slice's plane, `(3, 3)` (PS3.3 C.7.6.2.1.1)."""
        frame = self.planes[slice_index].frame
        assert frame.orientation_lps is not None  # checked when the series was found
        assert frame.pixel_spacing_mm is not None
        assert frame.position_lps_mm is not None
        along_row, along_column = np.reshape(frame.orientation_lps, (2, 3))
        between_rows, between_columns = frame.pixel_spacing_mm
        return np.column_stack([along_row * between_columns, along_column * between_rows, frame.position_lps_mm])


def require_source_series(meta: Mapping[str, Any], what: str) -> ReferencedSeries:
    """Make sure that a case can be written as a DICOM object at all, before anything is computed.

    Args:
        meta: metadata of the source.
        what: the output, for the message.

    Returns:
        The reader's description of the source: every slice is one of its images.

    Raises:
        DicomReadError: the source is no DICOM series, its slices were interpolated, or UIDs are missing.
    """
    series = ReferencedSeries.from_meta(meta)
    if series is None:
        raise DicomReadError(
            f"{what} needs a DICOM series to refer to, and this input is none: give the series, or ask for the output "
            "'nifti' alone (--output nifti)"
        )
    if len(series.images) < len(series.slices):
        raise DicomReadError(
            f"{what} needs slices that are the series' own, and these were interpolated: read with on_gap (--on-gap) "
            "and on_tilt (--on-tilt) 'keep' or 'error' instead of 'resample', or ask for the output 'nifti' alone "
            "(--output nifti)"
        )
    uids = {
        "StudyInstanceUID": series.study_uid,
        "SeriesInstanceUID": series.series_uid,
        "SOPInstanceUID": all(series.instance_uids),
    }
    missing = [name for name, there in uids.items() if not there]
    if missing:
        raise DicomReadError(
            f"{what} has to name its source, which lacks {' and '.join(missing)} (missing or empty): restore the "
            "series, or ask for the output 'nifti' alone (--output nifti)"
        )
    return series


def find_source_series(
    meta: Mapping[str, Any], shape: tuple[int, ...], affine: np.ndarray, what: str = "a DICOM object"
) -> SourceSeries:
    """Find a mask's source again, and make sure that the mask lies on it, slice by slice.

    Args:
        meta: of `DicomSeriesReader`.
        shape: `(columns, rows, slices)` of the mask.
        affine: of the mask, voxel index to RAS mm.
        what: the output, for messages.

    Raises:
        DicomReadError: see `require_source_series`; or files are gone, or are no longer of the patient, study, series
            and frame of reference that were read.
        GridMismatchError: the mask has another shape or position than the headers say: it was flipped, moved or not
            brought back onto the source's grid, or the files have changed.
    """
    source = require_source_series(meta, what)
    uids = set(source.instance_uids)
    found = _instances_by_uid(_candidates(source.files, meta), uids)
    gone = sorted(uids - set(found))
    if gone:
        raise DicomReadError(
            f"{len(gone)} of the {len(uids)} source instances are gone or have changed since they were read, such as "
            f"SOP instance {short_uid(gone[0])}: {what} has to refer to them; restore the files and run again"
        )
    planes = []
    for one in source.images:
        instance = found[one.sop_instance_uid]
        if not 1 <= one.frame_number <= len(instance.frames):
            raise DicomReadError(
                f"frame {one.frame_number} of SOP instance {short_uid(one.sop_instance_uid)} was read, but the file "
                f"ends with frame {len(instance.frames)} now: it has changed; restore it and run again"
            )
        planes.append(SourcePlane(instance, instance.frames[one.frame_number - 1]))
    _require_one_origin(planes, source, what)
    header = read_dicom(planes[0].instance.path, before_pixels=True, tags=HEADER_KEYWORDS)
    series = SourceSeries(tuple(planes), header)
    _require_grid(series, shape, np.asarray(affine, dtype=np.float64), what)
    return series


def _candidates(files: Iterable[Path], meta: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that were read, then all others below the folder, since files may have been renamed meanwhile."""
    yield from files
    root = str(meta.get("filename_or_obj", "") or "")
    if root and is_folder_or_case(root):
        yield from files_of(root)


def _instances_by_uid(paths: Iterable[Path], uids: set[str]) -> dict[str, InstanceRecord]:
    found: dict[str, InstanceRecord] = {}
    for path in paths:
        if len(found) == len(uids):
            break
        record = read_header(path)
        if isinstance(record, InstanceRecord) and record.frames and record.sop_instance_uid in uids:
            found.setdefault(record.sop_instance_uid, record)
    return found


def _require_one_origin(planes: Iterable[SourcePlane], source: ReferencedSeries, what: str) -> None:
    """Compare the patient and the UIDs of every instance with those that were read: an object refers to one of each.

    Study UIDs that are all different were read as one study, see `tell_nothing`.
    """
    planes = list(planes)
    instances = {plane.instance.path: plane.instance for plane in planes}.values()
    odd_studies = tell_nothing([instance.study_uid for instance in instances])
    read = {
        "PatientID": source.patient_hash,
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "FrameOfReferenceUID": source.frame_of_reference_uid,
        "Modality": source.modality,
    }
    for plane in planes:
        one = plane.instance
        now = (
            one.patient_hash,
            source.study_uid if odd_studies else one.study_uid,
            one.series_uid,
            one.frame_of_reference_uid,
            one.modality,
        )
        other = [name for (name, before), after in zip(read.items(), now, strict=True) if before != after]
        other += ["SOPClassUID"] if one.sop_class_uid != planes[0].instance.sop_class_uid else []
        if other:
            raise DicomReadError(
                f"{plane.frame.name} has another {' and '.join(other)} than the series that was read; {what} refers to "
                "one patient, study and series: its file has changed; restore it and run again"
            )


def _require_grid(series: SourceSeries, shape: tuple[int, ...], affine_ras: np.ndarray, what: str) -> None:
    """Compare a mask's shape and affine with every plane's header: a flip, a shuffle or a shift cannot pass."""
    frames = [plane.frame for plane in series.planes]
    expected = (frames[0].columns, frames[0].rows, len(frames))
    if tuple(shape) != expected or any((f.columns, f.rows) != expected[:2] for f in frames):
        raise GridMismatchError(
            f"the mask has the shape {tuple(shape)}, its source {expected} (columns, rows, slices): {what} holds the "
            "mask of the source's own pixels; undo the preprocessing (Invertd) before saving"
        )
    affine = ras_to_lps(affine_ras)
    to_voxels = np.linalg.inv(affine[:3, :3])
    corner = np.subtract(expected[:2], 1)
    origins, centers = [], []
    for k, frame in enumerate(frames):
        if frame.position_lps_mm is None or frame.orientation_lps is None or frame.pixel_spacing_mm is None:
            raise GridMismatchError(f"{frame.name} has lost its position since it was read: restore the file")
        plane = series.affine_lps(k)
        if np.abs(to_voxels @ (plane[:, :2] - affine[:3, :2]) * corner).max() > TOLERANCE_VOXELS:
            raise _elsewhere(k, frame, "its rows and columns have other directions or another spacing", what)
        origins.append(plane[:, 2])
        centers.append(affine[:3, 3] + k * affine[:3, 2])
    steps = np.diff(origins, axis=0) @ affine[:3, 2]
    if (steps <= 0).any():
        raise _elsewhere(int(np.argmax(steps <= 0)) + 1, frames[0], "the slices are in another order", what)
    # Slices that keep their gaps (`keep`) deviate from the mean step, but their common center does not.
    off = np.abs(to_voxels @ (np.mean(origins, axis=0) - np.mean(centers, axis=0))).max()
    if off > TOLERANCE_VOXELS:
        raise _elsewhere(0, frames[0], f"the whole volume lies {off:.2g} voxels away", what)


def _elsewhere(index: int, frame: FrameRecord, how: str, what: str) -> GridMismatchError:
    return GridMismatchError(
        f"slice {index} of the mask does not lie where its source, {frame.name}, does: {how}. {what} would show a "
        "wrong place: undo flips and resampling (Invertd) before saving, or restore the files if they have changed"
    )
