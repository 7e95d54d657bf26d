"""Whether the values of a CT are HU, as far as headers tell: maps of other quantities are stored as CT too."""

from __future__ import annotations

from collections.abc import Sequence

from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.dicom.headers.records import FrameRecord, Series
from monai_vggunet.privacy import clean_text

__all__ = ["hounsfield_findings", "other_unit", "without_maps"]

_HU = frozenset({"HU", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS", "HOUNSFIELDUNITS", "HOUNSFIELD_UNITS"})
# PS3.3 C.11.1.1.2: `US` is unspecified, and HU_MOD a scale of HU in which some values were replaced.
_PERHAPS_HU = frozenset({"US", "UNSPECIFIED", "HU_MOD"})
# The terms that the clause defines besides; any other text is free text, which may name somebody.
_TERMS = _PERHAPS_HU | {"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"}


def without_maps(all_series: Sequence[Series], modality: str | None) -> tuple[Series, ...]:
    """Return series without CT series that are maps of another quantity; all of them if no other image is left.

    Spectral scanners store maps of effective atomic number (Z_EFF), electron density (ED) and others beside the CT
    that they were computed from. Nobody means them who does not ask for them.

    Args:
        all_series: of a folder.
        modality: that is asked for; None for any.
    """
    rest = tuple(series for series in all_series if not _is_map(series))
    asked = None if modality is None else modality.upper()
    has_others = any(asked in (None, stack.origin.modality.upper()) for series in rest for stack in series.stacks)
    return rest if has_others else tuple(all_series)


def other_unit(modality: str, frames: Sequence[FrameRecord]) -> str:
    """Return the unit that planes of a CT state if it cannot be HU, such as `Z_EFF` or `ED`; else nothing.

    Args:
        modality: of their series; nothing but `CT` is expected to be in HU.
        frames: the planes.
    """
    units = {_unit(frame) for frame in frames} - _HU - _PERHAPS_HU - {""} if modality == "CT" else set()
    return _shown(min(units)) if units else ""


def hounsfield_findings(frames: Sequence[FrameRecord]) -> list[Finding]:
    """Return why the values of a CT may not be HU.

    Args:
        frames: its planes.
    """
    without = [frame for frame in frames if not (frame.has_rescale or frame.has_lut)]
    if len(without) == len(frames):  # if only some lack it, `stacks` says so
        text = (
            "CT without RescaleSlope and RescaleIntercept: stored values are taken as they are and are perhaps not HU; "
            "restore the headers, or compare air (-1000) and water (0)"
        )
        return [warning(FindingKind.NOT_RESCALED, text, count=len(without))]
    units = [unit for frame in frames if (unit := _unit(frame)) and unit not in _HU]
    if not units:
        return []
    named = ", ".join(map(_shown, sorted(set(units))))
    text = f"CT values of RescaleType {named}, expected HU: they are taken as if they were HU"
    return [warning(FindingKind.OTHER_UNIT, text, count=len(units))]


def _is_map(series: Series) -> bool:
    return bool(series.stacks) and all(other_unit(stack.origin.modality, stack.frames) for stack in series.stacks)


def _shown(unit: str) -> str:
    return unit if unit in _TERMS else clean_text(unit) or "an unknown unit"


def _unit(frame: FrameRecord) -> str:
    return " ".join(frame.rescale_type.upper().replace(".", "").split())
