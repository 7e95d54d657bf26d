"""Small DICOM series written by pydicom alone: any orientation, spacing, order, defect, value coding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
SECONDARY_CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"
SEGMENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"

# What must never appear in a message, a log or meta data.
PATIENT_NAME = "Secret^Person"
PATIENT_ID = "MRN-0815-SECRET"
BIRTH_DATE = "19010203"

# Direction of a growing column index, then of a growing row index, in LPS.
AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))


def oblique() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return a double-oblique orientation."""
    a, b = np.radians(25.0), np.radians(-35.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = about_z @ about_x
    return tuple(turn[:, 0]), tuple(turn[:, 1])


def stored_values(slices: int = 4, rows: int = 6, columns: int = 5, seed: int = 0) -> np.ndarray:
    """Return random stored values (slices, rows, columns), int16, all different from slice to slice."""
    return np.random.default_rng(seed).integers(-900, 1500, (slices, rows, columns)).astype(np.int16)


def write_series(
    folder: Path,
    stored: np.ndarray | None = None,
    *,
    orientation: tuple[tuple[float, ...], tuple[float, ...]] = AXIAL,
    pixel_spacing: tuple[float, float] = (0.8, 0.6),
    step_mm: float = 2.5,
    origin: tuple[float, float, float] = (-30.0, 12.5, -100.0),
    shear_mm: float = 0.0,
    offsets_mm: list[float] | None = None,
    series_uid: str | None = None,
    per_slice: list[dict[str, Any]] | None = None,
    prefix: str = "IM_",
    **attributes: Any,
) -> list[Path]:
    """Write one classic single-frame series and return its files in the order of the array's slices.

    Args:
        folder: made if absent.
        stored: (slices, rows, columns); its type sets PixelRepresentation and BitsAllocated.
        orientation: direction of a growing column index, and of a growing row index.
        pixel_spacing: between rows, between columns, mm.
        step_mm: between slices along the normal; may be negative.
        origin: position of slice 0, LPS mm.
        shear_mm: shift in the row direction from slice to slice (tilted gantry).
        offsets_mm: position of each slice along the normal, instead of even steps.
        series_uid: new if absent.
        per_slice: attributes that differ from slice to slice, by keyword.
        prefix: of the file names, which count down, so that name order is not slice order.
        attributes: further or other attributes of all slices, by keyword; None removes one.
    """
    stored = stored_values() if stored is None else stored
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = series_uid or generate_uid()
    normal = np.cross(*orientation)
    files = []
    for k, plane in enumerate(stored):
        along = k * step_mm if offsets_mm is None else offsets_mm[k]
        position = np.array(origin) + along * normal + k * shear_mm * np.array(orientation[1])
        own = {
            "SeriesInstanceUID": series_uid,
            "ImagePositionPatient": [f"{value:.8g}" for value in position],
            "ImageOrientationPatient": [f"{value:.10g}" for value in np.ravel(orientation)],
            "PixelSpacing": [str(value) for value in pixel_spacing],
            "InstanceNumber": str(100 - k),
            **attributes,
            **(per_slice[k] if per_slice else {}),
        }
        path = folder / f"{prefix}{99 - k:02d}"
        write_slice(path, plane, **own)
        files.append(path)
    return files


def write_slice(path: Path, stored: np.ndarray, *, transfer_syntax: str = ExplicitVRLittleEndian, **own: Any) -> None:
    """Write one image; `own` sets attributes by keyword, None removes one."""
    dataset = header_of(transfer_syntax)
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
    if transfer_syntax == ExplicitVRLittleEndian:
        dataset.PixelData = stored.tobytes()
        set_attributes(dataset, own)
    elif transfer_syntax == JPEG2000Lossless:  # pydicom's encoder wants one package more than the codec itself
        set_attributes(dataset, own)
        dataset.PixelData = encapsulate([encode_array(stored)])
        dataset["PixelData"].VR = "OB"
    else:
        set_attributes(dataset, own)
        dataset.compress(transfer_syntax, stored, generate_instance_uid=False)
    if "BitsStored" in own and "HighBit" not in own:
        dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(path, enforce_file_format=True)


def rewritten(path: Path, transfer_syntax: str) -> None:
    """Write a native file anew in another uncompressed transfer syntax."""
    dataset = pydicom.dcmread(path)
    list(dataset.iterall())  # parsed, so that every value is written anew
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    little = transfer_syntax != ExplicitVRBigEndian
    if not little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    implicit = transfer_syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)


def write_enhanced(path: Path, stored: np.ndarray, positions: list[list[float]], **own: Any) -> None:
    """Write one Enhanced MR object: geometry and rescale stand in its functional groups; frame k has slope k + 1."""
    dataset = header_of(ExplicitVRLittleEndian)
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.NumberOfFrames = len(stored)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(stored.dtype.kind == "i")
    shared = Dataset()
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=list(np.ravel(AXIAL)))
    shared.PixelMeasuresSequence = _one(PixelSpacing=[0.8, 0.6], SliceThickness=3.0)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for k, position in enumerate(positions):
        group = Dataset()
        group.PlanePositionSequence = _one(ImagePositionPatient=position)
        group.PixelValueTransformationSequence = _one(RescaleSlope=k + 1, RescaleIntercept=0)
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.PixelData = stored.tobytes()
    set_attributes(dataset, {"SOPClassUID": ENHANCED_MR_CLASS, "Modality": "MR", **own})
    dataset.save_as(path, enforce_file_format=True)


def write_object(path: Path, sop_class: str, modality: str) -> None:
    """Write an object that is no image."""
    dataset = header_of(ExplicitVRLittleEndian)
    set_attributes(dataset, {"SOPClassUID": sop_class, "Modality": modality, "SeriesInstanceUID": generate_uid()})
    dataset.save_as(path, enforce_file_format=True)


def header_of(transfer_syntax: str) -> FileDataset:
    """Return the attributes that every phantom has."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = CT_CLASS
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_CLASS, meta.MediaStorageSOPInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT_NAME, PATIENT_ID, BIRTH_DATE
    dataset.StudyInstanceUID = "1.2.3.4.5"
    dataset.SeriesInstanceUID = "1.2.3.4.5.6"
    dataset.FrameOfReferenceUID = "1.2.3.4.5.7"
    dataset.Modality, dataset.SeriesDescription = "CT", "phantom"
    return dataset


def set_attributes(dataset: Dataset, attributes: dict[str, Any]) -> None:
    """Set elements by keyword; None removes one."""
    for keyword, value in attributes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if keyword in dataset:
            setattr(dataset.file_meta, f"MediaStorage{keyword}", dataset[keyword].value)


def _one(**attributes: Any) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])
