"""One DICOM file as it arrives: written to the disk within bounds, and only then read for patient, study and series."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from monai_vggunet.dicom.headers.bounded_reading import read_dicom, read_file_meta
from monai_vggunet.dicom.headers.header import hash_identifier, keep_values_out_of_warnings
from monai_vggunet.errors import OutputWriteError, PacsError, PacsLimitError
from monai_vggunet.pacs.bounds import MOST_OBJECT_VARIABLE

__all__ = ["ArrivedFile", "disk", "receive"]

LEAST_FREE_BYTES = 1 << 28  # stay free on the disk, or a twentieth of a small one, for other programs
_SMALL_PART = 20
_IDENTITY = ["SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"]


@dataclass(frozen=True)
class ArrivedFile:
    """A DICOM file, and the patient, study and series that it names.

    Attributes:
        path: where it lies.
        sha256: of its content.
        instance_uid, series_uid, study_uid: empty where the file has none.
        patient_hash: of the PatientID; empty without one.
    """

    path: Path
    sha256: str
    instance_uid: str
    series_uid: str
    study_uid: str
    patient_hash: str


def receive(pieces: Iterable[bytes], path: Path, host: str, most_bytes: int) -> ArrivedFile:
    """Write a file as it comes, and read its identifiers.

    Args:
        pieces: of the file.
        path: where it is written; something may lie there even after an error.
        host: for messages.
        most_bytes: largest size of the file.

    Raises:
        PacsLimitError: it is larger.
        PacsError: it is no readable DICOM.
        OutputWriteError: the disk is full or cannot be written.
    """
    digest = _write(pieces, path, host, most_bytes)
    keep_values_out_of_warnings()
    try:
        read_file_meta(path)  # without preamble and prefix it is none
        header = read_dicom(path, before_pixels=True, tags=_IDENTITY)
        instance, patient, study, series = (_text(header, keyword) for keyword in _IDENTITY)
    except Exception as error:  # a parser meets every kind of damage, and its text may quote the file
        raise PacsError(
            f"{host} sent something that is no readable DICOM ({type(error).__name__}): check that the URL is that of "
            "the DICOMweb service"
        ) from error
    return ArrivedFile(path, digest, instance, series, study, hash_identifier(patient))


def _write(pieces: Iterable[bytes], path: Path, host: str, most_bytes: int) -> str:
    """Write a file; return its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with disk(path.parent):
        file = path.open("wb", buffering=0)
    with file:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            if size > most_bytes:
                raise PacsLimitError(
                    f"{host} sent an instance of more than {most_bytes} bytes: stopped. If instances are that large, "
                    f"set {MOST_OBJECT_VARIABLE} to the megabytes that one may have"
                )
            with disk(path.parent):
                _require_room(path.parent)
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
    return digest.hexdigest()


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Turn a disk's errors into ours. Broken connections are `OSError` too, so nothing may be received within.

    Raises:
        OutputWriteError: the disk is full or cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputWriteError(
            f"a download cannot be written to {folder}: {error.strerror or error}. Free disk space, or set TMPDIR to "
            "another folder for temporary files"
        ) from error


def _require_room(folder: Path) -> None:
    usage = shutil.disk_usage(folder)
    if usage.free < min(LEAST_FREE_BYTES, usage.total // _SMALL_PART):
        raise OSError(errno.ENOSPC, f"only {usage.free >> 20} MiB are left on the disk")


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
