"""The page that lists the studies of a folder: failures first, then what is flagged, then the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monai_vggunet.outputs.class_colors import hex_color
from monai_vggunet.outputs.report_page import without_folders, write_page
from monai_vggunet.outputs.study_report import REPORT_NAME, SHEET_NAME

__all__ = ["write_report_index"]


def write_report_index(output_dir: str | os.PathLike[str], records: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `index.html` beside the studies' folders.

    Args:
        output_dir: the folder that holds them.
        records: name of a study's folder -> its record.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    root = Path(output_dir)
    rows = [_row(root, name, record) for name, record in records.items()]
    rows.sort(key=lambda row: (not row["error"], not row["flags"], row["case"]))
    n_failed = sum(bool(row["error"]) for row in rows)
    n_flagged = sum(bool(row["flags"]) for row in rows)
    write_page(root / "index.html", "index.html", rows=rows, n_failed=n_failed, n_flagged=n_flagged)
    return root / "index.html"


def _row(root: Path, name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    there = {file: f"{quote(name)}/{file}" for file in (REPORT_NAME, SHEET_NAME) if (root / name / file).is_file()}
    source, entropy = record.get("source", {}), record.get("confidence", {}).get("mean_entropy")
    failed = record.get("status") != "done"
    return {
        "case": str(record.get("case", name)),
        "page": there.get(REPORT_NAME, ""),
        "sheet": there.get(SHEET_NAME, ""),
        "modality": source.get("modality", ""),
        "error": without_folders(str(record.get("error") or "no reason is recorded")).splitlines()[0] if failed else "",
        "flags": list(record.get("flags", [])),
        "findings": list(source.get("findings", [])),
        "volumes": [
            (number, one, f"{volume:,.1f}", hex_color(number))
            for number, (one, volume) in enumerate(record.get("volumes_ml", {}).items(), start=1)
        ],
        "entropy": "" if entropy is None else f"{entropy:.3f}",
    }
