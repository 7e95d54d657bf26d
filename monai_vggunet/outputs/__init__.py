"""Results as files that other programs open; importing this registers `DicomSegWriter` with MONAI for `.dcm`."""

from __future__ import annotations

from monai.data.image_writer import SUPPORTED_WRITERS, init, register_writer

from monai_vggunet.case_record import CaseRecord
from monai_vggunet.outputs.case_files import CaseOutputs, set_aside
from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.dicom.rtstruct import write_rtstruct
from monai_vggunet.outputs.dicom.seg import SEG_TYPES, write_dicom_seg
from monai_vggunet.outputs.dicom.seg_writer import DicomSegWriter
from monai_vggunet.outputs.nifti import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask
from monai_vggunet.outputs.record import (
    content_digest,
    failure_record,
    is_done,
    study_flags,
    study_identity,
    study_record,
)

if DicomSegWriter not in SUPPORTED_WRITERS.get("dcm", ()):
    if not SUPPORTED_WRITERS:
        init()  # MONAI registers its own writers only while none is: ours alone would leave NIfTI without one
    register_writer("dcm", DicomSegWriter)

__all__ = [
    "CaseFolderLayout",
    "CaseMask",
    "CaseOutputs",
    "CaseRecord",
    "Classes",
    "DicomSegWriter",
    "NiftiMaskWriter",
    "SEG_TYPES",
    "content_digest",
    "failure_record",
    "is_done",
    "mask_image",
    "set_aside",
    "study_flags",
    "study_identity",
    "study_record",
    "write_dicom_seg",
    "write_mask",
    "write_rtstruct",
]
