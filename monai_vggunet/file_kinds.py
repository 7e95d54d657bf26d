"""What kind a file is, by its name: the endings of images and labels, and of what lies beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePath

__all__ = [
    "ARCHIVE_ENDINGS",
    "COMPANION_ENDINGS",
    "DICOM_ENDINGS",
    "NIFTI_ENDINGS",
    "NRRD_ENDING",
    "PICTURE",
    "PICTURE_ENDINGS",
    "SLICER_ENDING",
    "ends_with",
    "is_archive",
    "is_companion",
    "is_image_file",
    "split_ending",
]

NIFTI_ENDINGS = (".nii.gz", ".nii")
NRRD_ENDING = ".nrrd"
SLICER_ENDING = ".seg.nrrd"  # NRRD, as 3D Slicer calls its segmentations, which number their segments themselves
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")  # many DICOM files have none
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
PICTURE = "PICTURE"  # the modality of pictures in our own files; DICOM has none for them
# Files that lie beside images without being one. DICOM often has no ending: any other file is judged by its content.
COMPANION_ENDINGS = (".json", ".txt", ".md", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log")
# Files that hold others. A NIfTI file may be compressed, too.
ARCHIVE_ENDINGS = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_DIRECTORY = "DICOMDIR"  # PS3.10 8.6


def ends_with(path: str | os.PathLike[str], endings: str | tuple[str, ...]) -> bool:
    """Whether a file's name has an ending, or one of several, in letters of any case.

    Example:
        >>> ends_with("/data/A.NII.GZ", NIFTI_ENDINGS)
        True
    """
    return os.fspath(path).lower().endswith(endings)


def is_image_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is NIfTI or a picture."""
    return ends_with(path, NIFTI_ENDINGS + PICTURE_ENDINGS)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it holds other files, which must be unpacked.

    Example:
        >>> is_archive("study.ZIP"), is_archive("ct.nii.gz")
        (True, False)
    """
    return ends_with(path, ARCHIVE_ENDINGS) and not is_image_file(path)


def split_ending(name: str, endings: Iterable[str]) -> tuple[str, str]:
    """Return a file's name without its ending, and the ending as written; an ending that is the whole name stays.

    Args:
        name: of the file, without its folder.
        endings: those that count; the first that fits is taken.

    Example:
        >>> split_ending("Liver.07.NII.gz", NIFTI_ENDINGS), split_ending(".nii", NIFTI_ENDINGS)
        (('Liver.07', '.NII.gz'), ('.nii', ''))
    """
    for ending in endings:
        if name.lower().endswith(ending) and name[: -len(ending)].strip("."):
            return name[: -len(ending)], name[-len(ending) :]
    return name, ""


def is_companion(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it accompanies images without being one; any other is judged by its content."""
    return ends_with(path, COMPANION_ENDINGS) or PurePath(path).name.upper() == _DIRECTORY
