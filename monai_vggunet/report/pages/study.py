"""The page of one study: image and mask to browse, volumes, confidence, findings, flags, and how the mask was made."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.case_record import CaseRecord
from monai_vggunet.layout import REPORT, SHEET
from monai_vggunet.outputs.class_colors import class_color, hex_color
from monai_vggunet.privacy import redact
from monai_vggunet.report.pages.contact_sheet import contact_sheet
from monai_vggunet.report.pages.display_view import DisplayView
from monai_vggunet.report.pages.embedded_volume import LIMIT_MB, EmbeddedStudy, embed_study
from monai_vggunet.report.pages.niivue import NIIVUE_VERSION, find_niivue, niivue_notice
from monai_vggunet.report.pages.page import asset, without_folders, write_page

__all__ = ["write_failure_report", "write_study_report"]

NO_NIIVUE = (
    "This is the plain viewer, without oblique slices: NiiVue was not available when the page was written. "
    "`monai-vggunet report --fetch-viewer` fetches it through npm."
)


def write_study_report(
    folder: str | os.PathLike[str],
    record: CaseRecord,
    view: DisplayView,
    notes: Sequence[str] = (),
    limit_mb: float = LIMIT_MB,
) -> Path:
    """Write `report.html` and `sheet.png` of a segmented study into its folder.

    The page holds everything it shows and makes no request. It names nothing of the source that the record does not.

    Args:
        folder: of the study's results.
        record: of the study.
        view: image and mask.
        notes: what a reader of the page should know.
        limit_mb: megabytes that the compressed image may take in the page; a larger one is shown at fewer voxels.

    Returns:
        The page.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    sheet = io.BytesIO()
    contact_sheet(view, record).save(sheet, format="PNG", optimize=True)
    with atomic_path(Path(folder) / SHEET) as temporary:
        temporary.write_bytes(sheet.getvalue())
    volumes = embed_study(view, limit_mb)
    script = None if view.is_picture else find_niivue()
    classes = _classes(record, view)
    write_page(
        Path(folder) / REPORT,
        "study.html",
        **_texts(record, view),
        notes=[*notes, *_notes(view, volumes, limit_mb)],
        classes=classes,
        volumes=volumes,
        study=_for_the_viewer(record, view, volumes, classes),
        sheet="data:image/png;base64," + base64.b64encode(sheet.getvalue()).decode("ascii"),
        picture=view.is_picture,
        niivue=Markup(script.read_text(encoding="utf-8").replace("</script", "<\\/script")) if script else None,
        niivue_version=NIIVUE_VERSION,
        niivue_notice=niivue_notice(),
        niivue_view_js=asset("niivue_view.js"),
        plain_view_js=asset("plain_view.js"),
        study_js=asset("study.js"),
    )
    return Path(folder) / REPORT


