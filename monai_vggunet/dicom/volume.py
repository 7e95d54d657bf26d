"""A chosen stack -> a volume: drop identical copies, place the slices, read the pixels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.dicom.geometry import GapPolicy, TiltPolicy, VolumeGeometry, volume_geometry
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.pixels import planes as pixels
from monai_vggunet.dicom.pixels.frame_count import require_frame_count
from monai_vggunet.dicom.pixels.padding import Padding
from monai_vggunet.dicom.pixels.readable import require_readable
from monai_vggunet.dicom.positions import group_by_position
from monai_vggunet.dicom.resample import resample_volume
from monai_vggunet.dicom.selection import Selection
from monai_vggunet.dicom.telling_apart import varying_attributes
from monai_vggunet.dicom.value_findings import findings_of_pixels, value_findings
from monai_vggunet.errors import DicomGeometryError
from monai_vggunet.names import counted, listed
from monai_vggunet.privacy import clean_text
from monai_vggunet.short_uid import short_uid

__all__ = ["DicomVolume", "DuplicatePolicy", "read_volume", "unique_planes"]

DuplicatePolicy = Literal["drop", "error"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DicomVolume:
    """A volume in memory.

    Attributes:
        array: (columns, rows, slices), float32, rescaled values.
        geometry: where its voxels lie, and its planes in order.
        selection: the series and stack that it is.
        findings: all that a user should know.
        padding: its padded voxels, if it has any.
    """

    array: np.ndarray
    geometry: VolumeGeometry
    selection: Selection
    findings: tuple[Finding, ...]
    padding: Padding | None = None


def read_volume(
    selection: Selection,
    on_gap: GapPolicy = "error",
    on_tilt: TiltPolicy = "keep",
    on_duplicate: DuplicatePolicy = "drop",
    num_workers: int = pixels.DEFAULT_WORKERS,
) -> DicomVolume:
    """Read the chosen stack as one volume.

    Args:
        selection: from `DicomIndex.choose_series`.
        on_gap: see `volume_geometry`.
        on_tilt: see `volume_geometry`.
        on_duplicate: `drop` leaves out planes whose position and pixels equal another's, and reports it; `error`
            refuses them. Planes at one position with different pixels are always refused.
        num_workers: threads that decode.

    Raises:
        DicomGeometryError: if the planes form no volume, or several.
        DicomPixelError: if pixels cannot be decoded.
    """
    series = selection.series
    told = logging.INFO if selection.findings else logging.DEBUG  # one series leaves no choice to report
    modality, uid = clean_text(selection.stack.origin.modality), short_uid(series.series_uid)
    logger.log(told, "chosen: %s series %s, %s", modality, uid, selection.stack.label)
    require_readable(selection.stack.frames)
    require_frame_count(selection.stack.frames)
    frames, duplicates = unique_planes(selection.stack.frames, on_duplicate, num_workers)
    geometry = volume_geometry(frames, on_gap, on_tilt)
    planes = pixels.read_pixels(geometry.frames, num_workers, is_ct=selection.stack.origin.modality == "CT")
    array, in_order = planes.array, geometry.frames
    if geometry.to_resample:
        array, geometry = resample_volume(array, geometry)
    about_image = [*duplicates, *geometry.findings, *value_findings(selection.stack.origin.modality, in_order)]
    about_image += findings_of_pixels(planes, in_order)
    for finding in selection.findings:
        logger.log(finding.log_level, "%s", finding.text)
    for finding in about_image:
        logger.log(finding.log_level, "series %s: %s", uid, finding.text)
    return DicomVolume(array, geometry, selection, (*selection.findings, *about_image), planes.padding)


def unique_planes(
    frames: tuple[FrameRecord, ...], on_duplicate: DuplicatePolicy = "drop", num_workers: int = pixels.DEFAULT_WORKERS
) -> tuple[list[FrameRecord], list[Finding]]:
    """Keep one plane per position; what is dropped is an identical copy.

    Args:
        frames: of a stack.
        on_duplicate: see `read_volume`.
        num_workers: threads that decode.

    Returns:
        The planes, and a finding if copies were dropped.

    Raises:
        DicomGeometryError: different planes lie at one position; or copies, if they are an error.
        DicomPixelError: if pixels cannot be decoded.
    """
    groups = group_by_position(frames)
    repeated = [group for group in groups if len(group) > 1]
    for group in repeated:
        values = pixels.read_pixels(group, num_workers).array
        if np.ptp(values, axis=2).any():
            raise _contradiction(group, groups, len(frames))
        if on_duplicate == "error":
            raise DicomGeometryError(
                f"{len(group)} identical planes at one position: {group[1].name} repeats {group[0].name}; remove the "
                "copy, or pass on_duplicate='drop'",
                FindingKind.REPEATED_POSITIONS,
                [frame.sop_instance_uid for frame in group],
            )
    copies = [(copy, group[0]) for group in repeated for copy in group[1:]]
    return [group[0] for group in groups], [_left_out(copies)] if copies else []


def _left_out(copies: list[tuple[FrameRecord, FrameRecord]]) -> Finding:
    """Return the finding that says which planes are copies, and of what."""
    names = listed((f"{copy.name} repeats {original.name}" for copy, original in copies), separator="; ")
    what = counted(len(copies), "identical copy", "identical copies")
    instances = [copy.sop_instance_uid for copy, _ in copies]
    return warning(FindingKind.COPIES_LEFT_OUT, f"{what} left out: {names}", instances, len(copies))


def _contradiction(group: list[FrameRecord], groups: list[list[FrameRecord]], count: int) -> DicomGeometryError:
    """Return the refusal that says which planes at one position differ, and what in their headers tells them apart."""
    instances = [frame.sop_instance_uid for frame in group]
    if len(groups) == 1:
        return DicomGeometryError(
            f"all {count} planes lie at one position, from {group[0].name}; expected slices one behind the other: this "
            "is a time series at one place, not a volume",
            FindingKind.ONE_PLACE,
            instances,
        )
    counts = {len(other) for other in groups}
    whole = len(counts) == 1
    what = (
        f"{count} planes at {len(groups)} positions, {len(group)} at each: a 4-D series (time points, echoes, ...)"
        if whole
        else f"{len(group)} planes at one position with different pixels"
    )
    differing = ", ".join(varying_attributes(group))
    hint = f"their {differing} differ" if differing else "none of the attributes that usually do tells them apart"
    return DicomGeometryError(
        f"{what}, such as {group[0].name} and {group[1].name}; expected one plane per position; {hint}: give the files "
        "of one volume only, or remove the wrong plane",
        FindingKind.SEVERAL_VOLUMES_IN_ONE if whole else FindingKind.DIFFERING_PLANES,
        instances,
    )
