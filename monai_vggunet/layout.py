"""Where results lie, how they are known again in a folder of studies, and that none is written over its source."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from monai_vggunet.case_record import is_record
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.json_files import read_json
from monai_vggunet.names import readable

__all__ = [
    "INDEX",
    "MAKER",
    "NAMES",
    "PAGES",
    "RECORD",
    "REPORT",
    "SHEET",
    "SIDECAR",
    "holds_results_alone",
    "place_within",
    "require_output_apart",
    "require_sources_kept",
    "results_among",
    "walk",
    "walk_inputs",
]

RECORD, SIDECAR, REPORT, SHEET, INDEX = "record.json", "mask.json", "report.html", "sheet.png", "index.html"
NAMES = "names.json"  # what pseudonyms stand for
PAGES = "reports"  # the pages of all cases, under their pseudonyms
_NAMES_ON_THE_WAY = ".names-*.json"  # as `atomic_path` calls it
MAKER = "monai-vggunet"  # as the sidecar of a mask names us
_RESULTS = (
    RECORD,
    SIDECAR,
    "mask*.nii.gz",
    "disagreement.nii.gz",
    "seg.dcm",
    "rtstruct.dcm",
    "*_of_earlier_run.*",
    REPORT,
    SHEET,
)
_PAGE_ENDINGS = (".html", ".png")
_OnError = Callable[[OSError], object] | None
_Place = tuple[Path, list[str], list[str]]


def walk_inputs(root: str | os.PathLike[str], on_error: _OnError = None) -> Iterator[_Place]:
    """Walk a folder of studies as `walk` does, and pass over the files that runs of ours left in it."""
    for folder, folders, names in walk(root, on_error):
        results = results_among(folder, names, folders)
        folders[:] = [name for name in folders if name not in results]
        yield folder, folders, [name for name in names if name not in results] if results else names


def walk(root: str | os.PathLike[str], on_error: _OnError = None) -> Iterator[_Place]:
    """Walk a folder as `os.walk` does, in sorted order, and without recursion, however deep its folders lie.

    Links to folders are listed and not followed.

    Args:
        root: the folder.
        on_error: is called with the `OSError` of a folder that cannot be listed.

    Yields:
        A folder, the names of its folders (which may be taken out to pass them over) and of its other entries.
    """
    waiting = [Path(root)]
    while waiting:
        folder = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        links: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if _is_folder(entry) else names).append(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        folders.sort()
        yield folder, folders, sorted(names)
        waiting += [folder / name for name in reversed(folders) if name not in links]


def results_among(folder: Path, names: Collection[str], folders: Iterable[str] = ()) -> set[str]:
    """Return which of a folder's entries a run of ours wrote; a record or the sidecar of a mask tells that one did.

    Args:
        folder: where they lie.
        names: of its files.
        folders: names of its folders: beside those with records lie `index.html` and the folder of pages.
    """
    results: set[str] = set()
    if (RECORD in names and is_record(_content(folder / RECORD))) or (
        SIDECAR in names and _is_sidecar(_content(folder / SIDECAR))
    ):
        results = {name for name in names if any(fnmatchcase(name, pattern) for pattern in _RESULTS)}
    if INDEX in names and any(is_record(_content(folder / name / RECORD)) for name in folders):
        results.add(INDEX)
        if PAGES in folders and _holds_pages_alone(folder / PAGES):
            results.add(PAGES)
    # there from a run's first moment on, before any record is
    return results | {name for name in names if _is_list_of_names(folder, name)}


def _is_list_of_names(folder: Path, name: str) -> bool:
    """Whether a file is the list of what pseudonyms stand for, or is on its way to become it."""
    if fnmatchcase(name, _NAMES_ON_THE_WAY):
        return True
    content = _content(folder / name) if name == NAMES else None
    return isinstance(content, Mapping) and {"salt", "names"} <= content.keys()


def _holds_pages_alone(folder: Path) -> bool:
    try:
        return all(entry.suffix in _PAGE_ENDINGS and entry.is_file() for entry in folder.iterdir())
    except OSError:  # who walks on says that it cannot be listed
        return False


def holds_results_alone(folder: Path) -> bool:
    """Whether nothing that is seen lies in a folder or below it but what runs of ours left there."""
    found = False
    for place, folders, names in walk_inputs(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(not name.startswith(".") for name in names):
            return False
        found = found or is_record(_content(place / RECORD)) or _is_sidecar(_content(place / SIDECAR))
    return found


def place_within(folder: Path, output_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return where a walk of `folder` meets the output's folder; None if it does not."""
    if output_dir is None:
        return None
    root, output = _real(folder), _real(output_dir)
    return folder / output.relative_to(root) if output != root and output.is_relative_to(root) else None


def require_output_apart(inputs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> None:
    """Refuse an output that is an input, through whatever links, or that is no folder.

    Args:
        inputs: folders and files that are read.
        output_dir: where results go; it need not exist, and may lie within an input.

    Raises:
        ConfigurationError: results would lie among or replace what they are made from.
    """
    output = Path(output_dir)
    if output.exists() and not output.is_dir():
        raise ConfigurationError(f"the output {readable(output)} is a file; expected a folder, which may be new")
    for path in map(Path, inputs):
        if _real(output) == _real(path) or (output.exists() and path.exists() and output.samefile(path)):
            raise ConfigurationError(
                f"the output {readable(output)} is the input {readable(path)}: results would lie among what they are "
                "made from; choose another folder, which may lie within the input"
            )


def require_sources_kept(images: Mapping[str, str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> None:
    """Refuse results that would be written into the folder of a source, as `mask.nii.gz` beside or over one.

    Args:
        images: name of a case -> its file or folder.
        output_dir: where `OUT/<case>` will lie.

    Raises:
        ConfigurationError: `OUT/<case>` holds, or is, what is read.
    """
    results = {_real(Path(output_dir) / name): name for name in images}
    for image in map(Path, images.values()):
        place = _real(image if image.is_dir() else image.parent)
        if place in results:
            raise ConfigurationError(
                f"the results of {results[place]} would be written to {readable(place)}, where an input lies: choose "
                "another output"
            )


def _real(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))  # unlike `Path.resolve` it bears loops of links


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _content(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def _is_sidecar(content: Any) -> bool:
    makers = content.get("GeneratedBy") if isinstance(content, dict) else None
    return isinstance(makers, list) and any(isinstance(m, dict) and m.get("Name") == MAKER for m in makers)
