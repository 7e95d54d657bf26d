"""The server's own temporary folder, and in it one for each request, which goes with its answer.

MONAI Label picks names for uploads and opens them later: in a folder that all may write, another could be there first.
It also leaves them behind wherever a request is refused.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["is_own_file", "remove_own_folder", "request_folder", "use_own_folder"]

USER_ALONE = 0o700

_folder: Path | None = None
# Of the request that is answered, in threads that work for it too; made when it is first needed.
_requests: ContextVar[list[Path] | None] = ContextVar("requests", default=None)


def use_own_folder(place: Path | None = None) -> Path:
    """Let this process make its temporary files, uploads among them, in a folder that its user alone may enter.

    It is removed when the process ends. What a server that was killed has left in it goes when the next one starts.

    Args:
        place: the folder, which no other process uses; None for a new one in the system's.
    """
    global _folder
    if _folder is None:
        if place is None:
            _folder = Path(tempfile.mkdtemp(prefix="monai-label-"))
        else:
            _remove(place)
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(USER_ALONE)
            _folder = place
        atexit.register(remove_own_folder)
        tempfile.gettempdir = _current_folder
    return _folder


def remove_own_folder() -> None:
    """Remove the folder at the end; nothing happens where there is none."""
    if _folder is not None:
        _remove(_folder)


@contextmanager
def request_folder() -> Iterator[None]:
    """Let what is done within make its temporary files in a folder of its own, which is then removed with all in it."""
    made: list[Path] = []
    before = _requests.set(made)
    try:
        yield
    finally:
        _requests.reset(before)
        for folder in made:
            _remove(folder)


def is_own_file(path: str | os.PathLike[str]) -> bool:
    """Whether the server itself put a file into the folder of the request that is answered."""
    place = Path(path)
    return place.parent in (_requests.get() or []) and place.is_file() and not place.is_symlink()


def _current_folder() -> str:
    """Return where temporary files are made: in the request's folder, outside of requests in the server's."""
    assert _folder is not None
    made = _requests.get()
    if made is None:
        return str(_folder)
    if not made:
        made.append(Path(tempfile.mkdtemp(prefix="request-", dir=_folder)))
    return str(made[0])


def _remove(place: Path) -> None:
    """Remove a folder, of a link the link."""
    if place.is_symlink() or place.is_file():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
