"""One JSON record per segmented case: what was read, which model segmented it, what came out, and how sure it is."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_vggunet.atomic_files import sha256_of_file, sha256_of_input
from monai_vggunet.case_record import DONE, FAILED, CaseRecord, CaseSource, RecordedFinding
from monai_vggunet.dicom.findings import unpack_findings
from monai_vggunet.errors import DatasetError, DicomRefusedError
from monai_vggunet.file_kinds import PICTURE, PICTURE_ENDINGS, ends_with
from monai_vggunet.layout import RECORD, files_of
from monai_vggunet.names import readable_lines
from monai_vggunet.privacy import TEXT, book, clean_text, clean_uid, redact, shown_case, shows_phi

__all__ = ["content_digest", "failure_record", "is_done", "study_flags", "study_identity", "study_record"]

# A class's volume is implausible beyond this factor of the smallest and largest one in the training set.
VOLUME_FACTOR = 3.0
# Spacing is unlike the training set's beyond this factor.
SPACING_FACTOR = 2.0
PIXELS_PER_ML = 1000  # a picture states no size, and its pixels count as cubes of 1 mm
_MEASURED = {"in_plane_spacing_mm", "slice_spacing_mm"}


def study_record(
    case: str,
    meta: Mapping[str, Any],
    labels: np.ndarray,
    affine: np.ndarray,
    class_names: Sequence[str],
    model: Mapping[str, Any],
    seconds: float,
    confidence: Mapping[str, Any] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    foreground_median: float | None = None,
) -> CaseRecord:
    """Return the record of one case; it names no patient and no path, unless `--show-phi` asks for names.

    Args:
        case: name of the result's folder; the record holds its pseudonym instead.
        meta: metadata of the source (`series_uid`, `findings`, ... where it is DICOM).
        labels: the mask `(X, Y, Z)` on the source's grid.
        affine: voxel index to RAS mm, `(4, 4)`.
        class_names: background first.
        model: hash and versions.
        seconds: from reading to writing.
        confidence: mean entropy over the foreground and, with several views, their mean disagreement.
        fingerprint: of the training set, from `model.json`; whatever differs much from it becomes a flag.
        foreground_median: median intensity inside the mask, HU for CT; None where intensities have no unit.
    """
    picture = ends_with(str(meta.get("filename_or_obj", "")), PICTURE_ENDINGS)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    volumes = {name: round(float(count) * voxel_ml, 4) for name, count in zip(class_names[1:], counts[1:])}
    spacing = [round(float(s), 6) for s in np.linalg.norm(affine[:3, :3], axis=0)]
    findings = [
        RecordedFinding(
            redact(finding.text),
            finding.kind.value,
            finding.severity.value,
            finding.count,
            tuple(map(clean_uid, finding.instances)),
        )
        for finding in unpack_findings(meta.get("findings") or "")
    ]
    source = CaseSource(
        modality=clean_text(str(meta.get("modality", ""))),
        study_uid=clean_uid(str(meta.get("study_uid", ""))),
        series_uid=clean_uid(str(meta.get("series_uid", ""))),
        shape=labels.shape,
        spacing_mm=tuple(spacing),
        findings=tuple(findings),
    )
    return CaseRecord(
        case=shown_case(case),
        status=DONE,
        names_hidden=not shows_phi(),
        source=source,
        volumes_ml={} if picture else volumes,
        areas_px={name: int(count) for name, count in zip(class_names[1:], counts[1:])} if picture else {},
        confidence=dict(confidence or {}),
        flags=tuple(study_flags(volumes, spacing, fingerprint or {}, foreground_median, picture)),
        model=dict(model),
        seconds=round(seconds, 2),
        finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )


def failure_record(case: str, error: Exception) -> CaseRecord:
    """Return the record of a case that failed; it hides names as `study_record` does."""
    return CaseRecord(
        case=shown_case(case),
        status=FAILED,
        names_hidden=not shows_phi(),
        kind=type(error).__name__,
        error=readable_lines(redact(str(error))),
        refusal=str(error.kind) if isinstance(error, DicomRefusedError) else "",
    )


def study_identity(path: str | os.PathLike[str], weights_sha256: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what determines a result: content of the input, weights and settings.

    A description that the user typed is replaced by its pseudonym, which stays the same in later runs into the same
    folder.

    Args:
        path: of the input.
        weights_sha256: of the model.
        settings: see `Segmenter`.
    """
    reader = dict(settings.get("reader", {}))
    if reader.get("description") and not shows_phi():
        reader["description"] = book().pseudonym(str(reader["description"]), TEXT)
    return {
        "input_sha256": content_digest(path),
        "weights_sha256": weights_sha256,
        "settings": {**settings, "reader": reader},
    }


