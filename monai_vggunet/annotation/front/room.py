"""Room on the disks for what clients send: uploads together take no more than is free, and something stays free."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from monai_vggunet.errors import RequestRefusedError

__all__ = ["FULL", "NO_ROOM", "Arrival", "UploadRoom", "full_disk_as_refusal"]

NO_ROOM = 507  # RFC 4918 11.5
KEPT_FREE_BYTES = 1 << 28  # for the studies' own copies, masks, logs, and the system
# On its way a file lies three times in the temporary folder: as it came, as MONAI Label reads it, and as it keeps it
# for its task. Then it is copied to where it stays.
TEMPORARY_COPIES, KEPT_COPIES = 3, 1
FULL = (errno.ENOSPC, errno.EDQUOT)
MEGABYTE = 1 << 20


@dataclass(eq=False)  # two may have the same numbers
class Arrival:
    """One upload on its way.

    Attributes:
        expected_bytes: of its body, as far as is known.
        arrived_bytes: of its body, which lie in the temporary folder.
    """

    expected_bytes: int = 0
    arrived_bytes: int = 0


class UploadRoom:
    """The disks that uploads fill.

    Args:
        temporary: folder they arrive in.
        kept: folders they end in; what does not exist yet will lie where its parent does.
        free: returns the free bytes of a folder's disk.
        kept_free: bytes that stay free.
    """

    def __init__(
        self,
        temporary: Path,
        kept: Iterable[Path],
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        kept_free: int = KEPT_FREE_BYTES,
    ) -> None:
        self._free, self._kept_free = free, kept_free
        self._arrivals: list[Arrival] = []
        there = _existing(temporary)
        self._temporary = os.stat(there).st_dev
        self._folders = {self._temporary: there}
        self._copies = Counter({self._temporary: TEMPORARY_COPIES})
        targets = {os.stat(place).st_dev: place for place in map(_existing, kept)}
        for disk, place in targets.items():
            self._folders.setdefault(disk, place)
            self._copies[disk] += KEPT_COPIES

    @contextmanager
    def arrival(self) -> Iterator[Arrival]:
        """Give a request a place among the uploads on their way, until it is answered."""
        arrival = Arrival()
        self._arrivals.append(arrival)
        try:
            yield arrival
        finally:
            self._arrivals.remove(arrival)

    def require(self, arrival: Arrival) -> None:
        """Refuse an upload that, with the others on their way, would fill a disk.

        Raises:
            RequestRefusedError: 507.
        """
        arrival.expected_bytes = max(arrival.expected_bytes, arrival.arrived_bytes)
        for disk, copies in self._copies.items():
            outstanding = sum(copies * one.expected_bytes for one in self._arrivals)
            if disk == self._temporary:
                outstanding -= sum(one.arrived_bytes for one in self._arrivals)
            if self._free(self._folders[disk]) < outstanding + self._kept_free:
                arrival.expected_bytes = arrival.arrived_bytes = 0  # it takes none of the others' room
                raise _no_room(
                    f"what is on its way needs {outstanding / MEGABYTE:,.0f} MB, and {self._kept_free / MEGABYTE:,.0f} "
                    "MB must stay free"
                )


@contextmanager
def full_disk_as_refusal() -> Iterator[None]:
    """Turn the error of a full disk into a refusal.

    Raises:
        RequestRefusedError: 507.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise _no_room(os.strerror(error.errno)) from error
        raise


def _no_room(why: str) -> RequestRefusedError:
    text = (
        f"the server's disk has no room for this upload ({why}): ask whoever runs it to free some, then send it again"
    )
    return RequestRefusedError(text, NO_ROOM)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    place = folder.absolute()
    return next(one for one in (place, *place.parents) if one.is_dir())
