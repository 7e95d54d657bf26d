"""Where results lie, how they are recognized in a folder of studies, and checks that none overwrites its source."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from monai_vggunet.case_path import case_path_of
from monai_vggunet.case_record import is_record
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.folder_walk import OnError, Place, walk
from monai_vggunet.json_files import read_json
from monai_vggunet.names import readable

__all__ = [
    "CONFIGS",
    "DATALIST",
    "DISAGREEMENT",
    "EARLIER",
    "HISTORY",
    "INDEX",
    "INFERENCE_CONFIG",
    "LABEL_HISTORY",
    "LAST",
    "MAKER",
    "MASK",
    "MASK_PER_CLASS",
    "METADATA",
    "METRICS",
    "MODEL",
    "MODELS",
    "MODEL_SPEC",
    "NAMES",
    "PAGES",
    "PREVIOUS",
    "RECORD",
    "REPORT",
    "RETRAININGS",
    "RTSTRUCT",
    "SEG",
    "SHEET",
    "SIDECAR",
    "TENSORBOARD",
    "TRAINING",
    "TRAIN_CONFIG",
    "called_as_results",
    "files_of",
    "holds_results_alone",
    "lies_within",
    "output_below",
    "require_output_apart",
    "require_path_kept",
    "require_sources_kept",
    "results_among",
    "spec_beside",
    "walk_inputs",
]

# Of a case, in a folder of its own.
MASK = "mask.nii.gz"
SIDECAR = "mask.json"  # names of the mask's numbers
MASK_PER_CLASS = "mask_class_{number}_{name}.nii.gz"
DISAGREEMENT = "disagreement.nii.gz"  # of test-time views
SEG = "seg.dcm"
RTSTRUCT = "rtstruct.dcm"
RECORD = "record.json"
REPORT = "report.html"
SHEET = "sheet.png"
EARLIER = "_of_earlier_run"  # ends the stem of a result that this run did not make
# Of all cases, beside their folders.
INDEX = "index.html"
PAGES = "reports"  # the pages of all cases, under their pseudonyms
NAMES = "names.json"  # what pseudonyms stand for
# Of a training run.
MODEL = "model.pt"
MODEL_SPEC = "model.json"  # what belongs to it, see `spec_beside`
LAST = "last.pt"  # the whole state of a run, to resume from
DATALIST = "datalist.json"
HISTORY = "history.json"  # the figures of each epoch
PREVIOUS = "previous"  # files of former runs
TENSORBOARD = "tensorboard"
METRICS = "metrics.json"  # of evaluated cases
# Of a model that annotators train further.
RETRAININGS = "retrainings.json"
LABEL_HISTORY = "label_history"  # every version of each label, listed in a file named as `HISTORY`
# Of a bundle.
MODELS = "models"
TRAINING = "training"  # where MONAI Label's runs lie
CONFIGS = "configs"
TRAIN_CONFIG, INFERENCE_CONFIG, METADATA = "train.json", "inference.json", "metadata.json"

MAKER = "monai-vggunet"  # our name in the sidecar of a mask

_REWRITTEN = "::"  # MONAI's `ID_SEP_KEY`, into which its parser turns `#`, in values too
_NAMES_ON_THE_WAY = ".names-*.json"  # what `atomic_path` calls it until it is complete
_RESULTS = ("mask*.nii.gz", SIDECAR, DISAGREEMENT, SEG, RTSTRUCT, RECORD, REPORT, SHEET, f"*{EARLIER}.*")
_PAGE_ENDINGS = (".html", ".png")


def spec_beside(model: str | os.PathLike[str]) -> Path:
    """Return where the description of a model lies: `model.json` beside `model.pt`."""
    return Path(model).with_suffix(".json")


def walk_inputs(root: str | os.PathLike[str], on_error: OnError = None) -> Iterator[Place]:
    """Walk a folder of studies as `walk` does, and skip the files that runs of ours left in it."""
    for folder, folders, names in walk(root, on_error):
        results = results_among(folder, names, folders)
        folders[:] = [name for name in folders if name not in results]
        yield folder, folders, [name for name in names if name not in results] if results else names


def files_of(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the files of an input without our results among them: a file, those below a folder, those of a case.

    A folder that cannot be listed has none. Beside the files of a case (`CasePath`) some of other studies may lie.
    """
    case = case_path_of(path)
    if case is None and os.path.isfile(path):
        yield Path(path)
    elif case is None:
        for folder, _, names in walk_inputs(path):
            yield from (folder / name for name in names)
    else:
        for part in case.folders:
            for folder, _, names in islice(walk_inputs(part), 1):
                yield from (folder / name for name in names)


