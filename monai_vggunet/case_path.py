"""A case whose files lie in several folders, or beside those of other cases, as one path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = ["CasePath", "case_path_of", "is_folder_or_case", "is_there"]

_MARK = "?in="  # begins the last part of such a path
_BETWEEN = "|"  # stands between the folders of a part


@dataclass(frozen=True)
class CasePath:
    """Where the files of such a case lie.

    Its text is `folder/?in=DIR000&in=DIR001&study=1.2.3`: a path that the reader takes like that of a folder, and that
    lists of cases can hold.

    Attributes:
        folder: the folder that holds all others.
        parts: those in which files of the case lie themselves, relative to it; `.` is the folder itself.
        study_uid: StudyInstanceUID of the case's files, where files of other studies lie beside them; else empty.
    """

    folder: Path
    parts: tuple[str, ...]
    study_uid: str = ""

    def __str__(self) -> str:
        said = [f"in={_BETWEEN.join(map(_quoted, part.split(os.sep)))}" for part in self.parts]
        study = [f"study={_quoted(self.study_uid)}"] if self.study_uid else []
        return str(self.folder / ("?" + "&".join([*said, *study])))

    @property
    def folders(self) -> list[Path]:
        """The folders in which files of the case lie themselves."""
        return [self.folder / part for part in self.parts]


def case_path_of(path: str | os.PathLike[str]) -> CasePath | None:
    """Return the case that a text of this form means; None if it is an ordinary path, or would lead out of its folder.

    Example:
        >>> case_path_of("/data/?in=DIR000&in=DIR001").parts
        ('DIR000', 'DIR001')
        >>> case_path_of("/data/study") is None
        True
    """
    folder, name = os.path.split(os.fspath(path))
    if not name.startswith(_MARK) or os.path.lexists(path):
        return None
    said = [entry.partition("=")[::2] for entry in name.removeprefix("?").split("&")]
    parts = [os.sep.join(_unquoted(one) for one in value.split(_BETWEEN)) for key, value in said if key == "in"]
    if any(os.path.isabs(part) or os.pardir in part.split(os.sep) for part in parts):
        return None
    return CasePath(Path(folder), tuple(parts), next((_unquoted(value) for key, value in said if key == "study"), ""))


def is_folder_or_case(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a folder, or means a case whose folders are there."""
    case = case_path_of(path)
    return os.path.isdir(path) if case is None else all(folder.is_dir() for folder in case.folders)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a file or a folder, or means a case whose folders are there."""
    return os.path.exists(path) or is_folder_or_case(path)


def _quoted(name: str) -> str:
    return quote_from_bytes(os.fsencode(name))


def _unquoted(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
