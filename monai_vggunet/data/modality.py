"""Modalities as DICOM names them."""

from __future__ import annotations

import re

from monai_vggunet.errors import DatasetError

__all__ = ["modality_name"]

# How data sets name the contrasts of one modality, which DICOM calls MR, a CT, and a PET. `CT/PET` is neither.
MR_NAMES = re.compile(r"(?:MRI|MRA|T1|T2|FLAIR|ADC|DWI|SWI|MAGNETIC RESONANCE).*|MR(?:[ _(:,-].*)?")
CT_NAMES = re.compile(r"(?:CTA?|CECT|NCCT|CBCT|COMPUTED TOMOGRAPHY)(?:[ _(:,-].*)?")
PT_NAMES = re.compile(r"PET(?:[ _(:,-].*)?")


def modality_name(stated: str) -> str:
    """Return a modality as DICOM names it, from what a data set or a user calls it; empty for an empty one.

    Raises:
        DatasetError: it is not text.

    Example:
        >>> modality_name("CT-scan"), modality_name("MRI"), modality_name("T1w"), modality_name("pet")
        ('CT', 'MR', 'MR', 'PT')
    """
    if not isinstance(stated, str):
        raise DatasetError(f"the modality is {stated!r}; expected text, such as CT or MR")
    name = stated.strip().upper()
    known = {"MR": MR_NAMES, "CT": CT_NAMES, "PT": PT_NAMES}
    return next((modality for modality, names in known.items() if names.fullmatch(name)), name)