def results_among(folder: Path, names: Collection[str], folders: Iterable[str] = ()) -> set[str]:
    """Return the entries of a folder that a run of ours wrote; a record or a mask's sidecar shows that there was one.

    Args:
        folder: where they lie.
        names: of its files.
        folders: names of its folders: beside those with records lie `index.html` and the folder of pages.
    """
    results: set[str] = set()
    if (RECORD in names and is_record(_content(folder / RECORD))) or (
        SIDECAR in names and _is_sidecar(_content(folder / SIDECAR))
    ):
        results = called_as_results(names)
    if INDEX in names and any(is_record(_content(folder / name / RECORD)) for name in folders):
        results.add(INDEX)
        if PAGES in folders and _holds_pages_alone(folder / PAGES):
            results.add(PAGES)
    # The list of names is there from the first moment of a run, before any record.
    return results | {name for name in names if _is_list_of_names(folder, name)}


def called_as_results(names: Iterable[str]) -> set[str]:
    """Return which file names are those of results, for a run that was killed before it wrote a record."""
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in _RESULTS)}


def _is_list_of_names(folder: Path, name: str) -> bool:
    """Whether a file is the list of what pseudonyms stand for, or the temporary file that becomes it."""
    if fnmatchcase(name, _NAMES_ON_THE_WAY):
        return True
    content = _content(folder / name) if name == NAMES else None
    return isinstance(content, Mapping) and {"salt", "names"} <= content.keys()


def _holds_pages_alone(folder: Path) -> bool:
    try:
        return all(entry.suffix in _PAGE_ENDINGS and entry.is_file() for entry in folder.iterdir())
    except OSError:  # the walk goes on, and reports that it cannot be listed
        return False


def holds_results_alone(folder: Path) -> bool:
    """Whether a folder, with all below it, holds results of our runs and no other visible file."""
    found = False
    for place, folders, names in walk_inputs(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(not name.startswith(".") for name in names):
            return False
        found = found or is_record(_content(place / RECORD)) or _is_sidecar(_content(place / SIDECAR))
    return found


def output_below(folder: Path, output_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return where an output really lies, which a walk of `folder` may meet, through links too.

    None if there is no output yet, or if the folder lies within it: then all that the walk meets is input.
    """
    if output_dir is None or not os.path.isdir(output_dir):
        return None
    output = _real(output_dir)
    return None if _real(folder).is_relative_to(output) else output


def lies_within(folder: Path, whole: Path) -> bool:
    """Whether a folder really lies within another, or is it.

    Args:
        folder: the path of one, which may go through links.
        whole: the real path of another, such as `output_below` gives.
    """
    return _real(folder).is_relative_to(whole)


def require_path_kept(path: str | os.PathLike[str]) -> None:
    """Refuse a path that MONAI's config language changes, or has changed: nobody would look for files there.

    Raises:
        ConfigurationError: it holds `#`, or `::`, which the language writes for it.
    """
    if "#" in str(path) or _REWRITTEN in str(path):
        raise ConfigurationError(
            f"the path {readable(str(path).replace(_REWRITTEN, '#'))} holds a '#', which MONAI's config language "
            f"rewrites to '{_REWRITTEN}': choose a path without either"
        )


def require_output_apart(inputs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> None:
    """Refuse an output that is an input, directly or through links, or that is not a folder.

    Args:
        inputs: folders and files that are read.
        output_dir: where results go; it need not exist, and may lie within an input.

    Raises:
        ConfigurationError: results would lie among their sources, or replace them.
    """
    output = Path(output_dir)
    if output.exists() and not output.is_dir():
        raise ConfigurationError(f"the output {readable(output)} is a file; expected a folder, which may be new")
    for path in map(Path, inputs):
        if _real(output) == _real(path) or (output.exists() and path.exists() and output.samefile(path)):
            raise ConfigurationError(
                f"the output {readable(output)} is the input {readable(path)}: results would lie among their "
                "sources; choose another folder, which may lie within the input"
            )


def require_sources_kept(images: Mapping[str, str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> None:
    """Refuse results that would be written into the folder of a source, beside it or over it.

    Args:
        images: name of a case -> its file or folder.
        output_dir: where `OUT/<case>` will lie.

    Raises:
        ConfigurationError: `OUT/<case>` is a source, or holds one.
    """
    results = {_real(Path(output_dir) / name): name for name in images}
    for image in map(Path, images.values()):
        case = case_path_of(image)
        for place in map(_real, case.folders if case else [image if image.is_dir() else image.parent]):
            if place in results:
                raise ConfigurationError(
                    f"the results of {results[place]} would be written to {readable(place)}, where an input lies: "
                    "choose another output"
                )


def _real(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))  # unlike `Path.resolve`, it tolerates loops of links


def _content(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return None


def _is_sidecar(content: Any) -> bool:
    makers = content.get("GeneratedBy") if isinstance(content, dict) else None
    return isinstance(makers, list) and any(isinstance(m, dict) and m.get("Name") == MAKER for m in makers)
