"""One process at a time, by a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_vggunet.errors import ConfigurationError

__all__ = ["held_alone"]


@contextmanager
def held_alone(path: str | os.PathLike[str], refusal: str) -> Iterator[None]:
    """Hold the lock of a file, which is made when missing.

    Args:
        path: of the file.
        refusal: what to say where another process holds it.

    Raises:
        ConfigurationError: another process holds it.
    """
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(refusal) from None
        yield
