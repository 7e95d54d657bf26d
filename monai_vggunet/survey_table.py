"""A survey of DICOM folders as a table to read, or as JSON for other programs."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monai_vggunet.dicom.survey import CaseSurvey, SeriesSurvey, StackSurvey
from monai_vggunet.names import listed_by_reason, readable, readable_lines

__all__ = ["print_survey", "survey_as_json"]


def survey_as_json(cases: list[CaseSurvey]) -> dict[str, Any]:
    """Return `series`, `findings` and `skipped` of all cases as plain lists, each entry with its case's folder.

    Paths are readable, see `names`: what a name holds that is not text is escaped.
    """
    return {
        "series": [_series_as_json(series, readable(case.folder)) for case in cases for series in case.series],
        "findings": [readable(finding) for case in cases for finding in case.findings],
        "skipped": [
            {"case": readable(case.folder), "file": readable(path), "reason": reason}
            for case in cases
            for path, reason in case.skipped
        ],
    }


def print_survey(cases: list[CaseSurvey], console: Console) -> None:
    """Print one table per case, with what would be segmented first in sight, and what is left out below.

    Of many files that are left out for one reason the first are named and the others counted.
    """
    for case in cases:
        if case.series:
            console.print(_table(case))
        for finding in case.findings:
            if "skipped" in finding and case.skipped:
                continue  # they stand below
            console.print(f"• {readable(finding)}", highlight=False, markup=False)
        for line in listed_by_reason(case.skipped):
            console.print(f"left out: {line}", highlight=False, markup=False)
    usable = sum(series.chosen is not None for case in cases for series in case.series)
    console.print(f"{usable} of {len(cases)} case(s) would be segmented, marked → above", style="bold")


def _table(case: CaseSurvey) -> Table:
    table = Table(title=escape(readable(case.folder)), title_justify="left", show_lines=True)
    names = ["", "series", "description", "volume", "size, voxels", "spacing, mm", "findings"]
    patients = any(series.patient for series in case.series)
    for name in names + (["patient"] if patients else []):
        table.add_column(name, overflow="fold", justify="right" if name.startswith("spacing") else "left")
    for series in case.series:
        for stack in series.stacks or (None,):
            first = stack is None or stack.number == 0
            cells = [escape(readable_lines(text)) for text in _cells(series, stack, first)]
            if patients:
                cells.append(escape(readable(" · ".join(series.patient.values()))) if first else "")
            chosen = stack is not None and stack.number == series.chosen
            table.add_row(*cells, style="bold green" if chosen else "" if not series.reason else "dim")
    return table


def _cells(series: SeriesSurvey, stack: StackSurvey | None, first: bool) -> list[str]:
    who = f"{series.series_number} {series.modality}\n{series.series_uid}" if first else ""
    what = series.description if first else ""
    if stack is None:
        return ["", who, what, series.kind, "", "", series.reason]
    chosen = stack.number == series.chosen
    spacing = " × ".join(f"{edge:.4g}" for edge in stack.spacing_mm) if stack.spacing_mm else "-"
    notes = [f"cannot be read: {stack.problem}"] if stack.problem else list(stack.findings)
    if first and series.reason and series.reason != stack.problem:
        notes.insert(0, f"not segmented: {series.reason}")
    elif not chosen and series.chosen is not None:
        notes.insert(0, "not segmented: another volume of the series is the obvious one")
    size = " × ".join(map(str, stack.size))
    return ["→" if chosen else "", who, what, f"{stack.number}: {stack.label}", size, spacing, "\n".join(notes)]


def _series_as_json(series: SeriesSurvey, case: str) -> dict[str, Any]:
    return {
        "case": case,
        "series_uid": series.series_uid,
        "study_uid": series.study_uid,
        "series_number": series.series_number,
        "modality": series.modality,
        "description": series.description,
        "kind": series.kind,
        "files": series.n_files,
        "chosen": series.chosen is not None,
        "chosen_stack": series.chosen,
        "reason": series.reason,
        "stacks": [
            {
                "stack": stack.number,
                "label": stack.label,
                "size": list(stack.size),
                "spacing_mm": None if stack.spacing_mm is None else [round(edge, 6) for edge in stack.spacing_mm],
                "gantry_tilt_deg": round(stack.gantry_tilt_deg, 3),
                "findings": list(stack.findings),
                "problem": stack.problem,
            }
            for stack in series.stacks
        ],
        **({"patient": series.patient} if series.patient else {}),
    }