def write_failure_report(folder: str | os.PathLike[str], record: CaseRecord) -> Path:
    """Write `report.html` of a study that was not segmented; it says why.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    (Path(folder) / SHEET).unlink(missing_ok=True)  # of an earlier result
    shown = replace(record, error=without_folders(redact(record.error)))
    write_page(
        Path(folder) / REPORT, "study.html", record=shown, headline="no mask", notes=[], volumes=None, niivue=None
    )
    return Path(folder) / REPORT


def _texts(record: CaseRecord, view: DisplayView) -> dict[str, Any]:
    source, model, settings = record.source, record.model, record.identity.get("settings", {})
    versions = ", ".join(f"{name} {version}" for name, version in dict(model.get("versions", {})).items())
    shape = " × ".join(str(n) for n in (source.shape[:2] if view.is_picture else source.shape))
    spacing = " × ".join(f"{s:.4g}" for s in source.spacing_mm)
    kind = "picture" if view.is_picture else f"{view.plane} slices"
    finished = record.finished.replace("T", " ")[:16]
    rows = {
        "modality": source.modality,
        "size": shape,
        "spacing": "" if view.is_picture or not spacing else f"{spacing} mm",
        "study UID": source.study_uid,
        "series UID": source.series_uid,
    }
    made = {
        "finished": finished,
        "time": "" if record.seconds is None else f"{record.seconds:.1f} s",
        "weights": model.get("weights_sha256"),
        "engine": model.get("engine"),
        "versions": versions,
        "test-time views": settings.get("tta"),
        "precision": settings.get("precision"),
        "reading": ", ".join(f"{name} {value}" for name, value in settings.get("reader", {}).items()),
        "input": record.identity.get("input_sha256"),
    }
    return {
        "record": record,
        "headline": " · ".join(part for part in (source.modality, kind, finished) if part),
        "findings": [finding.text for finding in source.findings],
        "confidence": _confidence(record.confidence),
        "source": [(name, value) for name, value in rows.items() if value],
        "made": [(name, value) for name, value in made.items() if value],
    }


def _confidence(stated: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {
        "mean_entropy": "entropy in the mask (0 sure, 1 a guess)",
        "mean_disagreement": "disagreement between views",
        "views": "views",
    }
    rows = [(names.get(name, name), value) for name, value in stated.items() if value is not None]
    return [(name, f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in rows]


def _classes(record: CaseRecord, view: DisplayView) -> list[dict[str, Any]]:
    counts = np.bincount(view.labels.ravel(), minlength=256)
    named: dict[int, tuple[str, float | None]] = {
        number: (name, amount) for number, (name, amount, _) in enumerate(record.amounts, start=1)
    }
    found = map(int, np.flatnonzero(counts[1:]) + 1)
    unnamed = {number: (f"class {number} (not in the record)", None) for number in found if number not in named}
    return [
        {
            "number": number,
            "name": name,
            "volume": "" if volume is None else f"{volume:,.2f}",
            "voxels": f"{counts[number]:,}",
            "color": hex_color(number),
            "rgb": class_color(number),
        }
        for number, (name, volume) in (named | unnamed).items()
    ]


def _notes(view: DisplayView, volumes: EmbeddedStudy, limit_mb: float) -> list[str]:
    notes = []
    if view.image is None:
        notes.append("The mask is shown alone: its image was not available when this page was written.")
    elif view.image.ndim == 4:
        notes.append("The viewer shows this color picture in gray; it is shown in color below.")
    if volumes.factors != (1, 1, 1):
        blocks, shape = (" × ".join(str(n) for n in numbers) for numbers in (volumes.factors, volumes.shape))
        notes.append(
            f"Shown at reduced resolution: each block of {blocks} voxels became one voxel ({shape}), because the image "
            f"would take more than {limit_mb:g} MB in this page. Volumes and counts are those of the full resolution."
        )
    if volumes.rounded_to:
        notes.append(f"Intensities are rounded to steps of {volumes.rounded_to:.3g} in this page.")
    return notes


def _for_the_viewer(
    record: CaseRecord, view: DisplayView, volumes: EmbeddedStudy, classes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    single = 1 in view.labels.shape
    return {
        "classes": [{key: one[key] for key in ("number", "name", "rgb")} for one in classes],
        "highest": max([1, *(one["number"] for one in classes)]),
        "window": list(view.window),
        "unit": "HU" if record.source.modality == "CT" else "",
        "has_image": view.image is not None,
        "picture": view.is_picture,
        "layout": view.plane if single else "three planes",
        "planes": [view.plane, *(name for name in ("axial", "coronal", "sagittal") if name != view.plane)],
        "center_mm": _center_mm(view),
        "plain_reason": NO_NIIVUE,
    }


def _center_mm(view: DisplayView) -> list[float]:
    """Return where to look first: inside the mask, on its largest slice; the middle of the volume if it is empty."""
    others = tuple(k for k in range(3) if k != view.axis)
    voxel = np.array([(n - 1) / 2 for n in view.labels.shape])
    areas = np.count_nonzero(view.labels, axis=others)
    if areas.any():
        voxel[view.axis] = index = int(areas.argmax())
        classes = np.take(view.labels, index, view.axis)
        inside = np.argwhere(classes == np.bincount(classes[classes > 0]).argmax())
        voxel[list(others)] = inside[np.abs(inside - inside.mean(0)).sum(1).argmin()]
    return [float(v) for v in (view.affine @ [*voxel, 1.0])[:3]]
