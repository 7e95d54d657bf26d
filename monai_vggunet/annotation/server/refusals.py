"""Our refusals as answers that a client can show: status and text instead of a bare 500."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from monailabel.interfaces.exception import MONAILabelException

from monai_vggunet.annotation.front.room import FULL, NO_ROOM
from monai_vggunet.annotation.printable import printable
from monai_vggunet.errors import refusal_behind
from monai_vggunet.privacy import redact

__all__ = ["BAD_CONTENT", "CONFLICT", "NOT_FOUND", "refuse", "refusals_as_answers"]

NOT_FOUND, CONFLICT, BAD_CONTENT, FAILED = 404, 409, 422, 500  # RFC 9110

_log = logging.getLogger(__name__)


def refuse(status: int, text: str) -> HTTPException:
    """Return the exception that makes the server answer `{"detail": text}` with this status, studies by pseudonyms."""
    return HTTPException(status_code=status, detail=printable(redact(text)))


@contextmanager
def refusals_as_answers() -> Iterator[None]:
    """Turn whatever is raised within into an answer: what we refuse into 422, the unforeseen into 500 with a word."""
    try:
        yield
    except HTTPException:
        raise
    except Exception as error:
        refusal = refusal_behind(error)
        if refusal is not None:
            raise refuse(BAD_CONTENT, str(refusal)) from error
        if isinstance(error, OSError) and error.errno in FULL:
            raise refuse(NO_ROOM, "the server's disk is full: ask whoever runs it to free some room") from error
        if isinstance(error, MONAILabelException):
            raise refuse(BAD_CONTENT, error.msg) from error
        if isinstance(error, FileNotFoundError):
            _log.warning("a file is gone: %s", error.filename)
            raise refuse(NOT_FOUND, "a file of the study is gone; the server's log says which") from error
        _log.exception("nobody foresaw this")
        text = f"failed in a way nobody foresaw ({type(error).__name__}); the server's log has more"
        raise refuse(FAILED, text) from error
