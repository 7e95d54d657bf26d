"""DICOM SEG and RTSTRUCT -> class numbers on an image's grid."""

from __future__ import annotations

__all__ = ()
