"""Chooses the files of a series to damage, and changes an element in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dicom_fuzz.phantom_series import Files
from dicom_fuzz.raw_elements import RawElement, RawFile

__all__ = ["Rng", "edit", "some_files"]

Rng = np.random.Generator


def some_files(files: Files, rng: Rng) -> list[str]:
    """Choose mostly one file, otherwise several or all."""
    names = [name for name, data in files.items() if data]
    share = rng.random()
    count = 1 if share < 0.6 else len(names) if share > 0.8 else int(rng.integers(1, len(names) + 1))
    return sorted(rng.choice(names, count, replace=False).tolist())


def edit(files: Files, rng: Rng, keyword: str, change: Callable[[RawFile, RawElement], RawFile]) -> list[str]:
    """Change an element in some files; in a multi-frame file in one frame or in all."""
    names = some_files(files, rng)
    everywhere = rng.random() < 0.5
    for name in names:
        file = RawFile.from_bytes(files[name] or b"")
        found = file.find(keyword)
        if not found:
            raise LookupError(keyword)
        chosen = found if everywhere else [found[int(rng.integers(len(found)))]]
        for element in reversed(chosen):  # from the end, so that the offsets before it stay true
            file = change(file, element)
        files[name] = file.to_bytes()
    return names
