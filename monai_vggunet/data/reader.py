"""DICOM for MONAI: a reader that returns a series as one volume with its exact geometry, or says why it cannot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from monai_vggunet.case_path import is_folder_or_case, is_there
from monai_vggunet.data.padded_voxels import padding_meta
from monai_vggunet.dicom.findings import pack_findings
from monai_vggunet.dicom.geometry import GapPolicy, TiltPolicy
from monai_vggunet.dicom.headers.dicom_files import is_meant_as_dicom
from monai_vggunet.dicom.index import scan_files
from monai_vggunet.dicom.pixels.planes import DEFAULT_WORKERS
from monai_vggunet.dicom.places import scan_path
from monai_vggunet.dicom.referenced_series import ReferencedSeries, ReferencedSlice
from monai_vggunet.dicom.volume import DicomVolume, DuplicatePolicy, read_volume
from monai_vggunet.errors import ConfigurationError, DicomReadError

__all__ = ["DicomSeriesReader"]

PathLike = str | os.PathLike[str]

_POLICIES = {
    "on_gap": ("error", "keep", "resample"),
    "on_tilt": ("keep", "error", "resample"),
    "on_duplicate": ("drop", "error"),
}


class DicomSeriesReader(ImageReader):
    """Read a DICOM folder, a list of files or one file as a volume: correctly, or refused with an error that says why.

    The array is (columns, rows, slices), float32, rescaled (HU for CT). One file is read as it is: one slice, or the
    frames of a multi-frame object; a DICOMDIR stands for the files that it lists. See `monai_vggunet.dicom` for what
    is chosen, sorted and validated.

    The meta data hold, besides `affine` (RAS, mm), `original_affine`, `spatial_shape`, `space` and
    `original_channel_dim`: `spacing_mm`, `slice_axis`, `gantry_tilt_deg`, `modality`, `series_description`,
    `series_uid`, `study_uid`, `frame_of_reference_uid`, `source_instances` and `findings`. The last two are one string
    each, because lists of different lengths cannot be collated into a batch: `ReferencedSeries.from_meta` and
    `unpack_findings` take them apart. Where a series has padding, `background` and `padding_share` say which value its
    padded voxels have, and how many of all they are. Nothing in the meta data names the patient, unless a path does.

    Args:
        series_uid: SeriesInstanceUID or SeriesNumber, when the folder holds several series.
        description: SeriesDescription or a part of it, in upper or lower case.
        modality: Modality, such as `CT`.
        stack: which stack of the series, 0-based, as the error lists them.
        on_gap: `error`; `resample` to interpolate at even steps; `keep` to take slices with gaps as they are.
        on_tilt: `keep` the exact, sheared affine of a tilted gantry; `error`; `resample` to an orthogonal volume.
        on_duplicate: `drop` identical copies, or `error`.
        num_workers: threads, or helper processes for large series, that read headers and decode pixels.

    Raises:
        ConfigurationError: for an unknown argument or an invalid value. (`LoadImage` would swallow a TypeError
            and build the reader again without any arguments.)

    Example:
        >>> from monai.transforms import LoadImage
        >>> load = LoadImage(reader=DicomSeriesReader(modality="CT"))
        >>> image = load("/data/study")  # doctest: +SKIP
    """

    def __init__(
        self,
        series_uid: str | None = None,
        description: str | None = None,
        modality: str | None = None,
        stack: int | None = None,
        on_gap: GapPolicy = "error",
        on_tilt: TiltPolicy = "keep",
        on_duplicate: DuplicatePolicy = "drop",
        num_workers: int = DEFAULT_WORKERS,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            known = ", ".join(name for name in signature(DicomSeriesReader).parameters if name != "unknown")
            told = ", ".join(map(repr, unknown))
            raise ConfigurationError(f"DicomSeriesReader has no argument {told}; expected some of {known}")
        for name, text in (("series_uid", series_uid), ("description", description), ("modality", modality)):
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise ConfigurationError(f"{name} is {text!r}, expected text or None")
        if stack is not None and (isinstance(stack, bool) or not isinstance(stack, int) or stack < 0):
            raise ConfigurationError(f"stack is {stack!r}, expected an integer from 0, or None")
        for name, value in (("on_gap", on_gap), ("on_tilt", on_tilt), ("on_duplicate", on_duplicate)):
            if value not in _POLICIES[name]:
                raise ConfigurationError(f"{name} is {value!r}, expected one of {', '.join(_POLICIES[name])}")
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
            raise ConfigurationError(f"num_workers is {num_workers!r}, expected an integer from 1")
        self.choice = {"series_uid": series_uid, "description": description, "modality": modality, "stack": stack}
        self.policies = {"on_gap": on_gap, "on_tilt": on_tilt, "on_duplicate": on_duplicate}
        self.num_workers = num_workers

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all paths are folders or DICOM files, whatever the files are called."""
        return all(_is_dicom(path) for path in _paths(filename))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> _DicomSource:
        """Note what to read; the work, and any refusal of DICOM input, comes in `get_data`.

        `LoadImage` catches whatever this method raises and tries its other readers, ending in an error that hides
        ours. So it raises for what is not DICOM, and for nothing else.

        Args:
            data: a folder, a file, or a list of files of one series.
            kwargs: unused, part of MONAI's interface.

        Raises:
            DicomReadError: if a path is neither a folder nor a DICOM file.
        """
        paths = _paths(data)
        other = [path for path in paths if not _is_dicom(path)]
        if not paths:
            raise DicomReadError("got an empty list of paths, expected a DICOM folder or files")
        if other:
            what = "is neither a folder nor a DICOM file" if os.path.exists(other[0]) else "does not exist"
            raise DicomReadError(f"{other[0]} {what}; expected DICOM")
        return _DicomSource(paths)

    def get_data(self, img: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        """Read the volume.

        Args:
            img: what `read` returned.

        Returns:
            Tensor (columns, rows, slices), float32, and its meta data. MONAI copies an array that is not contiguous,
            but takes a tensor as it is; in the memory of this one, each slice is contiguous.

        Raises:
            DicomReadError: if nothing readable is there.
            SeriesSelectionError: if several series or stacks could be meant.
            DicomGeometryError: if the slices form no volume.
            DicomPixelError: if pixels cannot be decoded.
        """
        paths: tuple[Path, ...] = img.paths
        missing = [path for path in paths if not is_there(path)]
        if missing:
            raise DicomReadError(f"{missing[0]} does not exist; expected a DICOM folder or file")
        if len(paths) > 1 and any(path.is_dir() for path in paths):
            raise DicomReadError(f"got a list of {len(paths)} paths with folders; expected one folder, or files alone")
        one = len(paths) == 1
        scan = scan_path(paths[0], self.num_workers) if one else scan_files(paths, self.num_workers)
        selection = scan.choose_series(**self.choice)  # type: ignore[arg-type]
        volume = read_volume(selection, num_workers=self.num_workers, **self.policies)  # type: ignore[arg-type]
        return torch.from_numpy(volume.array), _meta_of(volume)


@dataclass(frozen=True)
class _DicomSource:
    """DICOM paths that are still to be read."""

    paths: tuple[Path, ...]


def _meta_of(volume: DicomVolume) -> dict[str, Any]:
    series, origin, geometry = volume.selection.series, volume.selection.stack.origin, volume.geometry
    slices = tuple(ReferencedSlice(frame.sop_instance_uid, frame.frame_index + 1) for frame in geometry.frames)
    source = ReferencedSeries(
        slices or (None,) * volume.array.shape[2],  # slices of a resampled volume are not instances
        tuple(dict.fromkeys(frame.path.absolute() for frame in geometry.frames)),
        modality=origin.modality,
        series_description=series.description,
        study_uid=origin.study_uid,
        series_uid=series.series_uid,
        frame_of_reference_uid=origin.frame_of_reference_uid,
        patient_hash=origin.patient_hash,
    )
    return {
        MetaKeys.AFFINE: geometry.affine_ras,
        MetaKeys.ORIGINAL_AFFINE: geometry.affine_ras,
        MetaKeys.SPATIAL_SHAPE: np.array(volume.array.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: "no_channel",
        "spacing_mm": geometry.spacing_mm,
        "slice_axis": 2,
        "gantry_tilt_deg": geometry.gantry_tilt_deg,
        **source.to_meta(),
        **padding_meta(volume.padding),
        "findings": pack_findings(volume.findings),
    }


def _is_dicom(path: Path) -> bool:
    return is_folder_or_case(path) or is_meant_as_dicom(path)


def _paths(data: Sequence[PathLike] | PathLike) -> tuple[Path, ...]:
    items = (data,) if isinstance(data, (str, os.PathLike)) else tuple(data)
    return tuple(Path(item) for item in items)
