"""Results as files that other programs open; importing this registers `DicomSegWriter` with MONAI for `.dcm`."""

from __future__ import annotations

from monai.data.image_writer import SUPPORTED_WRITERS, register_writer

from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.dicom_seg import SEG_TYPES, DicomSegWriter, write_dicom_seg
from monai_vggunet.outputs.nifti import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask
from monai_vggunet.outputs.record import content_digest, is_done, study_flags, study_record

if DicomSegWriter not in SUPPORTED_WRITERS.get("dcm", ()):
    register_writer("dcm", DicomSegWriter)

__all__ = [
    "CaseFolderLayout",
    "CaseMask",
    "Classes",
    "DicomSegWriter",
    "NiftiMaskWriter",
    "SEG_TYPES",
    "content_digest",
    "is_done",
    "mask_image",
    "study_flags",
    "study_record",
    "write_dicom_seg",
    "write_mask",
]
