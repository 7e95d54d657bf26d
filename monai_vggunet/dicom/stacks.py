"""The planes of one series -> stacks: planes that may form one volume, kept apart from those that cannot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from monai_vggunet.dicom.findings import Finding, FindingKind, note, warning
from monai_vggunet.dicom.headers.records import FrameRecord, ImageKind, Stack
from monai_vggunet.names import readable
from monai_vggunet.privacy import clean_text

__all__ = ["distinct_positions", "slice_normal", "split_into_stacks"]

# Direction cosines that differ by more belong to another stack (0.6 degrees); smaller differences are judged in mm by
# `geometry`, because what they do to a voxel depends on the size of the image.
ORIENTATION_TOLERANCE = 1e-2
# Pixel spacings that differ by more, relative to each other, belong to another reconstruction.
SPACING_RELATIVE_TOLERANCE = 1e-3
# Two planes nearer than this along the normal lie at one position: far below any slice spacing, above rounding.
SAME_POSITION_MM = 0.01

# Attributes whose values may alternate between planes of different positions without the planes being one volume.
_NEVER_MIXED = ("EchoNumbers", "TemporalPositionIdentifier", "DiffusionBValue")
# More attributes than this at once have never been needed (echo and magnitude/phase need two).
_MOST_ATTRIBUTES = 3
_DECIMALS = {"EchoTime": 3}
# Attributes whose values are text, which may be anything; of the others a number may be shown, however long.
_TEXTS = frozenset({"ImageType", "ComplexImageComponent", "StackID", "MetaboliteMapDescription"})
_NUMBERS = re.compile(r"[-+0-9.eE\\\\]+")
# ImageType of maximum, minimum and average projections.
_PROJECTIONS = frozenset({"PROJECTION IMAGE", "MIP", "MINIP", "MIN IP", "AVERAGE", "MAX_IP", "MIN_IP"})


def split_into_stacks(frames: Sequence[FrameRecord]) -> tuple[Stack, ...]:
    """Split a series' planes by kind, matrix size, pixel spacing, orientation, and then by echo, time or b-value.

    The second split happens only where planes share a position, and only if each part then has every position once:
    a partial or unexplained repetition stays together, for `geometry` to refuse or to drop as an identical copy.

    Args:
        frames: planes of one series, in any order.

    Returns:
        Stacks, the largest first.
    """
    stacks = []
    for group in _by_grid(frames):
        for part, label in _by_discriminators(group):
            name = ", ".join(filter(None, (_describe(part), label)))
            stacks.append(Stack(tuple(part), part[0].kind, name, _findings(part)))
    return tuple(sorted(stacks, key=lambda stack: (stack.kind != ImageKind.IMAGE, -len(stack.frames), stack.label)))


def slice_normal(frame: FrameRecord) -> np.ndarray | None:
    """Return the plane's unit normal in LPS (column direction x row direction), or None without a usable orientation.

    "Column direction" is the direction in which the column index grows, the first three values of
    ImageOrientationPatient.
    """
    if frame.orientation_lps is None:
        return None
    normal = np.cross(frame.orientation_lps[:3], frame.orientation_lps[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if np.isfinite(length) and length > 0 else None


def distinct_positions(frames: Sequence[FrameRecord]) -> int:
    """Return how many different places along the slice normal the planes have; 0 if a position is unknown."""
    normal = slice_normal(frames[0])
    if normal is None or any(frame.position_lps_mm is None for frame in frames):
        return 0
    along = np.sort([float(np.dot(frame.position_lps_mm or (), normal)) for frame in frames])
    return 1 + int(np.count_nonzero(np.diff(along) > SAME_POSITION_MM))


def _by_grid(frames: Iterable[FrameRecord]) -> list[list[FrameRecord]]:
    """Group planes that have one kind, matrix, spacing and orientation; each joins the first group that it fits."""
    groups: list[list[FrameRecord]] = []
    for frame in sorted(frames, key=lambda frame: (str(frame.path), frame.frame_index)):
        for group in groups:
            if _same_grid(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _same_grid(one: FrameRecord, other: FrameRecord) -> bool:
    def shape(frame: FrameRecord) -> tuple[object, ...]:
        known = [value is None for value in (frame.position_lps_mm, frame.orientation_lps, frame.pixel_spacing_mm)]
        return frame.kind, frame.rows, frame.columns, frame.samples_per_pixel, *known

    if shape(one) != shape(other):
        return False
    if one.pixel_spacing_mm == other.pixel_spacing_mm and one.orientation_lps == other.orientation_lps:
        return True  # nearly always, and far quicker than by tolerances
    if one.pixel_spacing_mm is not None and other.pixel_spacing_mm is not None:
        spacings = np.array([one.pixel_spacing_mm, other.pixel_spacing_mm])
        if np.ptp(spacings, axis=0).max() > SPACING_RELATIVE_TOLERANCE * np.abs(spacings).max():
            return False
    if one.orientation_lps is not None and other.orientation_lps is not None:
        cosines = np.array([one.orientation_lps, other.orientation_lps])
        return bool(np.ptp(cosines, axis=0).max() <= ORIENTATION_TOLERANCE)
    return True


def _by_discriminators(frames: list[FrameRecord]) -> list[tuple[list[FrameRecord], str]]:
    """Split planes that repeat their positions by the fewest attributes that explain the repetition."""
    known = [dict(frame.discriminators) for frame in frames]
    values = {keyword: [_rounded(keyword, texts[keyword]) for texts in known] for keyword in known[0]}
    varying = [keyword for keyword, found in values.items() if len(set(found)) > 1]
    positions = distinct_positions(frames)
    if positions == len(frames):
        mixed = [keyword for keyword in varying if keyword in _NEVER_MIXED]
        parts = _partition(frames, values, mixed)
        whole = len({len(part) for part in parts.values()}) == 1 and min(map(len, parts.values())) > 1
        return _labeled(parts, mixed) if whole else [(frames, "")]
    if positions > 1:
        for count in range(1, _MOST_ATTRIBUTES + 1):
            for keywords in combinations(varying, count):
                parts = _partition(frames, values, keywords)
                if all(len(part) == positions == distinct_positions(part) for part in parts.values()):
                    return _labeled(parts, keywords)
    return [(frames, "")]


def _partition(
    frames: list[FrameRecord], values: dict[str, list[str]], keywords: Sequence[str]
) -> dict[tuple[str, ...], list[FrameRecord]]:
    parts: dict[tuple[str, ...], list[FrameRecord]] = {}
    for index, frame in enumerate(frames):
        parts.setdefault(tuple(values[keyword][index] for keyword in keywords), []).append(frame)
    return parts


def _labeled(
    parts: dict[tuple[str, ...], list[FrameRecord]], keywords: Sequence[str]
) -> list[tuple[list[FrameRecord], str]]:
    return [
        (part, ", ".join(f"{keyword}={_shown(keyword, value)}" for keyword, value in zip(keywords, key)))
        for key, part in parts.items()
    ]


def _shown(keyword: str, value: str) -> str:
    """Return a value as a label may show it: a number as it is, free text without names."""
    is_number = keyword not in _TEXTS and _NUMBERS.fullmatch(value)
    return (value if is_number else clean_text(value)) or "absent"


def _rounded(keyword: str, text: str) -> str:
    """Return a measured attribute rounded, so that its last digits do not tear a volume apart; others as they are."""
    if keyword in _DECIMALS and text:
        try:
            return str(round(float(text), _DECIMALS[keyword]))
        except ValueError:
            return text
    return text


def _describe(frames: list[FrameRecord]) -> str:
    """Name a stack's size, kind and nearest anatomical plane."""
    first = frames[0]
    size = f"{len(frames)} x {first.columns} x {first.rows}"
    normal = slice_normal(first)
    plane = "no orientation" if normal is None else ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]
    oblique = normal is not None and float(np.abs(normal).max()) < 1 - ORIENTATION_TOLERANCE
    kind = "" if first.kind == ImageKind.IMAGE else f" {first.kind.value}"
    derived = ", derived" if first.kind == ImageKind.IMAGE and all(frame.is_derived for frame in frames) else ""
    return f"{size} {'oblique ' if oblique else ''}{plane}{kind}{derived}"


def _findings(frames: list[FrameRecord]) -> tuple[Finding, ...]:
    """Return findings about a stack's values, as its headers describe them."""
    findings: list[Finding] = []
    types = sorted({clean_text("\\".join(frame.image_type)) for frame in frames})
    if all(frame.is_derived for frame in frames):
        projected = _PROJECTIONS.intersection(frames[0].image_type)
        what = "projections of a volume" if projected else "computed from others, or exported as if they were"
        findings.append(note(FindingKind.DERIVED_IMAGES, f"derived images (ImageType {types[0]}): {what}"))
    if len(types) > 1:
        text = f"{len(types)} image types in one stack: {', '.join(kind or 'none' for kind in types)}"
        findings.append(note(FindingKind.MIXED_IMAGE_TYPES, text, count=len(types)))
    without = [frame for frame in frames if not frame.has_rescale]
    if 0 < len(without) < len(frames):
        text = (
            f"{len(without)} of {len(frames)} planes have no rescale, such as {readable(without[0].path.name)}, but "
            "the others have one: perhaps damaged headers; these planes are taken as stored"
        )
        instances = [frame.sop_instance_uid for frame in without]
        findings.append(warning(FindingKind.RESCALE_MISSING, text, instances, len(without)))
    return tuple(findings)
