"""Where planes lie: sorted along their normal and grouped by position; a plane of unknown position is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_vggunet.dicom.affine import MOST_POSITION_MM
from monai_vggunet.dicom.along_normal import DISPLACEMENT_TOLERANCE_MM, new_places
from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.errors import DicomGeometryError

__all__ = ["group_by_position", "in_plane_axes", "positions_of"]

# Direction cosines may miss unit length and right angle by rounding to three decimals, not by more.
COSINE_TOLERANCE = 2e-3


def group_by_position(frames: Sequence[FrameRecord]) -> list[list[FrameRecord]]:
    """Sort planes along the slice normal and group those at one position.

    Args:
        frames: planes of one orientation, in any order.

    Returns:
        Groups along the growing projection; more than one plane in a group means repeated positions.

    Raises:
        DicomGeometryError: if a plane lacks its position, orientation or spacing, is a mosaic, or lies beside another
            one instead of behind it.
    """
    for frame in frames:
        _require_geometry(frame)
    normal = in_plane_axes(frames)[1]
    along = positions_of(frames) @ normal
    order = sorted(range(len(frames)), key=lambda index: (along[index], str(frames[index].path), index))
    groups: list[list[FrameRecord]] = []
    for index, begins in zip(order, new_places(along[order])):
        if begins:
            groups.append([])
        groups[-1].append(frames[index])
    for group in groups:
        group.sort(key=_original_first)
        beside_mm = float(np.ptp(positions_of(group), axis=0).max())
        if beside_mm > DISPLACEMENT_TOLERANCE_MM:
            raise DicomGeometryError(
                f"{len(group)} planes lie side by side in one plane, up to {beside_mm:.4g} mm apart, from "
                f"{group[0].name}; expected one plane per slice: these are several volumes",
                FindingKind.SIDE_BY_SIDE,
                [frame.sop_instance_uid for frame in group],
            )
    return groups


def _original_first(frame: FrameRecord) -> tuple[float, str, int]:
    """Order planes at one position: a copy usually has the higher InstanceNumber."""
    number = frame.instance_number
    counts = number.isascii() and number.lstrip("-").isdecimal()
    return (float(number) if counts else np.inf, str(frame.path), frame.frame_index)


def _require_geometry(frame: FrameRecord) -> None:
    """Refuse a plane whose position in space is not fully known."""
    if "MOSAIC" in frame.image_type:
        raise DicomGeometryError(
            f"{frame.name} is a Siemens mosaic, many slices tiled in one {frame.columns}x{frame.rows} image; expected "
            "one slice per image: convert it with dcm2niix and give the NIfTI file",
            FindingKind.MOSAIC,
            [frame.sop_instance_uid],
        )
    needed = {
        "ImagePositionPatient": frame.position_lps_mm,
        "ImageOrientationPatient": frame.orientation_lps,
        "PixelSpacing": frame.pixel_spacing_mm,
    }
    for keyword, value in needed.items():
        if value is None or not all(abs(number) <= MOST_POSITION_MM for number in value):  # refuses NaN too
            raise DicomGeometryError(
                f"{frame.name} has no usable {keyword}; expected it for every plane of a volume: this is a projection "
                "image, an object whose frames share no known geometry, or a damaged header",
                FindingKind.UNUSABLE_GEOMETRY,
                [frame.sop_instance_uid],
            )
    if frame.pixel_spacing_mm is not None and min(frame.pixel_spacing_mm) <= 0:
        raise DicomGeometryError(
            f"{frame.name} has PixelSpacing {frame.pixel_spacing_mm} mm, expected above 0: a damaged header",
            FindingKind.UNUSABLE_GEOMETRY,
            [frame.sop_instance_uid],
        )


def in_plane_axes(frames: Sequence[FrameRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Return ((step of a column index, step of a row index) in mm in LPS, unit normal), averaged over the planes.

    Raises:
        DicomGeometryError: if the directions are not perpendicular unit vectors.
    """
    cosines = np.array([frame.orientation_lps for frame in frames], dtype=float).mean(axis=0).reshape(2, 3)
    spacing = np.array([frame.pixel_spacing_mm for frame in frames], dtype=float).mean(axis=0)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > COSINE_TOLERANCE or abs(float(np.dot(*cosines))) > COSINE_TOLERANCE:
        raise DicomGeometryError(
            f"ImageOrientationPatient {cosines.ravel().tolist()} of {frames[0].name} is not a pair of perpendicular "
            "unit vectors: a damaged header",
            FindingKind.UNUSABLE_GEOMETRY,
            [frames[0].sop_instance_uid],
        )
    cosines = cosines / lengths[:, None]
    normal = np.cross(*cosines)
    return cosines * spacing[::-1, None], normal / np.linalg.norm(normal)


def positions_of(frames: Sequence[FrameRecord]) -> np.ndarray:
    """Return the planes' positions (K, 3), mm in LPS."""
    return np.array([frame.position_lps_mm for frame in frames], dtype=float)
