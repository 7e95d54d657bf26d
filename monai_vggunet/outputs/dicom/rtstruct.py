"""Masks as RT Structure Set (PS3.3 A.19): closed contours on the source's planes, by pydicom alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.errors import DicomReadError
from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.class_colors import class_color
from monai_vggunet.outputs.dicom.outlines import outlines
from monai_vggunet.outputs.dicom.patient_study import copy_patient_and_study, series_number_beside
from monai_vggunet.outputs.dicom.segment_descriptions import ALGORITHM_NAME, class_text
from monai_vggunet.outputs.dicom.source_series import SourcePlane, SourceSeries, find_source_series

__all__ = ["rtstruct", "write_rtstruct"]

# Coordinates are written to 0.1 micrometer, in at most 16 characters, the limit of DS (PS3.5 6.2).
_DECIMALS = 4
_DETACHED_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # C.8.8.5 requires it as the class of a referenced study


def rtstruct(mask: CaseMask) -> Dataset:
    """Return a mask as RT Structure Set, with ROINumber n for mask value n.

    A structure's contours run halfway between the voxel centers inside and those outside, in each slice's own plane
    (tilted and oblique ones too), so that filling them by voxel centers gives the mask back. Each piece is a contour of
    its own; holes are joined to their outline by keyholes. Every class is declared; one that was not found has no
    contours.

    Args:
        mask: of a DICOM series.

    Raises:
        DicomReadError: the source is no DICOM series, was interpolated, is gone, or has no FrameOfReferenceUID, which
            contours need.
        GridMismatchError: the mask does not lie on the source's planes.
        LabelContentError: a class number without a name.
    """
    mask.classes.require_names_for(mask.labels)
    volume = mask.labels if mask.labels.ndim == 3 else mask.labels[..., None]
    source = find_source_series(mask.meta, volume.shape, mask.affine, "an RTSTRUCT")
    if not source.header.get("FrameOfReferenceUID"):
        raise DicomReadError(
            "an RTSTRUCT lies in the source's frame of reference, but the series has no FrameOfReferenceUID: restore "
            "the series, or ask for the output 'dicom_seg' or 'nifti' instead (--output)"
        )
    dataset = _object(source, mask.model_sha256)
    _refer_to(source, dataset)
    numbers = range(1, len(mask.classes.names))
    dataset.StructureSetROISequence = [_structure(n, mask.classes, source.header.FrameOfReferenceUID) for n in numbers]
    dataset.ROIContourSequence = [_contours(n, volume, source) for n in numbers]
    dataset.RTROIObservationsSequence = [_observation(n, mask.classes) for n in numbers]
    copy_patient_and_study(source.header, dataset, mask.classes.names)
    return dataset


def write_rtstruct(path: str | os.PathLike[str], mask: CaseMask) -> None:
    """Write a mask as RT Structure Set, whole or not at all.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
        VGGUNetError: see `rtstruct`.
    """
    dataset = rtstruct(mask)
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _object(source: SourceSeries, model_sha256: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    dataset.SeriesNumber, dataset.InstanceNumber = series_number_beside(source.header), 1
    dataset.SeriesDescription = "Structures by monai-vggunet"
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = "monai-vggunet"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, model_sha256 or "unknown"
    dataset.FrameOfReferenceUID = source.header.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = source.header.get("PositionReferenceIndicator")
    dataset.StructureSetLabel = "SEGMENTATION"
    dataset.StructureSetDescription = "Automatic segmentation, not for clinical use"
    dataset.StructureSetDate = dataset.InstanceCreationDate = time.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = time.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _refer_to(source: SourceSeries, dataset: Dataset) -> None:
    """Name every source instance once (C.8.8.5)."""
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.planes[0].instance.series_uid
    series.ContourImageSequence = [_image_reference(plane) for plane in _one_per_instance(source)]
    study.ReferencedSOPClassUID = _DETACHED_STUDY_CLASS
    study.ReferencedSOPInstanceUID = source.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = source.header.FrameOfReferenceUID, [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]


def _one_per_instance(source: SourceSeries) -> list[SourcePlane]:
    return list({plane.instance.sop_instance_uid: plane for plane in source.planes}.values())


def _image_reference(plane: SourcePlane, with_frame: bool = False) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = plane.instance.sop_class_uid
    item.ReferencedSOPInstanceUID = plane.instance.sop_instance_uid
    if with_frame and plane.is_multi_frame:
        item.ReferencedFrameNumber = plane.frame.frame_index + 1
    return item


def _structure(number: int, classes: Classes, frame_of_reference_uid: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, class_text(classes.names[number], number)
    item.ReferencedFrameOfReferenceUID = frame_of_reference_uid
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = f"{ALGORITHM_NAME} {__version__}"
    return item


def _contours(number: int, labels: np.ndarray, source: SourceSeries) -> Dataset:
    """Return one structure's contours in all slices (C.8.8.6)."""
    item = Dataset()
    item.ReferencedROINumber, item.ROIDisplayColor = number, list(class_color(number))
    inside = labels == number
    contours: list[Dataset] = []
    for slice_index in np.flatnonzero(inside.any(axis=(0, 1))).tolist():
        to_lps = source.affine_lps(slice_index)
        for polygon in outlines(inside[..., slice_index]):
            contour = Dataset()
            contour.ContourImageSequence = [_image_reference(source.planes[slice_index], with_frame=True)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            contour.ContourNumber = len(contours) + 1
            contour.ContourData = _decimal_strings(np.c_[polygon, np.ones(len(polygon))] @ to_lps.T)
            contours.append(contour)
    if contours:
        item.ContourSequence = contours
    return item


def _decimal_strings(points_lps: np.ndarray) -> Sequence[str]:
    rounded = np.round(points_lps.ravel(), _DECIMALS) + 0.0  # no minus zero
    return [f"{value:.{_DECIMALS}f}" for value in rounded]


def _observation(number: int, classes: Classes) -> Dataset:
    """Return what a structure is (C.8.8.8), with its code where the model has one."""
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    code = classes.codes.get(classes.names[number])
    if code:
        identification = Dataset()
        identification.CodeValue, identification.CodingSchemeDesignator = code["value"], code["scheme"]
        identification.CodeMeaning = code["meaning"]
        item.RTROIIdentificationCodeSequence = [identification]
    return item
