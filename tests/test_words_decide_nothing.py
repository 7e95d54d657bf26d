"""What findings, refusals and reasons say is for people: whatever the words are, the program does the same."""

from __future__ import annotations

import ast
import inspect
import io
import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_phantoms import series, write_seg
from dicom_phantoms import CORONAL, SEGMENTATION_CLASS, write_object, write_series
from phantoms import ct_array, label_array
from rich.console import Console

from monai_vggunet.cli.survey_table import print_survey, survey_as_json
from monai_vggunet.dicom import FindingKind, read_volume, scan_folder
from monai_vggunet.dicom import findings as findings_module
from monai_vggunet.dicom.findings import Finding
from monai_vggunet.dicom.headers.records import SkippedFile
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import DicomRefusedError, GridMismatchError, refusal_behind
from monai_vggunet.transforms import loading

PACKAGE = Path(inspect.getfile(findings_module)).parents[1]
MODULES = sorted(PACKAGE.rglob("*.py"))
# What the sentences are replaced by; the second one says all at once what code once looked for.
OTHER_WORDS = ["x", "damaged file(s) skipped, resampled: the affine displaces slices by up to 99 mm"]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes every finding, refusal of DICOM and reason of a file say the same words."""

    def say(words: str) -> None:
        for kind, name, place in ((Finding, "text", 2), (SkippedFile, "reason", 2), (DicomRefusedError, "text", 0)):
            monkeypatch.setattr(kind, "__init__", _saying(words, kind.__init__, name, place))

    return say


def _saying(words: str, make: Callable[..., None], name: str, place: int) -> Callable[..., None]:
    def made(self: object, *args: Any, **named: Any) -> None:
        if name in named:
            named[name] = words
        else:
            args = (*args[:place], words, *args[place + 1 :])
        make(self, *args, **named)

    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return studies with nearly everything that is found by headers."""
    good = tmp_path / "in" / "good"
    files = write_series(good, series_uid="1.2.3", SeriesDescription="damaged hip, two skipped", shear_mm=0.5)
    (good / "copy").write_bytes(files[1].read_bytes())
    (good / "notes.txt").write_text("text")
    (good / "empty").touch()
    write_series(good / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], orientation=CORONAL)
    write_object(good / "seg.dcm", SEGMENTATION_CLASS, "SEG")
    write_series(tmp_path / "in" / "gap", offsets_mm=[0.0, 2.5, 7.5, 10.0])
    write_series(tmp_path / "in" / "two", prefix="A_")
    write_series(tmp_path / "in" / "two", prefix="B_")
    broken = write_series(tmp_path / "in" / "cut", series_uid="1.2.4")
    broken[1].write_bytes(broken[1].read_bytes()[:-4])
    return tmp_path / "in"


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_words(v) for k, v in value.items() if k not in ("text", "reason", "problem")}
    return [_without_words(each) for each in value] if isinstance(value, list) else value


def _table(folder: Path) -> str:
    console = Console(record=True, width=2000, file=io.StringIO())
    print_survey(survey(folder), console)
    return console.export_text()


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_inspect_tells_programs_the_same(folder: Path, say: Callable[[str], None], words: str) -> None:
    before = survey_as_json(survey(folder))
    kinds = {finding["kind"] for finding in before["findings"]} | {entry["reason_kind"] for entry in before["series"]}
    assert {"damaged-files", "files-left-out", "several-volumes", "missing-slices", "truncated-pixels"} <= kinds
    assert all(finding["text"] and finding["severity"] for finding in before["findings"])
    say(words)
    after = survey_as_json(survey(folder))
    assert after["findings"][0]["text"] == words
    assert _without_words(after) == _without_words(before)


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_inspect_prints_as_many_lines(folder: Path, say: Callable[[str], None], words: str) -> None:
    before = _table(folder)
    assert "several image volumes, none is the obvious one" in before
    assert "whose series is unknown" not in before, "each file has a line of its own"
    say(words)
    assert len(_table(folder).splitlines()) == len(before.splitlines())


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_findings_are_logged_at_the_level_of_their_kind(
    folder: Path, say: Callable[[str], None], caplog: pytest.LogCaptureFixture, words: str
) -> None:
    def levels() -> list[int]:
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="monai_vggunet"):
            read_volume(scan_folder(folder / "good").choose_series(series_uid="1.2.3"))
        return [record.levelno for record in caplog.records]

    before = levels()
    assert set(before) == {logging.INFO, logging.WARNING}
    say(words)
    assert levels() == before


@pytest.mark.parametrize("words", OTHER_WORDS)
def test_a_volume_is_read_the_same(tmp_path: Path, say: Callable[[str], None], words: str) -> None:
    write_series(tmp_path, offsets_mm=[0.0, 2.5, 7.5, 10.0], shear_mm=0.5)
    selection = scan_folder(tmp_path).choose_series()
    before = [read_volume(selection, on_gap="resample", on_tilt=tilt).array for tilt in ("keep", "resample")]
    say(words)
    after = [read_volume(selection, on_gap="resample", on_tilt=tilt).array for tilt in ("keep", "resample")]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("words", OTHER_WORDS)
