"""Image planes -> the geometry of one volume: sort, validate, spacing, affine. Pure functions on header records.

Voxel (i, j, k) is column i, row j, slice k. Slices are sorted by the projection of their position onto the slice
normal; InstanceNumber and file names play no part. The affine comes from the positions themselves: a tilted gantry
gives an exact, sheared affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from monai_vggunet.dicom.affine import doubt_in_scale, edges_mm, lps_to_ras
from monai_vggunet.dicom.along_normal import displacement_tolerance_mm, fit_even_steps
from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.dicom.headers.records import FrameRecord, Vector3
from monai_vggunet.dicom.positions import group_by_position, in_plane_axes, positions_of
from monai_vggunet.errors import DicomGeometryError
from monai_vggunet.names import counted

__all__ = ["GapPolicy", "TiltPolicy", "VolumeGeometry", "volume_geometry"]

GapPolicy = Literal["error", "keep", "resample"]
TiltPolicy = Literal["error", "keep", "resample"]

# Smaller angles between the slice normal and the step from slice to slice come from rounded positions.
TILT_TOLERANCE_DEG = 0.1
# A step this near to a whole multiple of the expected one, in units of it, is called missing slices.
WHOLE_STEP_TOLERANCE = 0.1
# Thickness of a single slice whose header names none: any positive number gives an invertible affine.
UNKNOWN_THICKNESS_MM = 1.0


@dataclass(frozen=True, slots=True)
class VolumeGeometry:
    """Where a volume's voxels lie.

    Attributes:
        frames: one plane per slice k, sorted along the normal; none for a resampled volume.
        affine_lps: 4x4, voxel (i, j, k) -> mm in LPS, to the center of the voxel.
        spacing_mm: length of a voxel's edges: between columns, between rows, between slices.
        gantry_tilt_deg: angle between slice normal and slice step; 0 for an orthogonal volume. Positive when the step
            leans toward growing rows.
        findings: what a user should know.
        to_resample: `gap`, `tilt` or both, where that was asked for and is needed, for `resample_volume` to do.
    """

    frames: tuple[FrameRecord, ...]
    affine_lps: np.ndarray
    spacing_mm: Vector3
    gantry_tilt_deg: float
    findings: tuple[Finding, ...]
    to_resample: tuple[str, ...] = ()

    @property
    def affine_ras(self) -> np.ndarray:
        """4x4, voxel (i, j, k) -> mm in RAS, as NIfTI and MONAI use it."""
        return lps_to_ras(self.affine_lps)


def volume_geometry(
    frames: Sequence[FrameRecord], on_gap: GapPolicy = "error", on_tilt: TiltPolicy = "keep"
) -> VolumeGeometry:
    """Place the planes of one stack in space.

    Args:
        frames: planes with one matrix size and pixel spacing, each at a position of its own.
        on_gap: `error` refuses missing slices and uneven steps; `keep` takes the slices as they are, with a mean step
            between them, and says in the findings by how much that displaces voxels; `resample` marks the volume
            for `resample_volume`.
        on_tilt: `keep` takes a tilted gantry's exact, sheared affine; `error` refuses it; `resample` marks the volume.

    Returns:
        The geometry, with its slices sorted.

    Raises:
        DicomGeometryError: if the planes do not form a volume: geometry missing or absurd, two at one position, a gap,
            uneven steps, slices that shift or turn against each other.

    Note:
        PS3.3 C.7.6.2.1.1: the first value of PixelSpacing, between rows, goes with the last three values of
        ImageOrientationPatient; the second, between columns, with the first three.
    """
    placed = [group[0] for group in group_by_position(frames)]
    if len(placed) != len(frames):
        raise DicomGeometryError(
            f"{len(frames)} planes share {counted(len(placed), 'position')}, expected one per position: not one volume",
            FindingKind.REPEATED_POSITIONS,
        )
    axes, normal = in_plane_axes(placed)
    positions = positions_of(placed)
    findings: list[Finding] = []
    to_resample: tuple[str, ...] = ()
    if len(placed) == 1:
        step, depth = _single_slice_step(placed[0], normal)
        origin = positions[0]
        findings.append(depth)
    else:
        origin, step = fit_even_steps(positions)
        gaps = _judge_steps(placed, positions @ normal, axes, (origin, step), on_gap)
        findings += gaps
        to_resample += ("gap",) if gaps and on_gap == "resample" else ()
    tilt_deg = _tilt_deg(step, normal, axes[1])
    if abs(tilt_deg) > TILT_TOLERANCE_DEG:
        findings.append(_judge_tilt(tilt_deg, placed[0], on_tilt))
        to_resample += ("tilt",) if on_tilt == "resample" else ()
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([axes[0], axes[1], step])
    affine[:3, 3] = origin
    if doubt := doubt_in_scale(affine):
        raise DicomGeometryError(
            f"{placed[0].name} has {doubt}: a damaged header",
            FindingKind.UNUSABLE_GEOMETRY,
            [placed[0].sop_instance_uid],
        )
    return VolumeGeometry(tuple(placed), affine, edges_mm(affine), tilt_deg, tuple(findings), to_resample)


def _judge_steps(
    frames: list[FrameRecord],
    along: np.ndarray,
    axes: np.ndarray,
    line: tuple[np.ndarray, np.ndarray],
    on_gap: GapPolicy,
) -> list[Finding]:
    """Refuse slices that the affine would displace; return findings for what is kept on request."""
    displacement = _displacement_mm(frames, axes, line)
    steps = np.diff(along)
    # The lower median: with few slices a gap would pull the ordinary median up to itself.
    expected = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = displacement_tolerance_mm(expected)
    worst = float(displacement.max())
    if worst <= tolerance:
        return []
    uneven_mm = float(np.abs(along - along.mean() - _centered(len(along)) * steps.mean()).max())
    if uneven_mm <= tolerance / 2 and np.ptp(steps) <= tolerance:
        farthest = int(displacement.argmax())
        raise DicomGeometryError(
            f"slice {farthest} of {len(frames)}, {frames[farthest].name}, is shifted or turned by {worst:.3g} mm "
            f"against the others; expected slices in line within {tolerance:.2g} mm: a damaged header, or a slice of "
            "another volume; restore or remove it",
            FindingKind.SHIFTED_SLICES,
            [frames[farthest].sop_instance_uid],
        )
    where = int(np.abs(steps - expected).argmax())
    kind, problem = _name_step(float(steps[where]), expected, frames[where])
    ends = (frames[where].sop_instance_uid, frames[where + 1].sop_instance_uid)
    if on_gap == "error":
        raise DicomGeometryError(
            f"{problem}; restore the missing or misplaced file, or pass on_gap='resample' (--on-gap resample) to "
            "interpolate at even steps, or on_gap='keep' (--on-gap keep) to take the slices as they are",
            kind,
            ends,
        )
    if on_gap == "resample":
        return [warning(kind, f"{problem}; interpolated at even steps on request", ends)]
    text = f"{problem}; kept on request: the affine displaces slices by up to {worst:.3g} mm"
    return [warning(kind, text, ends, displaced_mm=worst)]


def _centered(count: int) -> np.ndarray:
    return np.arange(count) - (count - 1) / 2


def _name_step(step_mm: float, expected_mm: float, frame: FrameRecord) -> tuple[FindingKind, str]:
    """Return what is wrong with a step, and where it is."""
    multiple = step_mm / expected_mm
    missing = round(multiple) - 1
    where = f"after {frame.name}, expected {expected_mm:.4g} mm"
    if missing >= 1 and abs(multiple - round(multiple)) < WHOLE_STEP_TOLERANCE * (missing + 1):
        return FindingKind.MISSING_SLICES, f"slice gap of {step_mm:.4g} mm {where}: {counted(missing, 'slice')} missing"
    return FindingKind.UNEVEN_SLICES, f"uneven slice spacing: {step_mm:.4g} mm {where}"


def _displacement_mm(frames: list[FrameRecord], axes: np.ndarray, line: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return for each plane how far, at most, the affine puts a corner from where the plane's own header puts it."""
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * (frames[0].columns - 1, frames[0].rows - 1)
    known: dict[tuple, np.ndarray] = {}  # most planes of a stack share orientation and spacing to the last digit
    own_axes = np.empty((len(frames), 2, 3))
    for k, frame in enumerate(frames):
        key = (frame.orientation_lps, frame.pixel_spacing_mm)
        if key not in known:
            known[key] = in_plane_axes([frame])[0]
        own_axes[k] = known[key]
    own = positions_of(frames)[:, None] + corners @ own_axes
    placed = line[0] + np.arange(len(frames))[:, None] * line[1]
    return np.linalg.norm(placed[:, None] + corners @ axes - own, axis=2).max(axis=1)


