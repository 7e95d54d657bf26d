"""Our refusals are found behind what wraps them, and end a program's output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from monai_vggunet.errors import (
    DatasetError,
    DicomReadError,
    ImageReadError,
    PacsError,
    RequestRefusedError,
    VGGUNetError,
    reason_behind,
    refusal_behind,
)


def _wrapped(inner: Exception) -> RuntimeError:
    try:
        try:
            raise inner
        except Exception as error:
            raise RuntimeError("applying transform") from error
    except RuntimeError as error:
        return error


def test_a_refusal_is_found_behind_its_wrapping() -> None:
    refusal = DatasetError("no labels")
    assert refusal_behind(_wrapped(refusal)) is refusal


def test_a_crash_is_no_refusal() -> None:
    assert refusal_behind(_wrapped(KeyError("x"))) is None


def test_the_reason_is_what_failed_not_what_wrapped_it() -> None:
    assert reason_behind(_wrapped(ValueError("the file is cut short\nmore"))) == "the file is cut short"
    assert reason_behind(_wrapped(MemoryError())) == "MemoryError"
    assert reason_behind(_wrapped(KeyError("image"))) == "KeyError: 'image'"
    assert reason_behind(ValueError("\n  below\n")) == "below"
    assert reason_behind(ValueError("plain")) == "plain"
    assert reason_behind(RuntimeError("applying transform <x>")) == "applying transform <x>"


@pytest.mark.parametrize(
    "refusal",
    [
        DatasetError("no labels"),
        DicomReadError("cut short", "damaged-files"),
        ImageReadError("cut short"),
        PacsError("not found", 404),
        RequestRefusedError("too long", 413, {"Retry-After": "1"}),
    ],
)
def test_a_refusal_in_other_words_is_the_same_refusal(refusal: VGGUNetError) -> None:
    other = refusal.reworded("case a: it fails")
    assert type(other) is type(refusal)
    assert str(other) == "case a: it fails"
    assert vars(other) == vars(refusal)
    assert str(refusal) != str(other)


def test_every_refusal_is_also_the_kind_it_refines() -> None:
    for kind in VGGUNetError.__subclasses__():
        assert len(kind.__mro__) > len(VGGUNetError.__mro__) + 1, kind


def test_the_last_line_of_a_stopped_program_is_the_refusal() -> None:
    program = (
        "from monai_vggunet.errors import *\n"
        "from monai_vggunet.privacy import protect_output\n"
        "protect_output(); protect_output()\n"
        "try:\n    raise DatasetError('no labels')\n"
        "except DatasetError as error:\n    raise RuntimeError('Failed to evaluate') from error\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "monai-vggunet: no labels"
    assert done.stderr.count("monai-vggunet: ") == 1
