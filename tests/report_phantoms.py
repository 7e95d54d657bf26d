"""A small study as `segment` leaves it, for the tests of the reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from phantoms import affine_of, ct_array, label_array

from monai_vggunet.atomic_files import sha256_of_file, write_json
from monai_vggunet.case_record import CaseRecord
from monai_vggunet.dicom.findings import FindingKind, pack_findings, warning
from monai_vggunet.outputs import study_record, write_mask

CLASSES = ("background", "liver", "spleen")


def write_result(
    folder: Path,
    labels: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    classes: tuple[str, ...] = CLASSES,
    **changes: Any,
) -> CaseRecord:
    """Write `mask.nii.gz` and `record.json` of a CT, and return the record; `changes` replaces parts of it."""
    labels = label_array() if labels is None else labels
    affine = affine_of("oblique", (0.7, 0.9, 3.0)) if affine is None else affine
    volume = labels if labels.ndim == 3 else labels[..., None]
    findings = [warning(FindingKind.GANTRY_TILT, "gantry tilt 5 degrees")]
    meta = {"modality": "CT", "study_uid": "1.2.3", "series_uid": "1.2.3.4", "findings": pack_findings(findings)}
    model = {"weights_sha256": "ab" * 32, "versions": {"torch": "2.14.1"}}
    confidence = {"mean_entropy": 0.123, "mean_disagreement": None, "views": 1}
    record = study_record(folder.name, meta, volume, affine, classes, model, 1.5, confidence)
    write_mask(folder / "mask.nii.gz", labels, affine)
    files = {"mask.nii.gz": sha256_of_file(folder / "mask.nii.gz")}
    content = {**record.to_json(), "identity": {"settings": {"tta": "none", "reader": {}}}, "files": files, **changes}
    write_json(folder / "record.json", content)
    return CaseRecord.from_json(content)


def ct_image(labels: np.ndarray) -> np.ndarray:
    """Return a CT of a label, `(1, X, Y, Z)`."""
    return ct_array(labels)[None].astype(np.float32)