def _tilt_deg(step: np.ndarray, normal: np.ndarray, row_step: np.ndarray) -> float:
    """Angle between step and normal, with the sign of the lean toward growing rows."""
    across = step - (step @ normal) * normal
    angle = float(np.degrees(np.arctan2(np.linalg.norm(across), step @ normal)))
    return -angle if across @ row_step < 0 else angle


def _judge_tilt(tilt_deg: float, frame: FrameRecord, on_tilt: TiltPolicy) -> Finding:
    problem = f"slices are stacked {abs(tilt_deg):.3g} degrees off their normal (a tilted gantry)"
    if on_tilt == "error":
        raise DicomGeometryError(
            f"{problem}, from {frame.name}; pass on_tilt='keep' (--on-tilt keep) for the exact, sheared affine, or "
            "on_tilt='resample' (--on-tilt resample) for an orthogonal volume",
            FindingKind.GANTRY_TILT,
        )
    done = "resampled on request" if on_tilt == "resample" else "the affine is exact and sheared"
    return warning(FindingKind.GANTRY_TILT, f"{problem}: {done}")


def _single_slice_step(frame: FrameRecord, normal: np.ndarray) -> tuple[np.ndarray, Finding]:
    """Give a single slice a depth, from its header where that has one."""
    for keyword, value in (
        ("SpacingBetweenSlices", frame.slice_spacing_mm),
        ("SliceThickness", frame.slice_thickness_mm),
    ):
        if value is not None and np.isfinite(value) and value > 0:
            text = f"single slice: its depth of {value:.4g} mm is {keyword}"
            return normal * value, warning(FindingKind.SINGLE_SLICE, text)
    text = f"single slice without SpacingBetweenSlices and SliceThickness: depth set to {UNKNOWN_THICKNESS_MM} mm"
    return normal * UNKNOWN_THICKNESS_MM, warning(FindingKind.DEPTH_ASSUMED, text)
