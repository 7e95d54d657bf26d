"""Damage to the elements that place a plane in space: positions, orientations, pixel spacings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dicom_fuzz.editing import Rng, edit
from dicom_fuzz.phantom_series import Files
from dicom_fuzz.raw_elements import RawElement, RawFile

__all__ = ["GEOMETRY_DAMAGE"]


def _vectors(files: Files, rng: Rng, keyword: str, move: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Change a geometry element's numbers."""

    def change(file: RawFile, element: RawElement) -> RawFile:
        numbers = np.array([float(part) for part in file.body[element.value_start : element.end].split(b"\\")])
        return file.with_value(element, "\\".join(f"{value:.9g}" for value in move(numbers)).encode())

    return edit(files, rng, keyword, change)


def _position(files: Files, rng: Rng) -> str:
    by_mm = float(rng.choice([0.004, 0.02, 0.05, 0.09, 0.12, 0.3, 1.25, 2.5, 5.0, 1e4, 1e30]))
    shift = by_mm * np.eye(3)[int(rng.integers(3))] * rng.choice([-1, 1])
    names = _vectors(files, rng, "ImagePositionPatient", lambda position: position + shift)
    return f"{shift.tolist()} mm added in {names}"


def _positions_exchanged(files: Files, rng: Rng) -> str:
    names = sorted(rng.choice(list(files), min(2, len(files)), replace=False).tolist())
    parts = [RawFile.from_bytes(files[name] or b"") for name in names]
    found = [parts[0].find("ImagePositionPatient")[0], parts[-1].find("ImagePositionPatient")[-1]]
    values = [part.body[e.value_start : e.end] for part, e in zip((parts[0], parts[-1]), found)]
    both = rng.random() < 0.5
    if len(parts) == 1:  # two frames of one file; the later one first, so that the offsets stay true
        file = parts[0].with_value(found[1], values[0])
        files[names[0]] = (file.with_value(found[0], values[1]) if both else file).to_bytes()
    else:
        files[names[1]] = parts[1].with_value(found[1], values[0]).to_bytes()
        if both:
            files[names[0]] = parts[0].with_value(found[0], values[1]).to_bytes()
    return f"{'exchanged' if both else 'repeated'} between {names}"


def _orientation(files: Files, rng: Rng) -> str:
    angle = float(rng.choice([2e-4, 1e-3, 2e-3, 5e-3, 9e-3, 1.1e-2, 0.1]))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moves: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "zero": lambda cosines: cosines * 0,
        "longer": lambda cosines: cosines * (1 + angle),
        "left-handed": lambda cosines: cosines * [-1, -1, -1, 1, 1, 1],
        "turned": lambda cosines: (cosines.reshape(2, 3) @ turn).ravel(),
        "skewed": lambda cosines: np.r_[cosines[:3], cosines[3:] + angle * cosines[:3]],
        "exchanged": lambda cosines: np.r_[cosines[3:], cosines[:3]],
        "parallel": lambda cosines: np.r_[cosines[:3], cosines[:3]],
    }
    what = str(rng.choice(list(moves)))
    return f"{what} ({angle}) in {_vectors(files, rng, 'ImageOrientationPatient', moves[what])}"


def _spacing(files: Files, rng: Rng) -> str:
    factors = [[0, 1], [0, 0], [-1, 1], [-1, -1], [1.0005, 1], [1.01, 1.01], [1e-9, 1], [1e9, 1], [1e200, 1e200]]
    factor = None if rng.random() < 0.2 else np.array(factors[int(rng.integers(len(factors)))])
    names = _vectors(files, rng, "PixelSpacing", lambda mm: mm[::-1] if factor is None else mm * factor)
    return f"{'exchanged' if factor is None else factor.tolist()} in {names}"


GEOMETRY_DAMAGE: dict[str, Callable[[Files, Rng], str]] = {
    "position": _position,
    "positions exchanged": _positions_exchanged,
    "orientation": _orientation,
    "pixel spacing": _spacing,
}
