"""A survey of DICOM folders, as a table for people or as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monai_vggunet.dicom.findings import Finding, FindingKind, Severity
from monai_vggunet.dicom.headers.records import ImageKind, SkippedFile
from monai_vggunet.dicom.survey import CaseSurvey, SeriesSurvey, StackSurvey
from monai_vggunet.names import counted, listed, readable, readable_lines
from monai_vggunet.privacy import clean_text, clean_uid, redact, shows_phi

__all__ = ["print_survey", "survey_as_json"]

# A line fits 80 columns: only the description is cut.
_COLUMNS: dict[str, dict[str, Any]] = {
    "": {"width": 1},
    "number": {"min_width": 5, "justify": "right", "no_wrap": True},
    "modality": {"min_width": 8, "no_wrap": True},
    "description": {"ratio": 1, "no_wrap": True, "overflow": "ellipsis"},
    "size": {"min_width": 11, "no_wrap": True},
    "spacing": {"min_width": 19, "no_wrap": True},
    "state": {"width": 10, "no_wrap": True},
}
_INDENT = 17  # of the notes about a series: below its description
_MOST_REASONS = 3  # named in one line, for one kind of file
_STATES = {ImageKind.LOCALIZER: "localizer", ImageKind.SECONDARY_CAPTURE: "screenshot"}
# Findings that the table shows elsewhere: files that are left out in lines of their own, the kind of a series as the
# state in its line.
_SAID_BELOW = {FindingKind.FILES_LEFT_OUT, FindingKind.DAMAGED_FILES}
_SAID_ELSEWHERE = {FindingKind.LOCALIZER_OR_CAPTURE}


def survey_as_json(cases: list[CaseSurvey]) -> dict[str, Any]:
    """Return `series`, `findings` and `skipped` of all cases as plain lists, each entry with its case's folder.

    Every text for people has the kind of finding beside it, see `FindingKind`.

    Folders are numbered, files have pseudonyms and descriptions are cleaned, unless names are asked for (`--show-phi`).
    Paths are readable, see `names`: bytes of a name that are no text are escaped.
    """
    names = _case_names(cases)
    return {
        "series": [_series_as_json(series, name) for case, name in zip(cases, names) for series in case.series],
        "findings": [
            {"case": name, **_as_json(finding)} for case, name in zip(cases, names) for finding in case.findings
        ],
        "skipped": [
            {"case": name, "file": readable(redact(str(file.path))), "kind": file.kind, "reason": redact(file.reason)}
            for case, name in zip(cases, names)
            for file in case.skipped
        ],
    }


def print_survey(cases: list[CaseSurvey], console: Console) -> None:
    """Print a line per series under its case, marked if it would be segmented, and below it anything odd about it.

    Names of patients are hidden as in `survey_as_json`. Files that are left out are listed by kind: the first are named
    and the others counted; if names are hidden, all are counted.
    """
    for case, name in zip(cases, _case_names(cases)):
        console.print(name, style="bold", highlight=False, markup=False)
        if case.series:
            console.print(_lines(case), highlight=False)
        for finding in case.findings:
            if finding.kind in _SAID_BELOW and finding.severity is not Severity.REFUSED:
                continue
            console.print(f"• {readable(redact(finding.text))}", highlight=False, markup=False)
        for line in _left_out(case):
            console.print(f"left out: {line}", highlight=False, markup=False)
    usable = sum(series.chosen is not None for case in cases for series in case.series)
    console.print(f"{usable} of {counted(len(cases), 'case')} would be segmented, marked → above", style="bold")
    if not shows_phi():
        console.print("Names of folders and files and other free text are hidden: --show-phi shows them", style="dim")


def _case_names(cases: list[CaseSurvey]) -> list[str]:
    return [readable(case.folder) if shows_phi() else f"case {number}" for number, case in enumerate(cases, start=1)]


def _left_out(case: CaseSurvey) -> list[str]:
    """Return a line for every kind of file that is left out, with its reasons."""
    by_kind: dict[FindingKind, list[SkippedFile]] = {}
    for file in case.skipped:
        by_kind.setdefault(file.kind, []).append(file)
    lines = []
    for files in by_kind.values():
        names = listed(file.path.name for file in files) if shows_phi() else counted(len(files), "file")
        reasons = dict.fromkeys(redact(file.reason) for file in files)
        lines.append(f"{names}: {listed(reasons, _MOST_REASONS, '; ')}")
    return lines


def _lines(case: CaseSurvey) -> Table:
    """Return a line per series, or per stack if it has several, with notes below it."""
    outer = Table.grid(expand=True)
    for series in case.series:
        for stack in series.stacks or (None,):
            chosen = stack is not None and stack.number == series.chosen
            style = "bold green" if chosen else "" if not series.reason else "dim"
            line = Table.grid(padding=(0, 1, 0, 0), expand=True)
            for name, how in _COLUMNS.items():
                line.add_column(name, **how)
            line.add_row(*(escape(readable_lines(text)) for text in _cells(series, stack)), style=style)
            outer.add_row(line)
            for note in _notes(series, stack, case.findings):
                outer.add_row(
                    Padding(Text(readable_lines(note), overflow="fold"), (0, 0, 0, _INDENT)),
                    style="" if chosen else "dim",
                )
    return outer


def _cells(series: SeriesSurvey, stack: StackSurvey | None) -> list[str]:
    """Return marker, number, modality, description, size, spacing and state of a series or one of its stacks."""
    what = clean_text(series.description)
    if stack is None:
        return ["", series.series_number, clean_text(series.modality), what, "", "", "no image"]
    chosen = stack.number == series.chosen
    number = series.series_number if len(series.stacks) == 1 else f"{series.series_number}.{stack.number}"
    state = (
        "segmented" if chosen else "unreadable" if stack.problem else _STATES.get(ImageKind(series.kind), "not chosen")
    )
    spacing = "×".join(f"{edge:.3g}" for edge in stack.spacing_mm) + " mm" if stack.spacing_mm else ""
    size = "×".join(map(str, stack.size))
    return ["→" if chosen else "", number, clean_text(stack.modality), what, size, spacing, state]


def _notes(series: SeriesSurvey, stack: StackSurvey | None, of_case: Collection[Finding]) -> list[str]:
    """Return why a stack is not taken and what is odd about it, each once, without what the whole case's lines say."""
    if stack is None:
        return []
    notes = [f"stack {stack.number}: {stack.label}"] if len(series.stacks) > 1 else []
    if series.patient and stack.number == 0:
        notes.append("patient: " + " · ".join(filter(None, series.patient.values())))
    if stack.problem:
        notes.append(stack.problem.text)
    elif series.reason and stack.number == 0 and series.reason.kind not in _SAID_ELSEWHERE | _kinds(of_case):
        notes.append(series.reason.text)
    return [redact(text) for text in [*notes, *_one_per_kind(stack.findings)]]


