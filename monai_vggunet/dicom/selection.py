"""Which stack of which series is meant: the one that is asked for, or the obvious one, never a guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_vggunet.dicom.along_normal import distinct_positions, slice_normal
from monai_vggunet.dicom.findings import Finding, FindingKind, note, warning
from monai_vggunet.dicom.headers.records import ImageKind, Series, SkippedFile, Stack
from monai_vggunet.dicom.stacks import ORIENTATION_TOLERANCE
from monai_vggunet.errors import DicomReadError, SeriesSelectionError
from monai_vggunet.names import counted, listed, listed_by_reason, readable
from monai_vggunet.privacy import clean_text, clean_uid
from monai_vggunet.short_uid import short_uid

__all__ = ["Selection", "describe_series", "select"]

# An original volume with fewer voxels than this share of a derived one beside it is not the obvious choice.
_COMPARABLE_SIZE = 0.5
# Nobody reads a longer listing; the rest is counted.
_MOST_LISTED = 40


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen stack of a series, and what was left out beside it."""

    series: Series
    stack: Stack
    findings: tuple[Finding, ...]


def select(
    all_series: Sequence[Series],
    skipped: Sequence[SkippedFile],
    series_uid: str | None,
    description: str | None,
    modality: str | None,
    stack: int | None,
) -> Selection:
    """Choose one stack; see `DicomIndex.choose_series`."""
    if not any(series.stacks for series in all_series):
        raise DicomReadError(_nothing_found(all_series, skipped), FindingKind.NO_IMAGE)
    fitting = _fitting(all_series, series_uid, description, modality)
    asked = _asked(series_uid, description, modality, stack)
    if not fitting:
        raise SeriesSelectionError(
            f"no image series fits {asked}; found:\n{describe_series(all_series)}", FindingKind.NOTHING_FITS
        )
    candidates = [
        (series, part, number)
        for series in fitting
        for number, part in enumerate(series.stacks)
        if stack in (None, number) and _is_of(modality, part)
    ]
    chosen = _only(candidates)
    _refuse_several_patients([chosen[0]] if chosen else [series for series, _, _ in candidates])
    if chosen is None:
        remedy = (
            "choose by series_uid (--series), description (--description), modality (--modality) or stack (--stack)"
        )
        volumes = describe_series(fitting)
        if not candidates:
            raise SeriesSelectionError(f"no volume fits {asked}; {remedy}:\n{volumes}", FindingKind.NOTHING_FITS)
        reason = f"several image volumes{' fit ' + asked if asked else ''}, none is the obvious one"
        raise SeriesSelectionError(f"{reason}; {remedy}:\n{volumes}", FindingKind.SEVERAL_VOLUMES)
    series, part, _ = chosen
    _refuse_damaged(series, skipped)
    return Selection(series, part, _left_out(series, part, all_series, skipped))


def describe_series(all_series: Sequence[Series]) -> str:
    """List series and their stacks, one line each, without anything that names a patient.

    A series stands under its number, by which it can be chosen; where it shares its number, or has none, under its UID.
    """
    times = Counter(series.series_number for series in all_series)
    lines = []
    for series in all_series:
        number = series.series_number if times[series.series_number] == 1 else ""
        name = f"series {number}" if number else clean_uid(series.series_uid) or "without UID"
        modality = clean_text(series.modality) or "no modality"
        lines.append(f"  {modality} {name} ({clean_text(series.description) or 'no description'}), {series.kind}")
        lines += [f"    stack {number}: {stack.label}" for number, stack in enumerate(series.stacks)]
    if len(lines) > _MOST_LISTED:
        lines = [*lines[:_MOST_LISTED], f"  ... and {len(lines) - _MOST_LISTED} more lines"]
    return "\n".join(lines)


def _asked(series_uid: str | None, description: str | None, modality: str | None, stack: int | None) -> str:
    """Return what was asked for; a description that somebody typed is free text too."""
    asked = {
        "UID or number": series_uid and short_uid(series_uid),
        "description": description and clean_text(description),
        "modality": modality and clean_text(modality),
        "stack": stack,
    }
    return ", ".join(f"{name} {value!r}" for name, value in asked.items() if value is not None)


def _fitting(
    all_series: Sequence[Series], series_uid: str | None, description: str | None, modality: str | None
) -> list[Series]:
    """Return the image series that fit what is asked; an exact description wins over a part of one."""
    fitting = [
        series
        for series in all_series
        if series.stacks
        and (series_uid is None or series_uid in (series.series_uid, series.series_number))
        and any(_is_of(modality, stack) for stack in series.stacks)
    ]
    if description is None:
        return fitting
    wanted = description.strip().casefold()
    exact = [series for series in fitting if series.description.casefold() == wanted]
    return exact or [series for series in fitting if wanted in series.description.casefold()]


def _is_of(modality: str | None, stack: Stack) -> bool:
    return modality is None or stack.origin.modality.upper() == modality.upper()


def _only(candidates: list[tuple[Series, Stack, int]]) -> tuple[Series, Stack, int] | None:
    """Return the one candidate that matters: a volume beside single images, else one image, else one of any kind.

    Color images (maps computed from the volume) matter only where there are no others: they cannot be read.
    """
    images = [candidate for candidate in candidates if candidate[1].kind == ImageKind.IMAGE]
    images = [candidate for candidate in images if not candidate[1].frames[0].is_color] or images
    volumes = _original_first([candidate for candidate in images if distinct_positions(candidate[1].frames) > 1])
    if len(volumes) == 1:
        rivals = [other for other in images if other[0] is volumes[0][0] and _belongs(other[1], volumes[0][1])]
        return volumes[0] if not rivals else None
    for group in (volumes, images, candidates):
        if group:
            return group[0] if len(group) == 1 else None
    return None


