"""Masks as DICOM objects that refer to their source series: SEG and RTSTRUCT."""

from __future__ import annotations

__all__ = ()
