"""What `monai-vggunet inspect` reports: every series, what would be segmented, and why the rest would not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_vggunet.dicom.findings import Finding, FindingKind, note, refused
from monai_vggunet.dicom.geometry import volume_geometry
from monai_vggunet.dicom.headers.bounded_reading import read_dicom
from monai_vggunet.dicom.headers.records import FrameRecord, ImageKind, Series, SkippedFile, Stack
from monai_vggunet.dicom.index import DicomIndex
from monai_vggunet.dicom.pixels.frame_count import require_frame_count
from monai_vggunet.dicom.pixels.readable import require_readable
from monai_vggunet.dicom.places import case_places, scan_path
from monai_vggunet.dicom.positions import group_by_position
from monai_vggunet.dicom.selection import Selection
from monai_vggunet.dicom.series_cases import DicomCases
from monai_vggunet.dicom.value_findings import findings_of_sample, value_findings
from monai_vggunet.dicom.volume import unique_planes
from monai_vggunet.errors import DicomGeometryError, DicomPixelError, DicomReadError, SeriesSelectionError
from monai_vggunet.names import counted, readable
from monai_vggunet.privacy import clean_text, know_tree

__all__ = ["CaseSurvey", "SeriesSurvey", "StackSurvey", "survey"]

_PHI = {"name": "PatientName", "id": "PatientID", "birth_date": "PatientBirthDate"}


@dataclass(frozen=True)
class StackSurvey:
    """One stack of planes.

    Attributes:
        number: its index in the series, for `--stack`.
        label: size, plane, and what sets it apart.
        size: columns, rows, slices.
        spacing_mm: between columns, rows, slices; None where the planes form no volume.
        gantry_tilt_deg: see `VolumeGeometry`.
        findings: what a user should know about its geometry and values.
        problem: why it cannot be read as a volume; None if it can.
        modality: of its own images; a damaged series may hold several.
    """

    number: int
    label: str
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    gantry_tilt_deg: float
    findings: tuple[Finding, ...]
    problem: Finding | None
    modality: str = ""


@dataclass(frozen=True)
class SeriesSurvey:
    """One series: `chosen` is the stack that would be segmented, or None with the `reason`.

    `patient` is empty unless it was asked for.
    """

    series_uid: str
    study_uid: str
    series_number: str
    modality: str
    description: str
    kind: str
    n_files: int
    stacks: tuple[StackSurvey, ...]
    chosen: int | None
    reason: Finding | None
    patient: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseSurvey:
    """What `segment` takes as one case.

    Attributes:
        folder: where it lies: a folder, or a `CasePath`.
        series: all series, in the order of their numbers.
        findings: what the choice of the series left out; if nothing is chosen, why.
        skipped: files left out of the index.
    """

    folder: Path
    series: tuple[SeriesSurvey, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[SkippedFile, ...]


def survey(
    path: str | os.PathLike[str], choice: Mapping[str, str | int | None] | None = None, show_phi: bool = False
) -> list[CaseSurvey]:
    """Look at a folder, an archive of folders, a DICOMDIR or a file, by headers.

    Pixels are read where planes of different instances share a position, because only they tell whether these are
    copies; and those of a few planes where words have bits to spare, in which values may not fit into BitsStored.

    Args:
        path: what to look at.
        choice: arguments of `DicomIndex.choose_series`.
        show_phi: also read the patients' names, identifiers and birth dates.

    Returns:
        One entry per case; a folder without DICOM is one entry without series.

    Raises:
        DicomReadError: if the path does not exist.
    """
    root = Path(path)
    know_tree(root)
    found, skipped = case_places(root) if root.is_dir() else (DicomCases((), frozenset(), ()), [])
    paths = [case.path for case in found.cases] or [str(root)]
    cases = [_case(Path(path), scan_path(path), dict(choice or {}), show_phi) for path in paths]
    if found.cases:
        cases[0] = replace(cases[0], skipped=(*cases[0].skipped, *skipped))
    if found.strays:
        text = (
            f"{counted(len(found.strays), 'file')} beside the folders of several studies left out: no images of theirs"
        )
        cases[0] = replace(cases[0], findings=(*cases[0].findings, note(FindingKind.FILES_BESIDE_STUDIES, text)))
    return cases


def _case(folder: Path, index: DicomIndex, choice: dict[str, str | int | None], show_phi: bool) -> CaseSurvey:
    selection, refusal = None, None
    try:
        selection = index.choose_series(**choice)  # type: ignore[arg-type]
        findings = selection.findings
    except (SeriesSelectionError, DicomReadError) as error:
        refusal = refused(error.kind, str(error).splitlines()[0].rstrip(":"))  # the list below it is shown here anyway
        findings = (refusal,)
    series = tuple(_series(one, selection, refusal, show_phi) for one in index.series)
    return CaseSurvey(folder, series, findings, index.skipped)


def _series(series: Series, selection: Selection | None, refusal: Finding | None, show_phi: bool) -> SeriesSurvey:
    stacks = tuple(_stack(number, stack) for number, stack in enumerate(series.stacks))
    chosen = None
    if selection is not None and selection.series is series:
        chosen = series.stacks.index(selection.stack)
    reason = _reason(series, stacks, chosen, refusal)
    return SeriesSurvey(
        series_uid=series.series_uid,
        study_uid=series.study_uid,
        series_number=series.series_number,
        modality=series.modality,
        description=series.description,
        kind=series.kind,
        n_files=len(series.instances),
        stacks=stacks,
        chosen=chosen if reason is None else None,
        reason=reason,
        patient=_patient_of(series) if show_phi else {},
    )


def _reason(
    series: Series, stacks: tuple[StackSurvey, ...], chosen: int | None, refusal: Finding | None
) -> Finding | None:
    """Return why a series would not be segmented; None if it would."""
    if chosen is not None:
        return stacks[chosen].problem
    if not series.stacks:
        return note(FindingKind.NO_IMAGE, f"holds no image ({clean_text(series.modality) or 'no modality'})")
    if series.kind != ImageKind.IMAGE:
        return note(FindingKind.LOCALIZER_OR_CAPTURE, series.kind)
    problems = [stack.problem for stack in stacks]
    if problems[0] is not None and all(problems):
        return problems[0]
    return refusal or note(FindingKind.NOT_THE_OBVIOUS_ONE, "another series is taken")


def _is_copy(frame: FrameRecord, first: FrameRecord) -> bool:
    """Whether a plane is the same frame of the same instance as another, which lies there twice."""
    same = frame.sop_instance_uid == first.sop_instance_uid and frame.frame_index == first.frame_index
    return frame is first or (same and bool(first.sop_instance_uid))


def _stack(number: int, stack: Stack) -> StackSurvey:
    first, modality = stack.frames[0], stack.origin.modality
    size = (first.columns, first.rows, len(stack.frames))
    about_values = value_findings(modality, stack.frames)
    try:
        require_readable(stack.frames)
        require_frame_count(stack.frames)
        groups = group_by_position(stack.frames)
        if not all(_is_copy(frame, group[0]) for group in groups for frame in group):
            unique_planes(stack.frames)  # their headers do not tell whether they are copies; their pixels do
        geometry = volume_geometry([group[0] for group in groups])
    except (DicomGeometryError, DicomPixelError) as error:
        refusal = refused(error.kind, str(error), error.instances)
        return StackSurvey(number, stack.label, size, None, 0.0, about_values, refusal, modality)
    copies = len(stack.frames) - len(groups)
    findings, problem = (*geometry.findings, *about_values, *findings_of_sample(geometry.frames)), None
    if cut := [frame for frame in stack.frames if frame.stored and frame.stored.is_cut_short]:
        name, many = readable(cut[0].path.name), counted(len(cut), "truncated file")
        text = f"pixels of {name} end early ({many}): restore or remove them"
        problem = refused(FindingKind.TRUNCATED_PIXELS, text, [frame.sop_instance_uid for frame in cut])
    elif copies:
        what = counted(copies, "plane repeats", "planes repeat")
        text = f"{what} a position: copies, which are left out"
        findings = (*findings, note(FindingKind.REPEATED_POSITIONS, text, count=copies))
    size = (size[0], size[1], len(groups))
    spacing_mm, tilt_deg = geometry.spacing_mm, geometry.gantry_tilt_deg
    return StackSurvey(number, stack.label, size, spacing_mm, tilt_deg, findings, problem, modality)


def _patient_of(series: Series) -> dict[str, str]:
    header = read_dicom(series.instances[0].path, before_pixels=True, tags=list(_PHI.values()))
    return {name: str(header.get(keyword, "")) for name, keyword in _PHI.items()}
