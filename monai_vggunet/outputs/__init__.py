"""Results as files that other programs open."""

from __future__ import annotations

from monai_vggunet.outputs.nifti import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask
from monai_vggunet.outputs.record import study_record

__all__ = ["CaseFolderLayout", "NiftiMaskWriter", "mask_image", "study_record", "write_mask"]
