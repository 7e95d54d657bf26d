"""Modalities as DICOM names them."""

from __future__ import annotations

import re

from monai_vggunet.errors import DatasetError

__all__ = ["modality_name"]

# How data sets name the contrasts of one modality, which DICOM calls MR, and a CT.
MR_NAMES = ("MRI", "T1", "T2", "FLAIR", "ADC", "DWI", "SWI")
CT_NAMES = re.compile(r"CTA?(?:[ _(].*)?|COMPUTED TOMOGRAPHY")


def modality_name(stated: str) -> str:
    """Return a modality as DICOM names it, from what a data set or a user calls it; empty for an empty one.

    Raises:
        DatasetError: it is not text.

    Example:
        >>> modality_name("ct"), modality_name("MRI"), modality_name("T1w")
        ('CT', 'MR', 'MR')
    """
    if not isinstance(stated, str):
        raise DatasetError(f"the modality is {stated!r}; expected text, such as CT or MR")
    name = stated.strip().upper()
    if name.startswith(MR_NAMES):
        return "MR"
    return "CT" if CT_NAMES.fullmatch(name) else name