def _kinds(findings: Collection[Finding]) -> set[FindingKind]:
    return {finding.kind for finding in findings}


def _one_per_kind(findings: Collection[Finding]) -> list[str]:
    """Return the first text of each kind, with the number of findings of that kind."""
    counts = Counter(finding.kind for finding in findings)
    texts: dict[FindingKind, str] = {}
    for finding in findings:
        texts.setdefault(finding.kind, finding.text)
    return [text + (f" ({counts[kind]} times)" if counts[kind] > 1 else "") for kind, text in texts.items()]


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
        "reason": _text(series.reason),
        "reason_kind": _kind(series.reason),
        "stacks": [
            {
                "stack": stack.number,
                "label": stack.label,
                "modality": clean_text(stack.modality),
                "size": list(stack.size),
                "spacing_mm": None if stack.spacing_mm is None else [round(edge, 6) for edge in stack.spacing_mm],
                "gantry_tilt_deg": round(stack.gantry_tilt_deg, 3),
                "findings": [_as_json(finding) for finding in stack.findings],
                "problem": _text(stack.problem),
                "problem_kind": _kind(stack.problem),
                "problem_instances": [clean_uid(uid) for uid in stack.problem.instances] if stack.problem else [],
            }
            for stack in series.stacks
        ],
        **({"patient": series.patient} if series.patient else {}),
    }


def _as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain values, without empty ones."""
    content: dict[str, Any] = {
        "kind": finding.kind,
        "severity": finding.severity,
        "text": readable(redact(finding.text)),
        "count": finding.count,
        "instances": [clean_uid(uid) for uid in finding.instances],
        "displaced_mm": round(finding.displaced_mm, 6),
    }
    return {name: value for name, value in content.items() if value or name == "text"}


def _text(finding: Finding | None) -> str:
    return redact(finding.text) if finding else ""


def _kind(finding: Finding | None) -> str:
    return finding.kind if finding else ""
