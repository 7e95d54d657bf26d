"""DICOM alone: pydicom and numpy, no torch, so that a command which only reads headers starts at once."""

from __future__ import annotations

from monai_vggunet.dicom.affine import lps_to_ras, ras_to_lps
from monai_vggunet.dicom.findings import Finding, FindingKind, Severity, unpack_findings
from monai_vggunet.dicom.geometry import VolumeGeometry, volume_geometry
from monai_vggunet.dicom.index import DicomIndex, patient_key, scan_files, scan_folder
from monai_vggunet.dicom.selection import Selection, describe_series
from monai_vggunet.dicom.volume import DicomVolume, read_volume

__all__ = [
    "DicomIndex",
    "DicomVolume",
    "Finding",
    "FindingKind",
    "Selection",
    "Severity",
    "VolumeGeometry",
    "describe_series",
    "lps_to_ras",
    "patient_key",
    "ras_to_lps",
    "read_volume",
    "scan_files",
    "scan_folder",
    "unpack_findings",
    "volume_geometry",
]
