"""Whatever leaves a process by its log, its warnings or its last words shows pseudonyms."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from monai_vggunet.errors import DatasetError
from monai_vggunet.privacy import (
    hide_names,
    know_cases,
    private_text,
    private_traceback,
    protect_output,
    redact,
    show_phi,
    shown_case,
    tell,
)

SECRET = "Doe^Jane"


@pytest.fixture
def log() -> io.StringIO:
    """What a handler writes that was added before anything was protected."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("third_party")
    logger.addHandler(handler)
    know_cases([SECRET])
    protect_output()
    yield stream
    logger.removeHandler(handler)


def test_records_of_any_logger_show_pseudonyms(log: io.StringIO) -> None:
    logger = logging.getLogger("third_party")
    logger.warning("case %s of %d at %s", SECRET, 3, Path("/x") / SECRET)
    logger.warning("%(name)s", {"name": SECRET})
    logger.warning(f"{SECRET} in the text itself")
    logger.warning("%s", [SECRET])
    logger.warning("%s", ValueError(SECRET))
    assert SECRET not in log.getvalue()
    assert log.getvalue().count(shown_case(SECRET)) == 6


def test_what_holds_no_name_keeps_its_kind(log: io.StringIO) -> None:
    logging.getLogger("third_party").warning("%.2f %5d %r %s", 0.5, 3, "x", None)
    assert log.getvalue() == "0.50     3 'x' None\n"


def test_the_words_of_our_own_records_stay_where_a_folder_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    know_cases(["moved"])
    protect_output()
    logger = logging.getLogger("monai_vggunet.training.run_folder")
    logger.warning("files were moved to %s", "/moved/previous")
    logger.warning("moved without arguments")
    shown = shown_case("moved")
    assert caplog.messages == [f"files were moved to /{shown}/previous", f"{shown} without arguments"]


def test_tracebacks_in_logs_show_pseudonyms(log: io.StringIO) -> None:
    try:
        raise DatasetError(f"{SECRET} cannot be read")
    except DatasetError:
        logging.getLogger("third_party").exception("failed")
    assert SECRET not in log.getvalue()
    assert f"monai_vggunet.errors.DatasetError: {shown_case(SECRET)} cannot be read" in log.getvalue()


def test_libraries_that_log_headers_are_not_repeated(log: io.StringIO) -> None:
    logger = logging.getLogger("pydicom")
    record = logger.makeRecord("pydicom.x", logging.WARNING, "f", 1, "Invalid value '%s'", ("Other^Name",), None)
    assert "Other" not in record.getMessage()


def test_warnings_show_pseudonyms(log: io.StringIO) -> None:
    said = warnings.formatwarning(UserWarning(f"{SECRET} is odd"), UserWarning, "x.py", 1)
    assert SECRET not in said
    assert said.endswith(f"{shown_case(SECRET)} is odd\n")  # a library may have set how the rest looks
    said = warnings.formatwarning(UserWarning("Other^Name is no UID"), UserWarning, "/lib/pydicom/valuerep.py", 1)
    assert "Other" not in said


def _raised_in_header_code(text: str) -> Exception:
    code = compile(f"def judge(): raise ValueError({text!r})", "/x/site-packages/pydicom/valuerep.py", "exec")
    scope: dict = {}
    exec(code, scope)
    try:
        scope["judge"]()
    except ValueError as error:
        return error
    raise AssertionError


def test_errors_that_may_quote_a_header_say_their_kind_alone() -> None:
    error = _raised_in_header_code("Invalid value 'Other^Name'")
    assert "Other" not in private_text(error)
    wrapped = RuntimeError("applying transform")
    wrapped.__cause__ = error
    said = private_traceback(wrapped)
    assert "Other" not in said
    assert "ValueError: (its text may quote a header; --show-phi" in said
    assert said.endswith("RuntimeError: applying transform\n")
    show_phi()
    assert "Other^Name" in private_traceback(wrapped)


def test_the_traceback_of_a_loaders_worker_keeps_no_text_but_ours() -> None:
    text = (
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        "ValueError: Invalid value 'Other^Name'\n\nmonai_vggunet.errors.DicomReadError: a file is cut short\n"
    )
    said = private_text(RuntimeError(text))
    assert "Other" not in said
    assert "a file is cut short" in said


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize(
    "ending",
    [
        "raise KeyError('Doe^Jane')",
        "threading.Thread(target=lambda: {}['Doe^Jane']).start(); raise OSError(2, 'gone', 'Doe^Jane.nii')",
        "class A:\n    def __del__(self): raise ValueError('Doe^Jane')\nA(); raise ValueError('Doe^Jane')",
        "warnings.warn('Doe^Jane'); raise ValueError('x Doe^Jane')",
    ],
)
def test_the_last_words_of_a_program_show_pseudonyms(ending: str, shown: bool, tmp_path: Path) -> None:
    program = (
        "import threading, warnings\nfrom monai_vggunet.privacy import hide_names, know_cases\n"
        f"know_cases(['Doe^Jane'])\nhide_names({str(tmp_path)!r}, show={shown})\n{ending}\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("    ")]  # the program's own source
    assert ("Doe^Jane" in "\n".join(lines)) == shown
    assert ("case-" in done.stderr) == (not shown)


def test_a_refusal_that_is_handed_over_as_text_is_said_last(tmp_path: Path) -> None:
    """As MONAI's `SaveImage` does, whose writer met a full disk."""
    program = (
        "import traceback\nfrom monai_vggunet.errors import OutputWriteError\n"
        "from monai_vggunet.privacy import hide_names, know_cases\n"
        f"know_cases(['Doe^Jane'])\nhide_names({str(tmp_path)!r})\n"
        "try:\n    raise OutputWriteError('cannot write Doe^Jane/mask.nii.gz: full')\n"
        "except OutputWriteError:\n    text = traceback.format_exc()\n"
        "try:\n    raise RuntimeError('no suitable writer.\\n' + text)\n"
        "except RuntimeError as error:\n    raise RuntimeError('Failed to evaluate') from error\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=60)
    assert re.search(r"\nmonai-vggunet: cannot write case-\w+/mask\.nii\.gz: full\n\Z", done.stderr)


def test_what_the_command_prints_shows_pseudonyms(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    know_cases([SECRET])
    hide_names(tmp_path)
    tell(f"failed: {SECRET}")
    tell(f"refused: {SECRET}", error=True)
    said = capsys.readouterr()
    assert said.out == f"failed: {shown_case(SECRET)}\n"
    assert said.err == f"refused: {redact(SECRET)}\n"
    assert shown_case(SECRET) in (tmp_path / "names.json").read_text()


def test_protecting_twice_changes_nothing() -> None:
    protect_output()
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook, warnings.formatwarning
    protect_output()
    assert (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook, warnings.formatwarning) == before
