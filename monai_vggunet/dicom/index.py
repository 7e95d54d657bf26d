"""Scan a folder by headers: which series lie there, which can be a volume, what is left out and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from monai_vggunet.case_path import case_path_of
from monai_vggunet.dicom.findings import FindingKind, note
from monai_vggunet.dicom.headers.header import hash_identifier, read_header
from monai_vggunet.dicom.headers.records import FrameRecord, InstanceRecord, Series, SkippedFile
from monai_vggunet.dicom.hounsfield import other_unit, without_maps
from monai_vggunet.dicom.parallel.spread import spread
from monai_vggunet.dicom.selection import Selection, select
from monai_vggunet.dicom.stacks import split_into_stacks
from monai_vggunet.errors import DicomReadError, SeriesSelectionError
from monai_vggunet.layout import files_of, walk_inputs
from monai_vggunet.names import counted
from monai_vggunet.short_uid import short_uid

__all__ = ["DicomIndex", "patient_key", "scan_files", "scan_folder", "unlisted"]

# Helper processes that read headers; having more of them than cores hides the latency of disks and network shares.
DEFAULT_WORKERS = min(8, 2 * (os.cpu_count() or 1))
# Headers are read in parcels of this many files: few enough that all helpers end together.
_FILES_PER_PARCEL = 64


@dataclass(frozen=True, slots=True)
class DicomIndex:
    """What lies in a folder: its series, and the files left out with their reasons."""

    series: tuple[Series, ...]
    skipped: tuple[SkippedFile, ...]

    def choose_series(
        self,
        series_uid: str | None = None,
        description: str | None = None,
        modality: str | None = None,
        stack: int | None = None,
    ) -> Selection:
        """Return the one stack that is asked for, or the obvious one.

        An image volume is the obvious one if there are only localizers, secondary captures, single images of other
        orientations or series, and objects without an image beside it. A CT series whose RescaleType is another unit
        than HU (`Z_EFF`, `ED`, ...) is chosen only by its UID, number, description or stack.

        Args:
            series_uid: SeriesInstanceUID, or SeriesNumber.
            description: SeriesDescription, or a part of it, in upper or lower case.
            modality: Modality, such as `CT`.
            stack: which stack of the series, 0-based in the order that `inspect` and the error list them.

        Raises:
            SeriesSelectionError: if none or several fit; the text lists what is there. If a series that fits holds
                instances of several patients, or the only CT is not in HU.
            DicomReadError: if there is no image at all, or the chosen series has a damaged file.
        """
        is_asked_for = not (series_uid is None and description is None and stack is None)
        series = self.series if is_asked_for else without_maps(self.series, modality)
        selection = select(series, self.skipped, series_uid, description, modality, stack)
        unit = other_unit(selection.stack.origin.modality, selection.stack.frames)
        if unit and not is_asked_for:
            raise SeriesSelectionError(
                f"the values of CT series {short_uid(selection.series.series_uid)} are {unit} by their RescaleType, "
                "expected HU: give a CT in HU, or choose this series by its number or UID (--series) if you want it",
                FindingKind.OTHER_UNIT,
            )
        if maps := len(self.series) - len(series):
            text = f"{counted(maps, 'CT series', 'CT series')} left out whose RescaleType is not HU"
            left_out = note(FindingKind.OTHER_UNIT, text, count=maps)
            selection = replace(selection, findings=(*selection.findings, left_out))
        return selection


def scan_folder(path: str | os.PathLike[str], num_workers: int = DEFAULT_WORKERS) -> DicomIndex:
    """Index every DICOM file under a folder, whatever the files' names and however deep they lie.

    Only headers are read. No file stops the scan: what cannot be used is listed in `skipped` with a reason. Results of
    `monai-vggunet segment` are left out.

    Args:
        path: the folder.
        num_workers: helper processes that may read headers (see `parallel.spread`).

    Raises:
        DicomReadError: if the folder does not exist, or is not a folder.

    Example:
        >>> index = scan_folder("/data/study")  # doctest: +SKIP
        >>> index.choose_series(modality="CT")  # doctest: +SKIP
    """
    root = Path(path)
    if not root.is_dir():
        raise DicomReadError(f"{root} is not a folder; expected a folder that holds DICOM files")
    unreadable: list[SkippedFile] = []
    files: list[Path] = []
    for folder, _, names in walk_inputs(root, lambda error: unreadable.append(unlisted(error))):
        files += [folder / name for name in names]
    index = scan_files(files, num_workers)
    return DicomIndex(index.series, (*index.skipped, *unreadable))


def scan_files(
    paths: Iterable[str | os.PathLike[str]], num_workers: int = DEFAULT_WORKERS, study_uid: str = ""
) -> DicomIndex:
    """Index the given files as `scan_folder` does for all files of a folder.

    Args:
        paths: the files.
        num_workers: as in `scan_folder`.
        study_uid: pass over instances of other studies; empty for none.
    """
    found = _read_headers([path if isinstance(path, Path) else Path(path) for path in paths], num_workers)
    by_series: dict[str, list[InstanceRecord]] = {}
    for record in found:
        if isinstance(record, InstanceRecord) and study_uid in ("", record.study_uid):
            by_series.setdefault(record.series_uid, []).append(record)
    series = sorted((_series_of(instances) for instances in by_series.values()), key=_listing_order)
    return DicomIndex(tuple(series), tuple(record for record in found if isinstance(record, SkippedFile)))


def patient_key(path: str | os.PathLike[str]) -> str:
    """Return a pseudonym of the patient whose images lie at `path`, so that a split keeps a patient's cases together.

    The key is a prefix of the SHA-256 of PatientID and IssuerOfPatientID; of the StudyInstanceUID where no file has a
    PatientID; of the SOPInstanceUIDs where de-identification removed both, so that each folder counts as a patient of
    its own. It does not show the identifier, but whoever guesses an identifier can check it: do not publish it.

    Args:
        path: a DICOM file, a folder of them, or a `CasePath`.

    Returns:
        16 hexadecimal digits.

    Raises:
        DicomReadError: if nothing there is DICOM.
        SeriesSelectionError: if the files belong to several patients.
    """
    case = case_path_of(path)
    if case is not None:
        index = scan_files(files_of(path), study_uid=case.study_uid)
    else:
        index = scan_files([path]) if Path(path).is_file() else scan_folder(path)
    instances = [instance for series in index.series for instance in series.instances]
    keys = {instance.patient_hash for instance in instances} - {""}
    keys = keys or {instance.study_hash for instance in instances} - {""}
    if not instances:
        raise DicomReadError(f"{path} holds no DICOM file; expected one, or a folder of them")
    if not keys:
        return hash_identifier("\\".join(sorted(instance.sop_instance_uid for instance in instances)))
    if len(keys) > 1:
        raise SeriesSelectionError(
            f"{path} holds files of {len(keys)} patients (or, without PatientID, studies); expected one: "
            "give each patient a folder",
            FindingKind.SEVERAL_PATIENTS,
        )
    return keys.pop()


def _read_headers(files: list[Path], num_workers: int) -> list[InstanceRecord | SkippedFile]:
    """Read headers in the order of the files, in parcels, by helper processes where that pays."""
    parcels = [files[start : start + _FILES_PER_PARCEL] for start in range(0, len(files), _FILES_PER_PARCEL)]
    parts: dict[int, list[InstanceRecord | SkippedFile]] = {}

    def unpack(which: int, parcel: list[_Packed]) -> None:
        parts[which] = [_unpacked(path, packed) for path, packed in zip(parcels[which], parcel, strict=True)]

    spread(_packed_parcel, parcels, unpack, num_workers)
    return [record for which in range(len(parcels)) for record in parts[which]]


# A record on its way from a helper: its values alone, without the path; as objects they would take twice as long.
_Packed = SkippedFile | tuple[tuple[Any, ...], list[tuple[Any, ...]]]
_instance_values = attrgetter(*(field.name for field in fields(InstanceRecord) if field.name not in ("path", "frames")))
_frame_values = attrgetter(*(field.name for field in fields(FrameRecord) if field.name != "path"))


def _packed_parcel(files: list[Path]) -> list[_Packed]:
    return [
        record
        if isinstance(record, SkippedFile)
        else (_instance_values(record), [_frame_values(frame) for frame in record.frames])
        for record in map(read_header, files)
    ]


def _unpacked(path: Path, packed: _Packed) -> InstanceRecord | SkippedFile:
    if isinstance(packed, SkippedFile):
        return packed
    values, frames = packed
    own: list[Any] = [path, *values, tuple(FrameRecord(path, *frame) for frame in frames)]
    return InstanceRecord(*own)


def _series_of(instances: Sequence[InstanceRecord]) -> Series:
    stacks = split_into_stacks(instances)
    first = instances[0]
    if stacks and stacks[0].origin != first.origin:
        first = next(instance for instance in instances if instance.frames and instance.origin == stacks[0].origin)
    return Series(
        series_uid=first.series_uid,
        study_uid=first.study_uid,
        modality=first.modality,
        description=first.description,
        series_number=first.series_number,
        instances=tuple(instances),
        stacks=stacks,
    )


def _listing_order(series: Series) -> tuple[int, str]:
    number = series.series_number
    whole = number.isascii() and number.removeprefix("-").isdecimal()
    return (int(number) if whole else 0, series.series_uid)


def unlisted(error: OSError) -> SkippedFile:
    """Return what the index says of a folder that cannot be listed."""
    reason = f"folder cannot be listed: {error.strerror}"
    return SkippedFile(Path(error.filename or "."), FindingKind.FOLDER_NOT_LISTED, reason)