@pytest.mark.parametrize(("last_mm", "refused"), [(30.0, True), (12.9, False)])
def test_a_label_over_gaps_is_refused_by_the_distance(
    tmp_path: Path, say: Callable[[str], None], words: str, last_mm: float, refused: bool
) -> None:
    label = label_array((20, 16, 6))
    stored = ct_array(label).transpose(2, 1, 0)
    files = series(tmp_path / "image", stored, offsets_mm=[0.0, 2.5, 5.0, 7.5, 10.0, last_mm])
    write_seg(tmp_path / "seg.dcm", files, label.transpose(2, 1, 0), names=("Liver", "Spleen"))
    case = {"image": str(tmp_path / "image"), "label": str(tmp_path / "seg.dcm")}
    say(words)
    load = loading(segments={"liver": 1, "spleen": 2}, reader_options={"on_gap": "keep"})
    if not refused:
        np.testing.assert_array_equal(load(case)["label"].numpy()[0], label)
        return
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        load(case)
    refusal = refusal_behind(caught.value)
    assert isinstance(refusal, GridMismatchError)
    assert "were kept with gaps" in str(refusal)


# What can be seen in the code itself


def _trees(*places: str) -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        if not places or name.startswith(places):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_every_kind_is_made_somewhere() -> None:
    """The modules that only ask for kinds are left aside."""
    named = {
        node.attr
        for name, tree in _trees("dicom/", "data/", "transforms/volume_checks.py")
        if name != "dicom/findings.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "FindingKind"
    }
    assert named == {kind.name for kind in FindingKind}


REFUSALS = {"DicomGeometryError", "DicomPixelError", "SeriesSelectionError"}


def _refusals_without_kind(tree: ast.Module) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in REFUSALS
        and len(node.args) + len(node.keywords) < 2
    ]


def test_every_refusal_of_a_series_has_a_kind() -> None:
    """Labels are refused without one."""
    for name, tree in _trees("dicom/"):
        if not name.startswith("dicom/annotations/"):
            assert _refusals_without_kind(tree) == [], name
    assert _refusals_without_kind(ast.parse("raise DicomGeometryError('a gap')")) == [1]


# Attributes that hold what is said of a finding or a file, and what is asked of texts.
TEXTS = {"text", "reason", "problem"}
ASKED = {"startswith", "endswith", "find", "count", "index", "match", "search", "fullmatch", "findall", "finditer"}
# Words of libraries, which say it in no other way: MONAI wraps what failed, a worker of a data loader hands over a
# traceback as text, and engines run out of memory with plain errors.
LIBRARIES_WORDS = {
    ("errors.py", "reason_behind"),
    ("privacy/tracebacks.py", "private_text"),
    ("inference/slice_inferer.py", "_after_memory_ran_out"),
}


def _is_text(node: ast.AST, texts: Collection[str] = ()) -> bool:
    """Whether an expression is the text of a finding or of an error: `finding.text`, `str(error)`, or a name for it."""
    if isinstance(node, ast.Attribute):
        return node.attr in TEXTS
    if isinstance(node, ast.Name):
        return node.id in ("finding", "problem", "reason", "refusal", *texts)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):  # of `text.lower()`, `text.splitlines()` and the like
        return _is_text(node.func.value, texts)
    of_what = ast.unparse(node.args[0]) if node.args else ""
    said = of_what in ("error", "exception", "finding", "refusal", "e") or "findings" in of_what
    return said and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr")


def _asks_words(tree: ast.AST) -> list[int]:
    """Return the lines in which something is decided by the words of a finding or an error."""
    texts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.NamedExpr)) and _is_text(node.value, texts):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            texts |= {target.id for target in targets if isinstance(target, ast.Name)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            words = any(isinstance(op, (ast.In, ast.NotIn, ast.Eq, ast.NotEq)) for op in node.ops)
            asked = words and _is_any_text((node.left, *node.comparators), texts)
        else:
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            asked = is_call and node.func.attr in ASKED and _is_any_text((node.func.value, *node.args), texts)
        found += [node.lineno] if asked else []
    return found


def _is_any_text(nodes: Collection[ast.AST], texts: Collection[str]) -> bool:
    return any(_is_text(node, texts) for node in nodes)


@pytest.mark.parametrize(
    "code",
    [
        "'damaged' in finding",
        "'damaged' in finding.text",
        "'skipped' not in str(error).lower()",
        "finding.text == 'a gap'",
        "str(error).startswith('no space')",
        "re.search('gap', finding.text)",
        "_PATTERN.findall(str(error))",
        "file.reason != 'empty'",
        "any('not known' in reason for reason in reasons.values())",
        "_PATTERN.findall(str(image.meta.get('findings') or ''))",
        "text = str(error).lower(); any(word in text for word in WORDS)",
        "(said := finding.text) and said.startswith('a gap')",
    ],
)
def test_the_look_into_the_code_sees_every_form(code: str) -> None:
    assert _asks_words(ast.parse(code)) == [1]
    assert _asks_words(ast.parse("finding.kind in KINDS and finding.severity is not Severity.NOTE")) == []


def test_nothing_is_decided_by_words() -> None:
    asking = []
    for name, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (name, node.name) not in LIBRARIES_WORDS:
                asking += [f"{name}:{line} in {node.name}" for line in _asks_words(node)]
    assert asking == []
