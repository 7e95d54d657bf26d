"""Where DICOM files lie: a folder, a DICOMDIR (PS3.10 8.6) with the files it lists, a single file, a whole archive."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from monai_vggunet.case_path import case_path_of, is_folder_or_case
from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.bounded_reading import read_dicom, read_file_meta
from monai_vggunet.dicom.headers.dicom_files import opens_as_dicom
from monai_vggunet.dicom.headers.records import SkippedFile
from monai_vggunet.dicom.index import DEFAULT_WORKERS, DicomIndex, scan_files, scan_folder, unlisted
from monai_vggunet.dicom.series_cases import DicomCases, dicom_cases
from monai_vggunet.errors import DicomReadError
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, PICTURE_ENDINGS, ends_with, is_archive, is_companion
from monai_vggunet.layout import files_of, walk_inputs
from monai_vggunet.privacy import know_names

__all__ = ["case_places", "files_of_dicomdir", "is_case_folder", "is_dicomdir", "scan_path"]


def scan_path(path: str | os.PathLike[str], num_workers: int = DEFAULT_WORKERS) -> DicomIndex:
    """Index a folder, a case (see `CasePath`), the files that a DICOMDIR lists, or one file, by headers alone.

    Args:
        path: folder, case, DICOMDIR or DICOM file.
        num_workers: as in `scan_folder`.

    Raises:
        DicomReadError: if nothing is there, or the DICOMDIR is damaged or lists nothing.
    """
    source = Path(path)
    case = case_path_of(source)
    if case is not None and is_folder_or_case(source):
        return scan_files(files_of(source), num_workers, case.study_uid)
    if os.path.isdir(source):  # unlike `Path`, it tolerates any text
        return scan_folder(source, num_workers)
    if not os.path.exists(source):
        raise DicomReadError(f"{source} does not exist; expected a folder, a DICOMDIR or a DICOM file")
    if not is_dicomdir(source):
        return scan_files([source], num_workers)
    files, missing = files_of_dicomdir(source)
    index = scan_files(files, num_workers)
    return DicomIndex(index.series, (*index.skipped, *missing))


def is_dicomdir(path: Path) -> bool:
    """Whether a file is a DICOMDIR by its header, whatever its name."""
    try:
        if not path.is_file() or not opens_as_dicom(path):
            return False
        meta = read_file_meta(path)
        return str(meta.get("MediaStorageSOPClassUID", "")) == MediaStorageDirectoryStorage
    except Exception:  # whatever is wrong with it, it cannot be used as a directory
        return False


def files_of_dicomdir(path: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Return the files that a DICOMDIR lists, and those of them that are not there.

    Names are matched whatever their case and with or without the version that CDs add (`IM000001;1`). A listed file
    never lies outside the DICOMDIR's folder.

    Args:
        path: the DICOMDIR.

    Raises:
        DicomReadError: if it cannot be read or lists no file.
    """
    try:
        records = list(read_dicom(path).get("DirectoryRecordSequence") or [])
        listed = [_file_id(record) for record in records if "ReferencedFileID" in record]
    except Exception as error:  # pydicom raises all kinds on damaged files
        raise DicomReadError(
            f"{path} is a damaged DICOMDIR ({type(error).__name__}); give its folder instead"
        ) from error
    if not listed:
        raise DicomReadError(f"{path} lists no file; give its folder instead")
    listings: dict[Path, dict[str, str]] = {}
    found, missing = [], []
    for parts in listed:
        file = _resolve(path.parent, parts, listings)
        if file is None:
            reason = "listed in the DICOMDIR, but not there"
            missing.append(SkippedFile(path.parent.joinpath(*parts), FindingKind.LISTED_NOT_THERE, reason))
        else:
            found.append(file)
    know_names([*found, *(file.path for file in missing)])
    return sorted(set(found)), missing


def is_case_folder(folder: Path, names: Iterable[str]) -> bool:
    """Whether a folder is a case: DICOM files lie in it itself. A DICOMDIR alone does not count.

    Args:
        folder: the folder.
        names: of its files. Hidden files, and those whose ending says that they are not DICOM, are not opened.
    """
    called_otherwise = (*NIFTI_ENDINGS, NRRD_ENDING, *PICTURE_ENDINGS)
    files = (
        folder / name
        for name in names
        if not (name.startswith(".") or ends_with(name, called_otherwise) or is_companion(name) or is_archive(name))
    )
    return any(opens_as_dicom(file) and not is_dicomdir(file) for file in files)


def case_places(root: str | os.PathLike[str]) -> tuple[DicomCases, list[SkippedFile]]:
    """Return the DICOM cases below a folder, see `dicom_cases`; `monai-vggunet segment` takes the same.

    Args:
        root: a folder, which is returned alone when it holds DICOM files of one study.

    Returns:
        The cases; and, from outside of their folders, archives to be unpacked and folders that cannot be listed.
    """
    found: dict[Path, list[Path]] = {}
    skipped: list[SkippedFile] = []
    errors: list[OSError] = []
    for parent, folders, names in walk_inputs(root, errors.append):
        if is_case_folder(parent, names):
            found[parent] = [parent / name for name in names]
        else:
            archives = (parent / name for name in names if is_archive(name))
            skipped += [SkippedFile(file, FindingKind.ARCHIVE, "an archive: unpack it") for file in archives]
        folders[:] = [name for name in folders if not name.startswith(".")]
    cases = dicom_cases(found, [Path(root)])
    tops = {Path(case.path) for case in cases.cases}
    return cases, [file for file in (*map(unlisted, errors), *skipped) if tops.isdisjoint(file.path.parents)]


def _file_id(record: Dataset) -> tuple[str, ...]:
    value = record.ReferencedFileID
    parts = (value,) if isinstance(value, str) else tuple(value)
    return tuple(str(part).strip() for part in parts)


def _resolve(folder: Path, parts: tuple[str, ...], listings: dict[Path, dict[str, str]]) -> Path | None:
    """Follow a file ID from the DICOMDIR's folder, component by component."""
    place = folder
    for part in parts:
        if place not in listings:
            names = os.listdir(place) if place.is_dir() else []
            # pydicom gives the bytes of a file ID as Latin-1, whatever they are: names are compared as bytes
            listings[place] = {_plain(os.fsencode(name).decode("latin-1")): name for name in names}
        name = listings[place].get(_plain(part))
        if name is None:
            return None
        place = place / name
    return place if place.is_file() else None


def _plain(name: str) -> str:
    return name.partition(";")[0].rstrip(".").casefold()