def study_flags(
    volumes_ml: Mapping[str, float],
    spacing_mm: Sequence[float],
    fingerprint: Mapping[str, Any],
    foreground_median: float | None = None,
    picture: bool = False,
) -> list[str]:
    """Return the reasons to look at a mask before trusting it; empty when nothing stands out.

    Args:
        volumes_ml: per class; 0 for one that was not found.
        spacing_mm: of the source, three edges in any order.
        fingerprint: of the training set; without one only an empty result is flagged. It may lack any part.
        foreground_median: see `study_record`.
        picture: whether it is one, of whose pixels only the number is known: a flag then states areas.
    """
    if not any(volumes_ml.values()):
        return ["empty result: no voxel of any class"]
    flags = []
    trained = dict(zip(fingerprint.get("class_names", []), fingerprint.get("class_volumes_ml", [])))  # background too
    for name, volume in volumes_ml.items():
        low, _, high = trained.get(name, (0.0, 0.0, float("inf")))
        if volume and not low / VOLUME_FACTOR <= volume <= high * VOLUME_FACTOR:
            if picture:
                found, least, most = (round(value * PIXELS_PER_ML) for value in (volume, low, high))
                flags.append(f"implausible area: {name} {found:,} px, in training {least:,} to {most:,} px")
            else:
                flags.append(f"implausible volume: {name} {volume:.3g} mL, in training {low:.3g} to {high:.3g} mL")
    if fingerprint.keys() >= _MEASURED and fingerprint.get("modality") != PICTURE:
        expected = sorted([*fingerprint["in_plane_spacing_mm"], fingerprint["slice_spacing_mm"]])
        pairs = zip(sorted(spacing_mm), expected)
        if any(not 1 / SPACING_FACTOR <= found / wanted <= SPACING_FACTOR for found, wanted in pairs):
            flags.append(f"input unlike the training data: spacing {list(spacing_mm)} mm, in training {expected} mm")
    if foreground_median is not None and "foreground_percentiles" in fingerprint:
        low, _, high = fingerprint["foreground_percentiles"]
        if not low <= foreground_median <= high:
            flags.append(
                f"input unlike the training data: median {foreground_median:.4g} inside the mask, in training "
                f"{low:.4g} to {high:.4g}"
            )
    return flags


def content_digest(path: str | os.PathLike[str]) -> str:
    """Return a SHA-256 of a file, or of the contents of all files in a folder, whatever their names and order.

    Very long files count as `sha256_of_input` says: a reader may leave a file in a folder out, however long it is.
    Results that this package left in the folder do not count.
    """
    digests = sorted(_digest(file) for file in files_of(path) if file.is_file())
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(file: Path) -> str:
    try:
        return sha256_of_input(file)
    except OSError:  # an unreadable file counts as such; the reader of the images says what that means for them
        return "unreadable"


def is_done(folder: str | os.PathLike[str], identity: Mapping[str, Any], outputs: Sequence[str] = ()) -> bool:
    """Whether a folder holds the whole result of the same input, model and settings.

    Args:
        folder: of the case's results.
        identity: what `record.json` must hold under `identity`.
        outputs: what it must list under `outputs`; it may list more.

    Returns:
        True if the record says so and every file it lists is there with the content it had.
    """
    try:
        record = CaseRecord.read(Path(folder) / RECORD)
        same = record.status == DONE and record.identity == json.loads(json.dumps(identity))
        same = same and bool(record.files) and set(outputs) <= set(record.outputs)
        return same and all(sha256_of_file(Path(folder) / name) == digest for name, digest in record.files.items())
    except (OSError, DatasetError):
        return False
