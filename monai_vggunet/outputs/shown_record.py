"""A record as a page may show it: with pseudonyms in place of names, or with all names if they are asked for."""

from __future__ import annotations

from dataclasses import replace

from monai_vggunet.case_record import CaseRecord, RecordedFinding
from monai_vggunet.privacy import has_form_of_pseudonym, reveal, shown_case, shows_phi

__all__ = ["fit_to_show"]

WITHHELD = "withheld: this record names files (an earlier version wrote it, or it was written with --show-phi)"


def fit_to_show(record: CaseRecord, folder_name: str) -> CaseRecord:
    """Return a record whose `case`, `findings` and `error` a page may show.

    Args:
        record: as it was read.
        folder_name: of the study's results: the case's real name.
    """
    findings = record.source.findings
    if shows_phi():
        case, error = folder_name, reveal(record.error)
        findings = tuple(replace(finding, text=reveal(finding.text)) for finding in findings)
    elif record.names_hidden and has_form_of_pseudonym(record.case):
        return record
    else:
        case, error = shown_case(folder_name), WITHHELD if record.error else ""
        findings = (RecordedFinding(WITHHELD),) if findings else ()
    return replace(record, case=case, error=error, source=replace(record.source, findings=findings))
