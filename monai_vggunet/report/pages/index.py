"""The page that lists the studies of a folder: failed ones first, then flagged ones, then the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monai_vggunet.case_record import DONE, CaseRecord
from monai_vggunet.layout import INDEX, REPORT, SHEET
from monai_vggunet.outputs.class_colors import hex_color
from monai_vggunet.privacy import has_form_of_pseudonym, shown_case, shows_phi
from monai_vggunet.report.pages.links import link_pages, linked_page
from monai_vggunet.report.pages.page import without_folders, write_page

__all__ = ["write_report_index"]


def write_report_index(output_dir: str | os.PathLike[str], records: Mapping[str, CaseRecord]) -> Path:
    """Write `index.html` beside the studies' folders, and links to their pages under their pseudonyms in `reports`.

    The links are needed because the folders bear the cases' names, which no page shows. A link takes no space; on a
    file system without links it is a copy.

    Args:
        output_dir: the folder that holds the studies' folders.
        records: the record of each study by the name of its folder, see `fit_to_show`.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    root = Path(output_dir)
    if not shows_phi():
        link_pages(root, {_case(record, name): root / name for name, record in records.items()})
    rows = [_row(root, name, record) for name, record in records.items()]
    rows.sort(key=lambda row: (not row["error"], not row["flags"], row["case"]))
    n_failed = sum(bool(row["error"]) for row in rows)
    n_flagged = sum(bool(row["flags"]) for row in rows)
    write_page(root / INDEX, "studies.html", rows=rows, n_failed=n_failed, n_flagged=n_flagged)
    return root / INDEX


def _row(root: Path, name: str, record: CaseRecord) -> dict[str, Any]:
    pages = [file for file in (REPORT, SHEET) if (root / name / file).is_file()]
    own = Path(quote(name))
    there = {file: (own / file if shows_phi() else linked_page(_case(record, name), file)).as_posix() for file in pages}
    entropy, failed = record.confidence.get("mean_entropy"), record.status != DONE
    return {
        "case": _case(record, name),
        "page": there.get(REPORT, ""),
        "sheet": there.get(SHEET, ""),
        "modality": record.source.modality,
        "error": without_folders(record.error or "no reason is recorded").splitlines()[0] if failed else "",
        "flags": list(record.flags),
        "findings": [finding.text for finding in record.source.findings],
        "classes": [
            (number, one, f"{amount:,.1f} mL" if unit == "mL" else f"{amount:,} {unit}", hex_color(number))
            for number, (one, amount, unit) in enumerate(record.amounts, start=1)
        ],
        "entropy": "" if entropy is None else f"{entropy:.3f}",
    }


def _case(record: CaseRecord, name: str) -> str:
    case = record.case or name
    return case if record.names_hidden and has_form_of_pseudonym(case) else shown_case(case)
