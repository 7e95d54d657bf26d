"""Results as files that other programs open."""

from __future__ import annotations

from monai_vggunet.outputs.nifti import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask
from monai_vggunet.outputs.record import content_digest, is_done, study_flags, study_record

__all__ = [
    "CaseFolderLayout",
    "NiftiMaskWriter",
    "content_digest",
    "is_done",
    "mask_image",
    "study_flags",
    "study_record",
    "write_mask",
]
