"""One JSON record per segmented case: what was read, with what it was segmented, and what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["study_record"]


def study_record(
    case: str,
    meta: Mapping[str, Any],
    labels: np.ndarray,
    affine: np.ndarray,
    class_names: Sequence[str],
    model: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Return the record of one case; it names no patient and no path.

    Args:
        case: name of the result's folder.
        meta: metadata of the source (`series_uid`, `findings`, ... where it is DICOM).
        labels: the mask `(X, Y, Z)` on the source's grid.
        affine: voxel index to RAS mm.
        class_names: background first.
        model: hash and versions.
        seconds: from reading to writing.
    """
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    volumes = {name: round(float(count) * voxel_ml, 4) for name, count in zip(class_names[1:], counts[1:])}
    findings = str(meta.get("findings", "") or "")
    return {
        "case": case,
        "status": "done",
        "source": {
            "modality": str(meta.get("modality", "")),
            "study_uid": str(meta.get("study_uid", "")),
            "series_uid": str(meta.get("series_uid", "")),
            "shape": list(labels.shape),
            "spacing_mm": [round(float(s), 6) for s in np.linalg.norm(affine[:3, :3], axis=0)],
            "findings": [line for line in findings.split("\n") if line],
        },
        "volumes_ml": volumes,
        "flags": [] if counts[1:].any() else ["empty result: no voxel of any class"],
        "model": dict(model),
        "seconds": round(seconds, 2),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
