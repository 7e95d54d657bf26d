"""DICOM SEG (by highdicom) and RTSTRUCT (by pydicom) drawn on the phantom series, and their series' grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from dicom_phantoms import header_of, set_attributes, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.annotations.label_grid import ImageGrid

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
NAMES = ("Liver", "Tumor", "Spleen")
# What highdicom copies from its source images.
STUDY = {
    "StudyID": "1",
    "StudyDate": "20200101",
    "StudyTime": "101010",
    "AccessionNumber": "A1",
    "PatientSex": "O",
    "ReferringPhysicianName": "Doctor^Who",
    "SeriesNumber": "1",
    "SliceThickness": "2.5",
}

__all__ = ["NAMES", "blobs", "contour", "grid_of", "series", "write_rtstruct", "write_seg"]


def series(folder: Path, stored: np.ndarray | None = None, **options: Any) -> list[Path]:
    """Write a series that highdicom takes; returns its files, slice by slice of `stored` (slices, rows, columns)."""
    return write_series(folder, stored, **{**STUDY, **options})


def grid_of(folder: Path) -> ImageGrid:
    """Return the grid on which the package reads a series."""
    selection = scan_folder(folder).choose_series()
    volume, origin = read_volume(selection), selection.stack.origin
    return ImageGrid(
        volume.geometry.affine_lps,
        volume.array.shape,  # type: ignore[arg-type]
        "the series",
        origin.frame_of_reference_uid,
        origin.study_uid,
        selection.series.series_uid,
    )


def blobs(slices: int = 4, rows: int = 6, columns: int = 5, seed: int = 1) -> np.ndarray:
    """Return class numbers 0 to 3 (slices, rows, columns), different everywhere; slice 1 is empty."""
    classes = np.random.default_rng(seed).integers(0, 4, (slices, rows, columns)).astype(np.uint8)
    classes[1] = 0
    return classes


def write_seg(
    path: Path,
    sources: list[Path],
    pixels: np.ndarray,
    kind: str = "BINARY",
    names: tuple[str, ...] = NAMES,
    transfer_syntax: str = ExplicitVRLittleEndian,
    **options: Any,
) -> Dataset:
    """Write a segmentation of classes (slices, rows, columns), or of segments (..., segment); return it."""
    attributes = options.pop("attributes", {})
    descriptions = [
        hd.seg.SegmentDescription(
            number, name, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for number, name in enumerate(names, start=1)
    ]
    seg = hd.seg.Segmentation(
        [pydicom.dcmread(file) for file in sources],
        pixels,
        kind,
        descriptions,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="phantom",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=transfer_syntax,
        **options,
    )
    set_attributes(seg, attributes)
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return seg


def contour(points_lps: np.ndarray, kind: str = "CLOSED_PLANAR") -> Dataset:
    """Return a contour of points (N, 3) in LPS mm."""
    item = Dataset()
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points_lps)
    item.ContourData = [f"{value:.10g}" for value in np.ravel(points_lps)]
    return item


def write_rtstruct(path: Path, structures: dict[str, list[Dataset]], source: Path | None = None, **own: Any) -> Dataset:
    """Write a structure set; `structures` are contours by ROIName, numbered from 1; it refers to one source image."""
    dataset = header_of(ExplicitVRLittleEndian)
    del dataset.ImageType
    frame_uid = dataset.FrameOfReferenceUID
    del dataset.FrameOfReferenceUID
    dataset.SeriesInstanceUID = generate_uid()
    rois, drawn = [], []
    for number, (name, contours) in enumerate(structures.items(), start=1):
        roi, lines = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame_uid
        lines.ReferencedROINumber, lines.ContourSequence = number, Sequence(contours)
        rois.append(roi)
        drawn.append(lines)
    dataset.StructureSetLabel = "phantom"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Sequence(rois), Sequence(drawn)
    if source is not None:
        image, series_item, study, frame = pydicom.dcmread(source), Dataset(), Dataset(), Dataset()
        series_item.SeriesInstanceUID = image.SeriesInstanceUID
        study.ReferencedSOPInstanceUID = image.StudyInstanceUID
        study.RTReferencedSeriesSequence = Sequence([series_item])
        frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = frame_uid, Sequence([study])
        dataset.ReferencedFrameOfReferenceSequence = Sequence([frame])
    set_attributes(dataset, {"SOPClassUID": RTSTRUCT_CLASS, "Modality": "RTSTRUCT", **own})
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset
