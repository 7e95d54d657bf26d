"""A walk through folders, however deep they lie and wherever links in them lead."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["OnError", "Place", "walk"]

OnError = Callable[[OSError], object] | None
Place = tuple[Path, list[str], list[str]]
# Device and number of a folder, and of those that hold it.
_Ancestors = tuple[tuple[int, int], Any]


def walk(root: str | os.PathLike[str], on_error: OnError = None) -> Iterator[Place]:
    """Walk a folder as `os.walk` does, in sorted order, and without recursion, however deep its folders lie.

    Links to folders are followed after all else, and no folder is entered twice. A link to a folder that holds it is a
    loop, and counts as a folder that cannot be listed.

    Args:
        root: the folder.
        on_error: called with the `OSError` of a folder that cannot be listed.

    Yields:
        A folder, the names of its folders (remove a name to skip that folder), and the names of its other entries.
    """
    waiting: list[tuple[Path, _Ancestors | None]] = [(Path(root), None)]
    linked: deque[tuple[Path, _Ancestors | None]] = deque()
    entered: set[tuple[int, int]] = set()
    while waiting or linked:
        folder, ancestors = waiting.pop() if waiting else linked.popleft()
        links: set[str] = set()
        try:
            status = os.stat(folder)
            key = (status.st_dev, status.st_ino)
            if key in entered:
                if _is_among(key, ancestors):
                    raise OSError(errno.ELOOP, "a link to a folder that holds it", str(folder))
                continue
            folders, names = _listed(folder, links)
        except OSError as error:
            if on_error is not None:
                on_error(error)
            continue
        if status.st_ino:  # some file systems number nothing
            entered.add(key)
        yield folder, folders, names
        here = (key, ancestors)
        waiting += [(folder / name, here) for name in reversed(folders) if name not in links]
        linked += [(folder / name, here) for name in folders if name in links]


def _is_among(key: tuple[int, int], ancestors: _Ancestors | None) -> bool:
    while ancestors is not None:
        if ancestors[0] == key:
            return True
        ancestors = ancestors[1]
    return False


def _listed(folder: Path, links: set[str]) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and of its other entries, sorted; add those that are links to `links`."""
    folders: list[str] = []
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if _is_folder(entry) else names).append(entry.name)
            if entry.is_symlink():
                links.add(entry.name)
    return sorted(folders), sorted(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False
