"""The code of a placed app: written anew at each start, for reading alone, and away from all that requests write."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import monai_vggunet
from monai_vggunet.errors import ConfigurationError, OutputWriteError

__all__ = ["CODE", "PACKAGE", "READ_ONLY", "TEMPORARY", "place_code", "require_apart"]

CODE = "code"  # folder of an app with its `main.py`
TEMPORARY = "temporary"  # folder of an app for what a request needs while it is answered; emptied at each start
READ_ONLY, RUN_ONLY = 0o444, 0o555
PACKAGE = Path(monai_vggunet.__file__).resolve().parent


def place_code(
    folder: str | os.PathLike[str],
    files: Mapping[str, str],
    executable: bool = False,
    folders: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
) -> None:
    """Write a folder of code that nobody may write to; whatever was there before is removed, compiled code too.

    Args:
        folder: to be written.
        files: their texts by name.
        executable: whether they are programs.
        folders: empty ones in it.
        links: where symbolic links lead, by name.

    Raises:
        OutputWriteError: the folder cannot be written.
    """
    place = Path(folder)
    try:
        _remove(place)
        place.mkdir(parents=True)
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
            (place / name).chmod(RUN_ONLY if executable else READ_ONLY)
        for name in folders:
            (place / name).mkdir()
            (place / name).chmod(RUN_ONLY)
        for name, target in (links or {}).items():
            (place / name).symlink_to(target)
        place.chmod(RUN_ONLY)
    except OSError as error:
        raise OutputWriteError(f"the app's code cannot be written to {place}: {error.strerror or error}") from error


def require_apart(app: str | os.PathLike[str], written: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse folders that requests write to where code lies in one of them: the app's, or this package's.

    Args:
        app: the app's folder.
        written: folders of studies, copies and sessions.

    Raises:
        ConfigurationError: it is so.
    """
    home = Path(app).resolve()
    own = home / "cache"  # the app's own copies
    for folder in written:
        place = Path(folder).resolve()
        if PACKAGE.is_relative_to(place):
            raise ConfigurationError(
                f"requests write to {place}, where the program itself lies ({PACKAGE}): name another folder"
            )
        if home.is_relative_to(place) or (place.is_relative_to(home) and not place.is_relative_to(own)):
            raise ConfigurationError(
                f"requests write to {place}, and {home} is the app's folder with its code: one must not lie in the "
                "other; name another folder with --app"
            )


def _remove(place: Path) -> None:
    """Remove a folder whose own folders may not be written to; of a link, the link."""
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        for root, folders, _ in os.walk(place):
            for name in ("", *folders):
                entry = Path(root) / name
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode | stat.S_IRWXU)
        shutil.rmtree(place)
