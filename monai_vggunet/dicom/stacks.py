"""The planes of one series -> stacks: planes that may form one volume, kept apart from those that cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from pydicom.uid import UID

from monai_vggunet.dicom.along_normal import slice_normal
from monai_vggunet.dicom.findings import Finding, FindingKind, note, warning
from monai_vggunet.dicom.headers.discriminators import DATES, TEXTS
from monai_vggunet.dicom.headers.records import FrameRecord, ImageKind, InstanceRecord, Origin, Stack, tell_nothing
from monai_vggunet.dicom.hounsfield import other_unit
from monai_vggunet.dicom.telling_apart import tell_apart, varying_attributes
from monai_vggunet.names import readable
from monai_vggunet.privacy import clean_text
from monai_vggunet.short_uid import short_uid

__all__ = ["split_into_stacks"]

# Direction cosines that differ by more belong to another stack (0.6 degrees); smaller differences are judged in mm by
# `geometry`, because what they do to a voxel depends on the size of the image.
ORIENTATION_TOLERANCE = 1e-2
# Pixel spacings that differ by more, relative to each other, belong to another reconstruction.
SPACING_RELATIVE_TOLERANCE = 1e-3
# How a volume was made; planes of other settings may lie one behind the other without being interleaved.
_SETTINGS = frozenset({"ConvolutionKernel", "KVP", "SliceThickness"})
_NUMBERS = re.compile(r"[-+0-9.eE\\\\]+")
# ImageType of maximum, minimum and average projections.
_PROJECTIONS = frozenset({"PROJECTION IMAGE", "MIP", "MINIP", "MIN IP", "AVERAGE", "MAX_IP", "MIN_IP"})


def split_into_stacks(instances: Iterable[InstanceRecord]) -> tuple[Stack, ...]:
    """Split a series' planes by origin, unit, kind, matrix, pixel spacing and orientation, and then into volumes.

    Whatever else the instances of a series share, planes of two patients, studies, frames of reference, modalities or
    SOP classes are never one volume (PS3.3 C.7.3.1, C.7.4.1), nor are those in HU and those of a map of another
    quantity (PS3.3 C.11.1.1.2). `tell_apart` says what else are several volumes.

    Args:
        instances: of one series, in any order.

    Returns:
        Stacks, images first, and the largest first.
    """
    images = [instance for instance in instances if instance.frames]
    odd_studies = tell_nothing([instance.study_uid for instance in images])
    by_origin: dict[Origin, list[FrameRecord]] = {}
    for instance in images:
        origin = instance.origin._replace(study_uid=images[0].study_uid) if odd_studies else instance.origin
        by_origin.setdefault(origin, []).extend(instance.frames)
    origins = _names_of_origins(by_origin)
    stacks = []
    for origin, frames in by_origin.items():
        units = _by_unit(origin.modality, frames)
        for in_unit, group in ((unit, group) for unit, part in units for group in _by_grid(part)):
            volumes = tell_apart(group)
            for part, values in volumes:
                others = [other for _, other in volumes]
                told = [f"{keyword}={_shown(keyword, value, others)}" for keyword, value in values.items()]
                own = origins[origin] if part[0].kind == ImageKind.IMAGE else ""
                label = ", ".join(filter(None, (_describe(part), own, in_unit, *told)))
                findings = (*([_own_studies(part)] if odd_studies else []), *_findings(part))
                stacks.append(Stack(tuple(part), part[0].kind, label, origin, findings))
    return tuple(sorted(stacks, key=lambda stack: (stack.kind != ImageKind.IMAGE, -len(stack.frames), stack.label)))


def _own_studies(frames: Sequence[FrameRecord]) -> Finding:
    text = "every file has a StudyInstanceUID of its own, expected one: taken as one study, that of the first file"
    return warning(FindingKind.SEVERAL_STUDIES, text, count=len(frames))


def _names_of_origins(by_origin: Mapping[Origin, Sequence[FrameRecord]]) -> dict[Origin, str]:
    """Return for each origin of the series' images in what it differs from the others; nothing for a single one."""
    of_images = [
        origin for origin, frames in by_origin.items() if any(frame.kind == ImageKind.IMAGE for frame in frames)
    ]
    patients = list(dict.fromkeys(origin.patient_hash for origin in of_images))
    shown: tuple[Callable[[Origin], str], ...] = (
        lambda origin: f"patient {patients.index(origin.patient_hash) + 1} of {len(patients)}",
        lambda origin: f"StudyInstanceUID={short_uid(origin.study_uid) or 'absent'}",
        lambda origin: f"FrameOfReferenceUID={short_uid(origin.frame_of_reference_uid) or 'absent'}",
        lambda origin: f"Modality={clean_text(origin.modality) or 'absent'}",
        lambda origin: f"SOPClassUID={_class_name(origin)}",
    )
    names: dict[Origin, list[str]] = {origin: [] for origin in by_origin}
    for field, name_of in zip(Origin._fields, shown, strict=True):
        if len({getattr(origin, field) for origin in of_images}) > 1:
            for origin in of_images:
                names[origin].append(name_of(origin))
    return {origin: ", ".join(parts) for origin, parts in names.items()}


