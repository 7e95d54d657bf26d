"""Errors as logs and terminals may show them: our own texts with pseudonyms, others only where they quote no header."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

from monai_vggunet.errors import VGGUNetError, quotes_headers, refusal_behind
from monai_vggunet.privacy.known_names import redact
from monai_vggunet.privacy.setting import VARIABLE, shows_phi

__all__ = ["private_text", "private_traceback", "refusal_text"]

WITHHELD = f"(its text may quote a header; --show-phi or {VARIABLE}=1 shows it)"
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
# The last line of a traceback within a text, as a worker of a data loader hands it over.
_EMBEDDED = re.compile(r"^((?:\w+\.)*\w+(?:Error|Exception)): (.*)$", re.MULTILINE)
_OURS = f"{VGGUNetError.__module__}."


def private_text(error: BaseException) -> str:
    """Return what an error says, with pseudonyms; nothing of an error that arose where headers are handled."""
    if shows_phi():
        return str(error)
    if quotes_headers(error):
        return WITHHELD
    text = str(error)
    if "Original Traceback" in text:
        text = _EMBEDDED.sub(lambda line: line[0] if line[1].startswith(_OURS) else f"{line[1]}: {WITHHELD}", text)
    return redact(text)


def private_traceback(error: BaseException) -> str:
    """Return an error with its traceback and those of its causes, in Python's form, without names and header text."""
    return "".join(_parts(error, set()))


def refusal_text(error: BaseException) -> str:
    """Return what our own error says that is behind another one, with pseudonyms; empty where there is none.

    MONAI's `SaveImage` hands its writers' errors over as tracebacks within a text.
    """
    refusal = refusal_behind(error)
    if refusal is not None:
        return private_text(refusal)
    seen: set[int] = set()
    found: list[str] = []
    behind: BaseException | None = error
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        found += [line[2] for line in _EMBEDDED.finditer(str(behind)) if line[1].startswith(_OURS)]
        behind = behind.__cause__ or behind.__context__
    return redact(found[-1]) if found else ""


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _parts(before, seen)
        yield _CAUSE if error.__cause__ is not None else _CONTEXT
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    kind, text = type(error), private_text(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    yield f"{name}: {text}\n" if text else f"{name}\n"