def _original_first(volumes: list[tuple[Series, Stack, int]]) -> list[tuple[Series, Stack, int]]:
    """Drop derived volumes (reformats, projections, parameter maps) beside the one original that they may come from.

    It has their study and modality and a comparable size. Alone, or among themselves, derived volumes are judged like
    any others: good axial series are often exported, de-identified or resampled as DERIVED.
    """
    originals = [volume for volume in volumes if not volume[1].is_derived]
    if len(originals) != 1:
        return volumes
    _, stack, _ = originals[0]
    origin, size = (stack.origin.study_uid, stack.origin.modality), _voxels(stack)
    return [
        volume
        for volume in volumes
        if volume is originals[0]
        or (volume[1].origin.study_uid, volume[1].origin.modality) != origin
        or size < _COMPARABLE_SIZE * _voxels(volume[1])
    ]


def _voxels(stack: Stack) -> int:
    return len(stack.frames) * stack.frames[0].rows * stack.frames[0].columns


def _belongs(other: Stack, volume: Stack) -> bool:
    """Whether a single image may be a stray slice of the volume: parallel to it, or of unknown place."""
    if other is volume:
        return False
    normals = slice_normal(other.frames[0]), slice_normal(volume.frames[0])
    if normals[0] is None or normals[1] is None or other.frames[0].position_lps_mm is None:
        return True
    return bool(np.abs(np.dot(normals[0], normals[1])) > 1 - ORIENTATION_TOLERANCE)


def _refuse_several_patients(candidates: Sequence[Series]) -> None:
    """Refuse a series of several patients, whatever was asked for: its UID was reused, or its files were mixed up."""
    for series in candidates:
        if len(series.patients) > 1:
            raise SeriesSelectionError(
                f"series {short_uid(series.series_uid)} holds instances of {len(series.patients)} patients (PatientID, "
                "IssuerOfPatientID); expected one: separate their files and give each patient a series of its own",
                FindingKind.SEVERAL_PATIENTS,
            )


def _refuse_damaged(series: Series, skipped: Sequence[SkippedFile]) -> None:
    damaged = [file for file in skipped if file.series_uid and file.series_uid == series.series_uid]
    if damaged:
        raise DicomReadError(
            f"{counted(len(damaged), 'file')} of series {short_uid(series.series_uid)} cannot be used: "
            f"{readable(damaged[0].path.name)}: {damaged[0].reason}; expected every file of the "
            "series: restore or remove it",
            FindingKind.DAMAGED_FILES,
        )


def _left_out(
    series: Series, stack: Stack, all_series: Sequence[Series], skipped: Sequence[SkippedFile]
) -> tuple[Finding, ...]:
    """Return findings about what lies beside the chosen stack."""
    findings = [*stack.findings]
    derived = sum(
        other is not stack and other.is_derived and other.kind == ImageKind.IMAGE
        for one in all_series
        for other in one.stacks
    )
    if derived and not stack.is_derived:
        text = f"chosen as original: {counted(derived, 'derived stack')} left out"
        findings.append(note(FindingKind.DERIVED_LEFT_OUT, text, count=derived))
    siblings = [other.label for other in series.stacks if other is not stack]
    if siblings:
        text = f"left out of the same series: {listed(siblings, separator='; ')}"
        findings.append(note(FindingKind.STACKS_LEFT_OUT, text, count=len(siblings)))
    objects = [instance for instance in series.instances if not instance.frames]
    if objects:
        kinds = [f"{clean_text(one.modality) or 'no modality'}, no image" for one in objects]
        reasons = listed_by_reason((one.path.name, kind) for one, kind in zip(objects, kinds))
        text = f"{counted(len(objects), 'file')} left out of the same series: {'; '.join(reasons)}"
        instances = [one.sop_instance_uid for one in objects]
        findings.append(note(FindingKind.OBJECTS_LEFT_OUT, text, instances, len(objects)))
    others = [other for other in all_series if other is not series]
    if others:
        names = (
            f"{clean_text(o.modality) or '?'} {clean_text(o.description) or short_uid(o.series_uid)} ({o.kind})"
            for o in others
        )
        text = f"{len(others)} other series left out: {listed(names, separator='; ')}"
        findings.append(note(FindingKind.SERIES_LEFT_OUT, text, count=len(others)))
    damaged = [file for file in skipped if file.damaged]
    if damaged:
        text = f"{counted(len(damaged), 'damaged file')} skipped whose series is unknown: {_reasons(damaged)}"
        findings.append(warning(FindingKind.DAMAGED_FILES, text, count=len(damaged)))
    unused = [file for file in skipped if not file.damaged]
    if unused:
        text = f"{counted(len(unused), 'file')} skipped: {_reasons(unused)}"
        findings.append(note(FindingKind.FILES_LEFT_OUT, text, count=len(unused)))
    patients = frozenset().union(*(other.patients for other in all_series))
    if len(patients) > 1:
        text = f"the folder holds series of {len(patients)} patients"
        findings.append(warning(FindingKind.SEVERAL_PATIENTS, text, count=len(patients)))
    return tuple(findings)


def _reasons(files: Sequence[SkippedFile]) -> str:
    return "; ".join(listed_by_reason((file.path.name, file.reason) for file in files))


def _nothing_found(all_series: Sequence[Series], skipped: Sequence[SkippedFile]) -> str:
    what = f"{len(all_series)} series without an image" if all_series else "no DICOM series"
    left_out = f"; {counted(len(skipped), 'file')} skipped: {_reasons(skipped)}" if skipped else ""
    return f"no DICOM image found: {what}{left_out}"
