"""Results as files that other programs open."""

from __future__ import annotations

from monai_vggunet.outputs.nifti import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask

__all__ = ["CaseFolderLayout", "NiftiMaskWriter", "mask_image", "write_mask"]
