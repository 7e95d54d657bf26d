"""What lies in folders beside regular files: each of these once kept a reader waiting for ever, or still would."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

__all__ = ["IRREGULAR_FILES", "make_irregular"]


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket has at most 107 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name(f".{path.name}-target"))
    path.symlink_to(f".{path.name}-target")


IRREGULAR_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": lambda path: os.mkfifo(path),
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "link_to_pipe": _link_to_pipe,
    "dangling_link": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
    "system": lambda path: path.symlink_to("/proc/kmsg"),
}


def make_irregular(folder: Path, ending: str) -> None:
    """Put one of each kind into a folder, called after it."""
    for name, make in IRREGULAR_FILES.items():
        make(folder / f"{name}{ending}")
