"""Planes that one volume cannot hold -> the volumes that they are, by the attributes that tell these apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, combinations

import numpy as np

from monai_vggunet.dicom.along_normal import along_normal, count_places, has_even_steps
from monai_vggunet.dicom.headers.discriminators import DISCRIMINATORS
from monai_vggunet.dicom.headers.records import FrameRecord

__all__ = ["tell_apart", "varying_attributes"]

# Attributes whose values may alternate between planes of different positions without the planes being one volume.
_NEVER_MIXED = ("EchoNumbers", "TemporalPositionIdentifier", "DiffusionBValue")
# Attributes that differ between the slices of one volume, because a scanner takes them one after the other.
_TIMES = frozenset({"TriggerTime", "AcquisitionTime"})
# More attributes than this at once have never been needed (echo and magnitude/phase need two).
_MOST_ATTRIBUTES = 3
# Decimals of measured attributes: their last digits do not tear a volume apart.
_DECIMALS = {"EchoTime": 3, "SliceThickness": 2, "KVP": 1, "ReconstructionDiameter": 1}

# Values of some attributes, and the indices of the planes that share them.
_Parts = dict[tuple[str, ...], list[int]]
_Found = tuple[tuple[str, ...], _Parts]
_Volumes = list[tuple[list[FrameRecord], dict[str, str]]]


def tell_apart(frames: list[FrameRecord]) -> _Volumes:
    """Split planes of one grid into volumes, where attributes say that they are several.

    - Planes that repeat their positions are split by the fewest attributes with which no volume repeats one.
    - Planes of two reconstructions or passes, of which one's lie between the other's, are split too, whether the steps
      between all of them are even or not. Attributes that only say when a plane was taken do not split even steps.

    A repetition that no attribute explains, and a single odd plane, stay together, for `geometry` to refuse or to drop
    as an identical copy.

    Args:
        frames: planes of one origin, matrix, spacing and orientation.

    Returns:
        The planes of each volume, and the values (keyword -> value) by which it was told from the others.
    """
    along = along_normal(frames)
    varying = varying_attributes(frames)
    whole: _Volumes = [(frames, {})]
    if along is None or not varying:
        return whole
    places = count_places(along)
    if places == 1:
        return whole
    if places == len(frames):
        found = _one_behind_the_other(along, varying)
    else:
        found = _at_repeated_places(along, varying, places)
    if found is None:
        return whole
    keywords, parts = found
    return [([frames[index] for index in part], dict(zip(keywords, key))) for key, part in parts.items()]


def varying_attributes(frames: Sequence[FrameRecord]) -> dict[str, list[str]]:
    """Return every attribute that differs between the planes: keyword -> the value of each plane, empty where absent.

    They stand in the order in which `DISCRIMINATORS` has them.
    """
    times = Counter(chain.from_iterable(frame.discriminators for frame in frames))
    candidates = {keyword for (keyword, _), count in times.items() if count < len(frames)}
    known = [dict(frame.discriminators) for frame in frames] if candidates else []
    values = {
        keyword: [_rounded(keyword, texts.get(keyword, "")) for texts in known]
        for keyword in DISCRIMINATORS
        if keyword in candidates
    }
    return {keyword: texts for keyword, texts in values.items() if len(set(texts)) > 1}


def _one_behind_the_other(along: np.ndarray, varying: dict[str, list[str]]) -> _Found | None:
    """Find what tells apart planes that all have a place of their own; None if they may be one volume."""
    mixed = [keyword for keyword in _NEVER_MIXED if keyword in varying]
    parts = _partition(varying, mixed)
    sizes = {len(part) for part in parts.values()}
    if mixed and len(sizes) == 1 and sizes != {1}:
        return tuple(mixed), parts

    def interleave(parts: _Parts) -> bool:
        return _interleave([along[part] for part in parts.values()])

    def interleave_evenly(parts: _Parts) -> bool:
        return all(len(part) > 1 and has_even_steps(along[part]) for part in parts.values()) and interleave(parts)

    most, settings = len(along) // 2, _without_times(varying)
    if has_even_steps(along):
        return _fewest(settings, most, interleave_evenly)
    return _fewest(varying, most, interleave_evenly) or _fewest(settings, most, interleave)


def _at_repeated_places(along: np.ndarray, varying: dict[str, list[str]], places: int) -> _Found | None:
    """Find what explains that planes repeat their positions: with it, no volume repeats one."""

    def complete(parts: _Parts) -> bool:
        return all(len(part) == places == count_places(along[part]) for part in parts.values())

    def without_repetition(parts: _Parts) -> bool:
        return all(len(part) > 1 and len(part) == count_places(along[part]) for part in parts.values())

    most, left_over = divmod(len(along), places)
    found = None if left_over else _fewest(varying, most, complete)
    return found or _fewest(_without_times(varying), len(along) // 2, without_repetition)


def _fewest(varying: dict[str, list[str]], most_parts: int, fit: Callable[[_Parts], bool]) -> _Found | None:
    """Return the fewest attributes that split the planes into parts that fit, at most so many."""
    usable: dict[tuple[int, ...], str] = {}
    for keyword, values in varying.items():
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        if len(numbers) <= most_parts:  # of attributes that split alike, the first is enough
            usable.setdefault(tuple(numbers[value] for value in values), keyword)
    for count in range(1, _MOST_ATTRIBUTES + 1):
        for keywords in combinations(usable.values(), count):
            parts = _partition(varying, keywords)
            if len(parts) <= most_parts and fit(parts):
                return keywords, parts
    return None


def _partition(varying: dict[str, list[str]], keywords: Sequence[str]) -> _Parts:
    parts: _Parts = {}
    for index, key in enumerate(zip(*(varying[keyword] for keyword in keywords))):
        parts.setdefault(key, []).append(index)
    return parts


def _interleave(parts: Sequence[np.ndarray]) -> bool:
    """Whether planes of one part lie between those of another."""
    extents = sorted((float(part.min()), float(part.max())) for part in parts)
    ends = np.maximum.accumulate([end for _, end in extents])
    return any(begin < end for (begin, _), end in zip(extents[1:], ends))


def _without_times(varying: dict[str, list[str]]) -> dict[str, list[str]]:
    return {keyword: values for keyword, values in varying.items() if keyword not in _TIMES}


def _rounded(keyword: str, text: str) -> str:
    """Return a measured attribute rounded; others, and what is no number, as they are."""
    if keyword in _DECIMALS and text:
        with suppress(ValueError):
            return f"{round(float(text), _DECIMALS[keyword]):g}"
    return text
