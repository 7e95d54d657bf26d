"""The files of one case, by the names of the outputs that a user asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import DISAGREEMENT, EARLIER, MASK, MASK_PER_CLASS, REPORT, RTSTRUCT, SEG, SHEET, SIDECAR
from monai_vggunet.outputs.case_mask import CaseMask
from monai_vggunet.outputs.dicom.rtstruct import write_rtstruct
from monai_vggunet.outputs.dicom.seg import require_seg_type, write_dicom_seg
from monai_vggunet.outputs.dicom.source_series import require_source_series
from monai_vggunet.outputs.label_names import write_label_names
from monai_vggunet.outputs.nifti import write_mask

__all__ = ["CaseOutputs", "set_aside"]

_FIXED_NAMES = (MASK, SIDECAR, DISAGREEMENT, SEG, RTSTRUCT)
_LONGEST_NAME = 50  # of a class, within a file's name

_Write = Callable[[Path, CaseMask, str], Iterator[str]]  # folder, mask, type of SEG -> each file's name once written


class CaseOutputs:
    """Which files each case gets.

    Args:
        names: any of `nifti` (`mask.nii.gz` with `mask.json`, and `disagreement.nii.gz` where there is one),
            `nifti_per_class` (`mask_class_1_liver.nii.gz`, ...), `dicom_seg` (`seg.dcm`), `rtstruct` (`rtstruct.dcm`).
        seg_type: of `dicom_seg`: `binary`, `labelmap` or `fractional`.

    Raises:
        ConfigurationError: an unknown name or type, or no name at all.
    """

    def __init__(self, names: Sequence[str] = ("nifti",), seg_type: str = "binary") -> None:
        unknown = [name for name in names if name not in _OUTPUTS]
        if unknown or not names:
            raise ConfigurationError(
                f"the outputs (--output) are {list(names)}; expected one or more of {', '.join(_OUTPUTS)}"
            )
        require_seg_type(seg_type)
        self._names = [name for name in _OUTPUTS if name in names]
        self._seg_type = seg_type

    @property
    def names(self) -> list[str]:
        """The outputs asked for, as a record lists them: the type of SEG is part of the name."""
        return [f"{name}:{self._seg_type}" if name == "dicom_seg" else name for name in self._names]

    @property
    def need_probabilities(self) -> bool:
        """Whether masks must come with the probability of every class."""
        return "dicom_seg" in self._names and self._seg_type == "fractional"

    def require(self, meta: Mapping[str, Any]) -> None:
        """Refuse a source that cannot be written as asked, before anything is computed.

        Raises:
            DicomReadError: a DICOM object is asked for, and the source is no series that it could refer to.
        """
        for name in self._names:
            if _OUTPUTS[name].refers_to is not None:
                require_source_series(meta, str(_OUTPUTS[name].refers_to))

    def write(self, folder: Path, mask: CaseMask) -> Iterator[str]:
        """Write one file after the other, each whole or not at all; yield the name of each once it is there.

        Raises:
            VGGUNetError: of the kind that fits; the files written before it stay.
        """
        for name in self._names:
            yield from _OUTPUTS[name].write(folder, mask, self._seg_type)


def set_aside(folder: Path, current: Sequence[str]) -> None:
    """Rename results of an earlier run that are not among the current ones, so that they do not pass for this run's.

    A file set aside before is deleted once its successor is there. Pages that show earlier results are deleted.
    """
    for page in (REPORT, SHEET):
        (folder / page).unlink(missing_ok=True)
    found = [folder / name for name in _FIXED_NAMES] + sorted(folder.glob(MASK_PER_CLASS.format(number="*", name="*")))
    for file in found:
        stem, dot, endings = file.name.partition(".")
        if stem.endswith(EARLIER):
            continue
        aside = file.with_name(f"{stem}{EARLIER}{dot}{endings}")
        if file.name in current:
            aside.unlink(missing_ok=True)
        elif file.exists():
            file.replace(aside)


@dataclass(frozen=True)
class _Output:
    """A kind of output: how it is written, and, if it refers to a DICOM series, what messages call it."""

    write: _Write
    refers_to: str | None = None


def _nifti(folder: Path, mask: CaseMask, _: str) -> Iterator[str]:
    mask.classes.require_names_for(mask.labels)
    write_mask(folder / MASK, mask.labels, mask.affine)
    yield MASK
    write_label_names(folder / SIDECAR, mask.classes, mask.model_sha256)
    yield SIDECAR
    if mask.disagreement is not None:
        write_mask(folder / DISAGREEMENT, np.asarray(mask.disagreement), mask.affine)
        yield DISAGREEMENT


def _nifti_per_class(folder: Path, mask: CaseMask, _: str) -> Iterator[str]:
    for number, name in enumerate(mask.classes.names[1:], start=1):
        plain = re.sub(r"[^\w-]+", "_", name).strip("_")[:_LONGEST_NAME]
        file = MASK_PER_CLASS.format(number=number, name=plain or "unnamed")
        write_mask(folder / file, mask.labels == number, mask.affine)
        yield file


def _dicom_seg(folder: Path, mask: CaseMask, seg_type: str) -> Iterator[str]:
    write_dicom_seg(folder / SEG, mask, seg_type)
    yield SEG


def _rtstruct(folder: Path, mask: CaseMask, _: str) -> Iterator[str]:
    write_rtstruct(folder / RTSTRUCT, mask)
    yield RTSTRUCT


_OUTPUTS = {
    "nifti": _Output(_nifti),
    "nifti_per_class": _Output(_nifti_per_class),
    "dicom_seg": _Output(_dicom_seg, "a DICOM SEG"),
    "rtstruct": _Output(_rtstruct, "an RTSTRUCT"),
}