def _class_name(origin: Origin) -> str:
    """Return the name of a storage class of the standard; of another UID the end."""
    uid = UID(origin.sop_class_uid)
    return (short_uid(uid) if uid.name == uid else uid.name) or "absent"


def _by_unit(modality: str, frames: Sequence[FrameRecord]) -> list[tuple[str, list[FrameRecord]]]:
    """Group planes by their unit: a CT's where it cannot be HU (`Z_EFF`, `ED`), and the Units of PET (`BQML`, `GML`).

    A plane without Units joins those that state the only one: its header is damaged.

    Returns:
        How a label tells each group from the others, and its planes.
    """
    stated = [(other_unit(modality, [frame]), dict(frame.discriminators).get("Units", "")) for frame in frames]
    several_types = len({of_rescale for of_rescale, _ in stated}) > 1
    several_units = len({units for _, units in stated} - {""}) > 1
    groups: dict[tuple[str, str], list[FrameRecord]] = {}
    for frame, (of_rescale, units) in zip(frames, stated):
        groups.setdefault((of_rescale, units if several_units else ""), []).append(frame)

    def label(of_rescale: str, units: str) -> str:
        told = [f"RescaleType={of_rescale or 'HU'}"] if several_types else []
        told += [f"Units={_shown('Units', units, ())}"] if several_units else []
        return ", ".join(told)

    return [(label(*unit), planes) for unit, planes in groups.items()]


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


def _shown(keyword: str, value: str, of_all: Sequence[Mapping[str, str]]) -> str:
    """Return a value as a label may show it: a number as it is, free text without names, a date by its place."""
    if keyword in DATES:
        dates = sorted({values[keyword] for values in of_all})
        return f"{dates.index(value) + 1} of {len(dates)}"
    is_number = keyword not in TEXTS and _NUMBERS.fullmatch(value)
    return (value if is_number else clean_text(value)) or "absent"


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
    types = sorted({clean_text("\\".join(image_type)) for image_type in {frame.image_type for frame in frames}})
    if all(frame.is_derived for frame in frames):
        projected = _PROJECTIONS.intersection(frames[0].image_type)
        what = "projections of a volume" if projected else "computed from others, or exported as if they were"
        findings.append(note(FindingKind.DERIVED_IMAGES, f"derived images (ImageType {types[0]}): {what}"))
    if len(types) > 1:
        text = f"{len(types)} image types in one stack: {', '.join(kind or 'none' for kind in types)}"
        findings.append(note(FindingKind.MIXED_IMAGE_TYPES, text, count=len(types)))
    mixed = {keyword: values for keyword, values in varying_attributes(frames).items() if keyword in _SETTINGS}
    if mixed:
        text = f"planes of several settings in one stack: their {' and '.join(mixed)} differ"
        findings.append(warning(FindingKind.MIXED_SETTINGS, text, count=max(len(set(v)) for v in mixed.values())))
    without = [frame for frame in frames if not frame.has_rescale]
    if 0 < len(without) < len(frames):
        text = (
            f"{len(without)} of {len(frames)} planes have no rescale, such as {readable(without[0].path.name)}, but "
            "the others have one: perhaps damaged headers; these planes are taken as stored"
        )
        instances = [frame.sop_instance_uid for frame in without]
        findings.append(warning(FindingKind.RESCALE_MISSING, text, instances, len(without)))
    return tuple(findings)
