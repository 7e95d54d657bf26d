"""The cases below folders and files that a user names: DICOM by its series, NIfTI files, pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from monai_vggunet.data.case_names import Case, case_stem, distinct_cases, named_by_folders, relative_case_name
from monai_vggunet.data.input_folders import existing_folder, expanded
from monai_vggunet.dicom.headers.archives import archive_kind
from monai_vggunet.dicom.places import is_case_folder
from monai_vggunet.dicom.series_cases import DicomCases, dicom_cases
from monai_vggunet.errors import DatasetError
from monai_vggunet.file_kinds import is_archive, is_companion, is_image_file
from monai_vggunet.layout import (
    called_as_results,
    lies_within,
    output_below,
    require_output_apart,
    require_sources_kept,
    walk_inputs,
)
from monai_vggunet.names import counted, folder_name, listed, listed_by_reason
from monai_vggunet.privacy import know_cases, know_input, know_tree

__all__ = ["image_cases", "input_cases"]

PathLike = str | os.PathLike[str]

_log = logging.getLogger(__name__)


def image_cases(dataset_dir: PathLike, output_dir: PathLike | None = None) -> list[Case]:
    """Return everything under a folder that can be segmented: one case per NIfTI file, picture or DICOM case.

    `images/` is taken when it is there, else the folder itself with its sub-folders; a single file is one case.
    `dicom_cases` says what a DICOM case is. Results of earlier runs are none, wherever they lie.

    Args:
        dataset_dir: the folder or file.
        output_dir: where results will go; studies that lie there are cases too, what is only called as a result is not.

    Raises:
        DatasetError: the path is missing, or nothing under it is an image.
        ConfigurationError: the output is the input.
    """
    return input_cases([dataset_dir], output_dir)


def input_cases(inputs: Iterable[PathLike], output_dir: PathLike | None = None) -> list[Case]:
    """Return what `image_cases` returns for several inputs, which may share a series, each case with a name of its own.

    Raises:
        DatasetError, ConfigurationError: see `image_cases`.
    """
    found = [_found_in(path, output_dir) for path in {os.path.abspath(path): path for path in inputs}.values()]
    dicom = dicom_cases(
        {folder: files for one in found for folder, files in one.dicom.items()}, [one.folder for one in found]
    )
    _tell(found, dicom)
    named: dict[str, Case] = {}
    named_after: dict[str, Path] = {}
    for one in found:
        places = {str(path): path for path in one.images if not _lies_below(path.parent, dicom.covered)}
        places |= {case.path: case.first for case in dicom.cases if case.first.is_relative_to(one.folder)}
        for image, place in sorted(places.items()):
            named.setdefault(image, {"image": image, "case": _name(place, one.folder)})
            named_after.setdefault(image, place)
    cases = distinct_cases(named_by_folders(named.values(), named_after))
    know_cases(case["case"] for case in cases)
    if output_dir is not None:
        require_sources_kept({case["case"]: case["image"] for case in cases}, output_dir)
    return cases


@dataclass
class _Found:
    """What lies below one input.

    Attributes:
        folder: the folder that is walked, or the file that the input is.
        images: NIfTI files and pictures.
        dicom: folders that hold DICOM files themselves -> their files.
        half_done: files in the output that are called as results.
        archives: files that must be unpacked.
        strange: folders -> how many other files of unknown kinds lie there.
        unlisted: why folders cannot be listed.
        leading_out: links to folders elsewhere, which are searched too.
    """

    folder: Path
    images: list[Path] = field(default_factory=list)
    dicom: dict[Path, list[Path]] = field(default_factory=dict)
    half_done: list[Path] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)
    strange: dict[Path, int] = field(default_factory=dict)
    unlisted: list[OSError] = field(default_factory=list)
    leading_out: list[Path] = field(default_factory=list)


def _found_in(path: PathLike, output_dir: PathLike | None) -> _Found:
    know_input(path)
    root = expanded(path)
    folder = root if root.is_file() else _images_folder(existing_folder(root))
    know_tree(root)
    if output_dir is not None:
        require_output_apart([root, folder], output_dir)
    if root.is_file():
        _refuse_archive(root)
        return _Found(root, [root])
    found = _walked(folder, output_below(folder, output_dir))
    if not found.images and not found.dicom:
        unpack = f"; unpack the archives ({listed(found.archives)})" if found.archives else ""
        raise DatasetError(
            f"{folder} holds nothing to segment: expected NIfTI files or folders with DICOM series{unpack}"
        )
    return found


def _images_folder(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root


def _refuse_archive(path: Path) -> None:
    if not is_image_file(path) and (kind := archive_kind(path)):
        raise DatasetError(f"{path} is a {kind} archive; expected a folder or an image: unpack it and give the folder")


def _walked(folder: Path, output: Path | None) -> _Found:
    """Look at every visible file; in the output, what is called as a result is none: a killed run left it."""
    found = _Found(folder)
    whole = Path(os.path.realpath(folder))
    for parent, folders, files in walk_inputs(folder, found.unlisted.append):
        visible = [name for name in files if not name.startswith(".")]
        if output is not None and lies_within(parent, output):
            results = called_as_results(visible)
            found.half_done += [parent / name for name in visible if name in results]
            visible = [name for name in visible if name not in results]
        found.images += [parent / name for name in visible if is_image_file(name)]
        found.archives += [parent / name for name in visible if is_archive(name)]
        others = [name for name in visible if not (is_image_file(name) or is_archive(name) or is_companion(name))]
        if is_case_folder(parent, others):
            found.dicom[parent] = [parent / name for name in others]
        elif others:
            found.strange[parent] = len(others)
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [parent / name for name in folders if os.path.islink(parent / name)]  # False where it lies too deep
        found.leading_out += [link for link in links if not lies_within(link, whole)]
    return found


def _name(place: Path, folder: Path) -> str:
    return folder_name(case_stem(place)) if folder.is_file() else relative_case_name(place, folder)


def _lies_below(folder: Path, tops: Container[Path]) -> bool:
    """Whether a folder lies below one of others, which it is not itself."""
    return any(parent in tops for parent in folder.parents)


def _tell(found: Iterable[_Found], dicom: DicomCases) -> None:
    """Log what is left out of the inputs, and which links lead out of them."""
    for one in found:
        if one.leading_out:
            count = counted(len(one.leading_out), "link")
            _log.warning("followed out of the input: %s (%s)", count, listed(one.leading_out))
        if one.half_done:
            count = counted(len(one.half_done), "file")
            _log.warning("left out of the output, named like results: %s (%s)", count, listed(one.half_done))
        if one.archives:
            count = counted(len(one.archives), "archive")
            _log.warning("left out, to be unpacked: %s (%s)", count, listed(one.archives))
        if one.unlisted:
            reasons = listed_by_reason((str(error.filename), str(error.strerror)) for error in one.unlisted)
            count = counted(len(one.unlisted), "folder")
            _log.warning("left out, cannot be listed: %s (%s)", count, "; ".join(reasons))
        strange = {
            place: count
            for place, count in one.strange.items()
            if place not in dicom.covered and not _lies_below(place, dicom.covered)
        }
        if strange:
            places = listed(f"{count} in {place}" for place, count in strange.items())
            count = counted(sum(strange.values()), "file")
            _log.warning("left out, neither image nor DICOM: %s (%s)", count, places)
    if dicom.strays:
        count = counted(len(dicom.strays), "file")
        told = "left out, beside the folders of several studies and no images of theirs: %s (%s)"
        _log.warning(told, count, listed(dicom.strays))
