"""A record as a page may show it: with pseudonyms, whatever names it holds; with all names if they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_vggunet.privacy import has_form_of_pseudonym, reveal, shown_case, shows_phi

__all__ = ["fit_to_show"]

WITHHELD = "withheld: this record names files (it is of an earlier version, or was written with --show-phi)"


def fit_to_show(record: Mapping[str, Any], folder_name: str) -> dict[str, Any]:
    """Return a record whose `case`, `findings` and `error` a page may show.

    Args:
        record: see `study_record`.
        folder_name: of the study's results, which is the case's own name.
    """
    source = dict(record.get("source") or {})
    findings = [str(finding) for finding in source.get("findings") or []]
    error = str(record.get("error") or "")
    case = str(record.get("case", ""))
    if shows_phi():
        case, error, findings = folder_name, reveal(error), [reveal(finding) for finding in findings]
    elif not (record.get("names_hidden") and has_form_of_pseudonym(case)):
        case = shown_case(folder_name)
        error, findings = WITHHELD if error else "", [WITHHELD] if findings else []
    shown = {**record, "case": case}
    if "error" in record:
        shown["error"] = error
    if source:
        shown["source"] = {**source, "findings": findings}
    return shown
