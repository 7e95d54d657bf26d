"""`record.json` has one form: what is written is read again, older and foreign records are read or refused clearly."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_vggunet.case_record import DONE, FAILED, CaseRecord, RecordedFinding, is_record
from monai_vggunet.dicom.findings import FindingKind, pack_findings, warning
from monai_vggunet.errors import DatasetError, DicomGeometryError
from monai_vggunet.outputs import failure_record, is_done, study_record

PACKAGE = Path(__file__).parents[1] / "monai_vggunet"


def a_record() -> CaseRecord:
    finding = warning(FindingKind.COPIES_LEFT_OUT, "18 identical copies left out", ["1.2.3"], 18)
    meta = {"modality": "CT", "series_uid": "1.2", "findings": pack_findings([finding])}
    return study_record("case", meta, np.ones((2, 3, 4), np.uint8), np.eye(4), ["background", "liver"], {}, 1.5)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    stored = ({"to": "node", "sop_instance_uid": "1.2", "status": "stored"},)
    whole = dataclasses.replace(a_record(), identity={"input_sha256": "ab"}, files={"mask.nii.gz": "cd"}, stored=stored)
    failed = failure_record("case", DicomGeometryError("a gap", FindingKind.MISSING_SLICES))
    for record in (whole, failed):
        record.write(tmp_path / "record.json")
        assert CaseRecord.read(tmp_path / "record.json") == record


def test_a_record_carries_kinds_beside_texts() -> None:
    content = a_record().to_json()
    assert content["format_version"] == CaseRecord.FORMAT
    (finding,) = content["source"]["findings"]
    assert finding == {
        "text": "18 identical copies left out",
        "kind": "copies-left-out",
        "severity": "warning",
        "count": 18,
        "instances": ["1.2.3"],
    }
    failed = failure_record("case", DicomGeometryError("a gap", FindingKind.MISSING_SLICES)).to_json()
    assert (failed["kind"], failed["refusal"], failed["error"]) == ("DicomGeometryError", "missing-slices", "a gap")
    assert "refusal" not in failure_record("case", DatasetError("no case")).to_json()


def test_empty_entries_of_a_finished_case_stay_and_others_are_left_out() -> None:
    done = CaseRecord("a", DONE).to_json()
    assert {"flags", "volumes_ml", "confidence", "source", "files"} <= done.keys()
    assert not {"error", "kind", "stored", "seconds"} & done.keys()
    assert set(CaseRecord("a", FAILED).to_json()) == {
        *("format_version", "case", "status", "names_hidden", "kind", "error", "files")
    }


def test_a_record_of_the_first_form_is_read(tmp_path: Path) -> None:
    content = a_record().to_json()
    del content["format_version"]
    content["source"]["findings"] = ["one slice"]
    record = CaseRecord.read(written(tmp_path, content))
    assert record.source.findings == (RecordedFinding("one slice"),)
    record.write(tmp_path / "record.json")
    assert CaseRecord.read(tmp_path / "record.json") == record


def test_a_record_of_a_later_form_is_refused_and_is_still_a_result(tmp_path: Path) -> None:
    newest = CaseRecord.FORMAT
    content = a_record().to_json() | {"format_version": newest + 1}
    said = f"format_version is {newest + 1}; monai-vggunet .* reads versions up to {newest}"
    with pytest.raises(DatasetError, match=said):
        CaseRecord.read(written(tmp_path, content))
    assert is_record(content)


@pytest.mark.parametrize("version", ["1", 0, -1, True, None, 1.5, [1]])
def test_a_version_that_is_none_is_refused(tmp_path: Path, version: Any) -> None:
    with pytest.raises(DatasetError, match=r"format_version is .*; expected a whole number"):
        CaseRecord.read(written(tmp_path, {"case": "a", "status": "done", "format_version": version}))


def test_entries_that_are_not_known_stay_when_a_record_is_altered(tmp_path: Path) -> None:
    content = a_record().to_json() | {"ours": {"of": ["another", "program"]}}
    content["source"]["scanner"] = "new"
    dataclasses.replace(CaseRecord.read(written(tmp_path, content)), flags=("look",)).write(tmp_path / "record.json")
    assert json.loads((tmp_path / "record.json").read_text()) == content | {"flags": ["look"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "it is a list; expected an object"),
        (
            {"source": {"findings": [{"kind": "x"}]}},
            "source.findings is a list; .* an object with kind, severity, text",
        ),
        ({"source": {"findings": [{"kind": "x", "severity": "y", "text": "z", "count": -1}]}}, "source.findings is"),
        ({"source": {"findings": [{"kind": "x", "severity": "y", "text": "z", "instances": 1}]}}, "source.findings is"),
        ({"stored": [{"to": "node"}]}, "stored is a list; .* an object with to, sop_instance_uid, status"),
        ({"names_hidden": "yes"}, "names_hidden is text; expected true or false"),
        ({"refusal": 5}, "refusal is a number; expected text"),
    ],
)
def test_what_is_no_record_is_refused_by_its_field(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(DatasetError, match=f"is not a record as .*{said}"):
        CaseRecord.read(written(tmp_path, content))


def test_a_record_without_files_is_no_finished_result(tmp_path: Path) -> None:
    CaseRecord("a", DONE).write(tmp_path / "record.json")
    assert not is_done(tmp_path, {})


def test_nobody_else_reads_or_writes_records() -> None:
    """Whoever names the file hands it to this module."""
    doing = re.compile(r"\b(?:read_json|write_json|parse_json|loads|dumps?|read_text|write_text)\b")
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                call = ast.unparse(node)
                names_record = re.search(r"\bRECORD\b|\brecord_file\b|record\.json", call)
                assert not (names_record and doing.search(ast.unparse(node.func))), f"{path.name}: {call}"
