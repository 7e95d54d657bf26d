"""A chosen stack -> a volume: drop identical copies, place the slices, read the pixels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monai_vggunet.dicom.geometry import GapPolicy, TiltPolicy, VolumeGeometry, group_by_position, volume_geometry
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.pixels import planes as pixels
from monai_vggunet.dicom.resample import resample_volume
from monai_vggunet.dicom.selection import Selection
from monai_vggunet.errors import DicomGeometryError
from monai_vggunet.names import MOST_NAMED
from monai_vggunet.privacy import clean_text, clean_uid

__all__ = ["DicomVolume", "DuplicatePolicy", "read_volume"]

DuplicatePolicy = Literal["drop", "error"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DicomVolume:
    """A volume in memory.

    Attributes:
        array: (columns, rows, slices), float32, rescaled values.
        geometry: where its voxels lie, and its planes in order.
        selection: the series and stack that it is.
        findings: all that a user should know, in plain words.
    """

    array: np.ndarray
    geometry: VolumeGeometry
    selection: Selection
    findings: tuple[str, ...]


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
    told = logging.INFO if selection.findings else logging.DEBUG  # a folder with one series leaves no choice to tell of
    modality, uid = clean_text(series.modality), clean_uid(series.series_uid)
    logger.log(told, "chosen: %s series %s, %s", modality, uid, selection.stack.label)
    frames, duplicates = _unique_planes(selection.stack.frames, on_duplicate, num_workers)
    geometry = volume_geometry(frames, on_gap, on_tilt)
    array = pixels.read_pixels(geometry.frames, num_workers)
    inverted = any(frame.photometric == "MONOCHROME1" for frame in geometry.frames)
    if geometry.to_resample:
        array, geometry = resample_volume(array, geometry)
    about_image = [*duplicates, *geometry.findings]
    if inverted:
        about_image.append("MONOCHROME1: values are as measured, low ones are meant to be shown bright")
    for finding in selection.findings:
        logger.log(logging.WARNING if "damaged" in finding else logging.INFO, "%s", finding)
    for finding in about_image:
        logger.warning("series %s: %s", uid, finding)
    return DicomVolume(array, geometry, selection, (*selection.findings, *about_image))


def _unique_planes(
    frames: tuple[FrameRecord, ...], on_duplicate: DuplicatePolicy, num_workers: int
) -> tuple[list[FrameRecord], list[str]]:
    """Keep one plane per position; what is dropped is an identical copy."""
    groups = group_by_position(frames)
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return [group[0] for group in groups], []
    findings: list[str] = []
    n_copies = len(frames) - len(groups)
    for group in repeated:
        values = pixels.read_pixels(group, num_workers)
        if np.ptp(values, axis=2).any():
            raise DicomGeometryError(_contradiction(group, groups, len(frames)))
        if on_duplicate == "error":
            raise DicomGeometryError(
                f"{len(group)} identical planes at one position: {group[1].name} repeats {group[0].name}; remove the "
                "copy, or pass on_duplicate='drop'"
            )
        told = group[1 : 1 + MOST_NAMED - len(findings)]
        findings += [f"identical copy left out: {copy.name} repeats {group[0].name}" for copy in told]
    if n_copies > len(findings):
        findings.append(f"identical copies left out: {n_copies - len(findings)} more")
    return [group[0] for group in groups], findings


def _contradiction(group: list[FrameRecord], groups: list[list[FrameRecord]], count: int) -> str:
    """Say which planes at one position differ, and what in their headers may tell them apart."""
    if len(groups) == 1:
        return (
            f"all {count} planes lie at one position, from {group[0].name}; expected slices one behind the other: this "
            "is a time series at one place, not a volume"
        )
    counts = {len(other) for other in groups}
    whole = len(counts) == 1
    what = (
        f"{count} planes at {len(groups)} positions, {len(group)} at each: a 4-D series (time points, echoes, ...)"
        if whole
        else f"{len(group)} planes at one position with different pixels"
    )
    values = [dict(frame.discriminators) for frame in group]
    differing = [keyword for keyword in values[0] if len({value[keyword] for value in values}) > 1]
    hint = f"their {', '.join(differing)} differ" if differing else "no header attribute tells them apart"
    return (
        f"{what}, as {group[0].name} and {group[1].name}; expected one plane per position; {hint}: give one volume's "
        "files alone, or remove the wrong plane"
    )
