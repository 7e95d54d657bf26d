"""Of failures of one kind ten are named, in whatever parts a run has."""

from __future__ import annotations

import logging

import pytest

from monai_vggunet.names import MOST_NAMED
from monai_vggunet.segment.alike_failures import told_in_tens

ARCHIVE, PACS = logging.getLogger("tests.archive"), logging.getLogger("tests.pacs")
STUDIES, CASES = 7, 3


def test_studies_of_a_pacs_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    with told_in_tens(PACS, ARCHIVE):
        for study in range(STUDIES):
            PACS.warning("%s: %s", study, f"its earlier result {study} stays")
            with told_in_tens(ARCHIVE):
                for case in range(CASES):
                    ARCHIVE.warning("%s: %s", case, f"/in/{study}/{case}.dcm is empty")
    said = [record.getMessage() for record in caplog.records]
    assert sum("is empty" in text for text in said) == MOST_NAMED
    assert sum("stays" in text for text in said) == STUDIES
    assert said[-1] == f"{STUDIES * CASES - MOST_NAMED} more failed like those above"


def test_one_run_does_not_count_those_of_the_one_before(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with told_in_tens(ARCHIVE):
            for case in range(MOST_NAMED):
                ARCHIVE.warning("%s: %s", case, "is empty")
    assert len(caplog.records) == 2 * MOST_NAMED
