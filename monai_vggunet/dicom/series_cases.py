"""Folders that hold DICOM files -> cases: a series that lies in several folders is one, an archive is not."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from monai_vggunet.case_path import CasePath
from monai_vggunet.dicom.headers.identity import Identity, read_identity
from monai_vggunet.dicom.headers.records import tell_nothing
from monai_vggunet.dicom.index import DEFAULT_WORKERS
from monai_vggunet.dicom.parallel.spread import spread
from monai_vggunet.layout import files_of

__all__ = ["DicomCase", "DicomCases", "dicom_cases", "image_series"]

# Headers are read in parcels of this many files: few enough that all helpers end together.
_FILES_PER_PARCEL = 256


@dataclass(frozen=True)
class DicomCase:
    """One case.

    Attributes:
        path: what the reader takes: a folder, or the text of a `CasePath`.
        first: the first folder in which files of it lie, after which it is called.
    """

    path: str
    first: Path


@dataclass(frozen=True)
class DicomCases:
    """The cases, in the order of their first folders.

    Attributes:
        cases: each once.
        covered: folders that belong to a case with all that lies below them.
        strays: files beside the folders of several studies that are no images of any of them.
    """

    cases: tuple[DicomCase, ...]
    covered: frozenset[Path]
    strays: tuple[Path, ...]


def image_series(folder: Path) -> frozenset[tuple[str, str]]:
    """Return the SeriesInstanceUIDs of the images below a folder, each with its StudyInstanceUID.

    Exports for research give the same UID to a series of a former study and to one of the present.
    """
    found = _one_study_per_file(_identities(list(files_of(folder))))
    return frozenset((one.series_uid, one.study_uid) for one in found.values() if one.is_image and one.series_uid)


@dataclass
class _Unit:
    """Folders that are taken together, and of which studies; none where all their files are meant.

    `top` is the folder that they are with all that lies below it; None for files of one folder alone.
    """

    folders: list[Path]
    top: Path | None
    studies: frozenset[str] = frozenset()


def dicom_cases(folders: Mapping[Path, Sequence[Path]], roots: Iterable[Path]) -> DicomCases:
    """Group the folders that hold DICOM files themselves into cases.

    - The topmost folder is a case with everything below it, as hospitals export studies. If the images there are of
      several studies, it is an archive: the folders below are judged by themselves, and so are the files beside them.
    - Folders that share a series (SeriesInstanceUID) are one case: a series spread over several folders, and one that
      was exported twice. If such folders hold several studies, each study is a case.

    Args:
        folders: every folder that holds DICOM files itself, with its files (others among them do no harm).
        roots: the inputs below which they lie.

    Returns:
        The cases. Headers are read only if there are several folders.
    """
    if len(folders) <= 1:
        return DicomCases(tuple(DicomCase(str(one), one) for one in folders), frozenset(folders), ())
    return _Grouping(folders, tuple(roots)).cases()


class _Grouping:
    def __init__(self, folders: Mapping[Path, Sequence[Path]], roots: tuple[Path, ...]) -> None:
        self.roots = roots
        found = _one_study_per_file(_identities([file for files in folders.values() for file in files]))
        self.folders = folders
        self.sorted_folders = sorted(folders)
        self.identities = {
            folder: {file: found[file] for file in files if file in found} for folder, files in folders.items()
        }
        self.units: list[_Unit] = []
        self.strays: list[Path] = []

    def cases(self) -> DicomCases:
        self._divide(self.sorted_folders)
        cases = [case for units in self._connected() for case in self._cases_of(units)]
        covered = frozenset(unit.top for unit in self.units if unit.top is not None)
        return DicomCases(tuple(sorted(cases, key=lambda case: (case.first, case.path))), covered, tuple(self.strays))

    def _divide(self, folders: Sequence[Path]) -> None:
        """Make units of folders, which are sorted, so that those below a folder follow it at once."""
        start = 0
        while start < len(folders):
            below = _below(folders, start)
            start += len(below)
            if len(below) == 1 or len(self._studies(below)) <= 1:
                self.units.append(_Unit(below, below[0]))
            else:
                self._divide(below[1:])
                self._place_files_of(below[0])

    def _place_files_of(self, folder: Path) -> None:
        """Make units of the files beside folders of several studies; files that are no images join their study."""
        self.strays += [file for file in self.folders[folder] if file not in self.identities[folder]]
        for study in sorted({one.study_uid for one in self.identities[folder].values()}):
            files = [file for file, one in self.identities[folder].items() if one.study_uid == study]
            if study in self._studies([folder]):
                self.units.append(_Unit([folder], None, frozenset({study})))
                continue
            near = [unit for unit in self.units if unit.folders[0].is_relative_to(folder) and study in self._of(unit)]
            if near:
                near[0].folders.append(folder)
                near[0].top, near[0].studies = None, frozenset({study})
            else:
                self.strays += files

    def _connected(self) -> list[list[_Unit]]:
        """Return the units in groups that share a series."""
        group_of = list(range(len(self.units)))

        def group(index: int) -> int:
            while group_of[index] != index:
                index = group_of[index]
            return index

        first_with: dict[str, int] = {}
        for index, unit in enumerate(self.units):
            for folder in unit.folders:
                for one in self.identities[folder].values():
                    if one.is_image and one.series_uid and (not unit.studies or one.study_uid in unit.studies):
                        other = first_with.setdefault(one.series_uid, index)
                        group_of[group(index)] = group(other)
        groups: dict[int, list[_Unit]] = {}
        for index, unit in enumerate(self.units):
            groups.setdefault(group(index), []).append(unit)
        return list(groups.values())

    def _cases_of(self, units: list[_Unit]) -> list[DicomCase]:
        if len(units) == 1 and units[0].top is not None:
            return [DicomCase(str(units[0].top), units[0].top)]
        folders = sorted({folder for unit in units for folder in unit.folders})
        common = Path(os.path.commonpath(folders))
        alone = _below(self.sorted_folders, bisect_left(self.sorted_folders, common), common) == folders
        studies = sorted(frozenset().union(*(self._of(unit) for unit in units)))
        if alone and len(studies) <= 1 and any(common.is_relative_to(root) for root in self.roots):
            return [DicomCase(str(common), common)]
        if len(studies) <= 1 and all(self._studies([folder]) <= set(studies) for folder in folders):
            return [self._case(common, folders, "")]
        return [
            self._case(common, [folder for folder in folders if self._holds(folder, study)], study) for study in studies
        ]

    def _case(self, common: Path, folders: list[Path], study: str) -> DicomCase:
        parts = tuple(os.path.relpath(folder, common) for folder in folders)
        return DicomCase(str(CasePath(common, parts, study)), folders[0])

    def _of(self, unit: _Unit) -> frozenset[str]:
        return unit.studies or self._studies(unit.folders)

    def _studies(self, folders: Iterable[Path]) -> frozenset[str]:
        """Return the studies of the images in folders."""
        return frozenset(
            one.study_uid for folder in folders for one in self.identities[folder].values() if one.is_image
        )

    def _holds(self, folder: Path, study: str) -> bool:
        return any(one.study_uid == study for one in self.identities[folder].values())


def _below(folders: Sequence[Path], start: int, top: Path | None = None) -> list[Path]:
    """Return the folders from an index on that lie below one, or are it; by default below the first of them."""
    top = top or folders[start]
    return list(takewhile(lambda folder: folder.is_relative_to(top), islice(folders, start, None)))


def _identities(files: list[Path]) -> dict[Path, Identity]:
    """Read what files belong to, by helper processes where that pays."""
    parcels = [files[start : start + _FILES_PER_PARCEL] for start in range(0, len(files), _FILES_PER_PARCEL)]
    found: dict[Path, Identity] = {}

    def note(which: int, parcel: list[Identity | None]) -> None:
        found.update((file, one) for file, one in zip(parcels[which], parcel, strict=True) if one is not None)

    spread(_read_parcel, parcels, note, DEFAULT_WORKERS)
    return found


def _one_study_per_file(found: dict[Path, Identity]) -> dict[Path, Identity]:
    """Take the files of a series as one study where a program made up a StudyInstanceUID for each."""
    series: dict[str, list[Path]] = {}
    for file, one in found.items():
        series.setdefault(one.series_uid, []).append(file)
    for files in series.values():
        if tell_nothing([found[file].study_uid for file in files]):
            found |= {file: found[file]._replace(study_uid="") for file in files}
    return found


def _read_parcel(files: list[Path]) -> list[Identity | None]:
    return list(map(read_identity, files))
