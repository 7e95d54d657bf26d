"""A survey of DICOM folders as a table to read, or as JSON for other programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monai_vggunet.dicom.survey import CaseSurvey, SeriesSurvey, StackSurvey
from monai_vggunet.names import MOST_NAMED, listed_by_reason, readable, readable_lines
from monai_vggunet.privacy import clean_text, clean_uid, redact, shows_phi

__all__ = ["print_survey", "survey_as_json"]


def survey_as_json(cases: list[CaseSurvey]) -> dict[str, Any]:
    """Return `series`, `findings` and `skipped` of all cases as plain lists, each entry with its case's folder.

    Folders are numbered, files have pseudonyms and descriptions are cleaned, unless names are asked for (`--show-phi`).
    Paths are readable, see `names`: what a name holds that is not text is escaped.
    """
    names = _case_names(cases)
    return {
        "series": [_series_as_json(series, name) for case, name in zip(cases, names) for series in case.series],
        "findings": [readable(redact(finding)) for case in cases for finding in case.findings],
        "skipped": [
            {"case": name, "file": readable(redact(str(path))), "reason": redact(reason)}
            for case, name in zip(cases, names)
            for path, reason in case.skipped
        ],
    }


def print_survey(cases: list[CaseSurvey], console: Console) -> None:
    """Print one table per case, with what would be segmented first in sight, and what is left out below.

    What can name a patient is hidden as in `survey_as_json`. Of many files that are left out for one reason the first
    are named and the others counted; where names are hidden all are counted.
    """
    for case, name in zip(cases, _case_names(cases)):
        if case.series:
            console.print(_table(case, name))
        for finding in case.findings:
            if "skipped" in finding and case.skipped:
                continue  # the files stand below
            console.print(f"• {readable(redact(finding))}", highlight=False, markup=False)
        for line in _left_out(case):
            console.print(f"left out: {line}", highlight=False, markup=False)
    usable = sum(series.chosen is not None for case in cases for series in case.series)
    console.print(f"{usable} of {len(cases)} case(s) would be segmented, marked → above", style="bold")
    if not shows_phi():
        console.print("Names of folders and files and other free text are hidden: --show-phi shows them", style="dim")


def _case_names(cases: list[CaseSurvey]) -> list[str]:
    return [readable(case.folder) if shows_phi() else f"case {number}" for number, case in enumerate(cases, start=1)]


def _left_out(case: CaseSurvey) -> list[str]:
    if shows_phi():
        return listed_by_reason(case.skipped)
    counts = list(Counter(readable(redact(reason)) for _, reason in case.skipped).items())
    rest = [count for _, count in counts[MOST_NAMED:]]
    lines = [f"{count} file(s): {reason}" for reason, count in counts[:MOST_NAMED]]
    return [*lines, f"{sum(rest)} more file(s), for {len(rest)} other reasons"] if rest else lines


def _table(case: CaseSurvey, name: str) -> Table:
    table = Table(title=escape(name), title_justify="left", show_lines=True)
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
    modality, uid = clean_text(series.modality), clean_uid(series.series_uid)
    who = f"{series.series_number} {modality}\n{uid}" if first else ""
    what = clean_text(series.description) if first else ""
    if stack is None:
        return ["", who, what, series.kind, "", "", redact(series.reason)]
    chosen = stack.number == series.chosen
    spacing = " × ".join(f"{edge:.4g}" for edge in stack.spacing_mm) if stack.spacing_mm else "-"
    notes = [f"cannot be read: {stack.problem}"] if stack.problem else list(stack.findings)
    if first and series.reason and series.reason != stack.problem:
        notes.insert(0, f"not segmented: {series.reason}")
    elif not chosen and series.chosen is not None:
        notes.insert(0, "not segmented: another volume of the series is the obvious one")
    size = " × ".join(map(str, stack.size))
    return ["→" if chosen else "", who, what, f"{stack.number}: {stack.label}", size, spacing, redact("\n".join(notes))]


def _series_as_json(series: SeriesSurvey, case: str) -> dict[str, Any]:
    return {
        "case": case,
        "series_uid": clean_uid(series.series_uid),
        "study_uid": clean_uid(series.study_uid),
        "series_number": series.series_number,
        "modality": clean_text(series.modality),
        "description": clean_text(series.description),
        "kind": series.kind,
        "files": series.n_files,
        "chosen": series.chosen is not None,
        "chosen_stack": series.chosen,
        "reason": redact(series.reason),
        "stacks": [
            {
                "stack": stack.number,
                "label": stack.label,
                "size": list(stack.size),
                "spacing_mm": None if stack.spacing_mm is None else [round(edge, 6) for edge in stack.spacing_mm],
                "gantry_tilt_deg": round(stack.gantry_tilt_deg, 3),
                "findings": [redact(finding) for finding in stack.findings],
                "problem": redact(stack.problem),
            }
            for stack in series.stacks
        ],
        **({"patient": series.patient} if series.patient else {}),
    }
