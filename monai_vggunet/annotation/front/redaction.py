"""No user and no password of a URL in a log."""

from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ["redact_logs", "redacted"]

USER_INFO = re.compile(r"(?<=://)[^\s/?#]+@")  # RFC 3986 3.2.1
HIDDEN = "***@"


def redacted(text: str) -> str:
    """Return a text without the user and the password of any URL in it."""
    return USER_INFO.sub(HIDDEN, text)


def redact_logs() -> None:
    """Let every record that is logged in this process from now on, tracebacks included, pass through `redacted`."""
    former = logging.getLogRecordFactory()
    if getattr(former, "redacts", False):
        return

    def record_without_secrets(*args: Any, **options: Any) -> logging.LogRecord:
        record = former(*args, **options)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit: logging itself tells so, later
            message = f"{record.msg} {record.args}"
        clean = redacted(message)
        if clean != message:  # otherwise formatters that look at the arguments find them
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return record

    record_without_secrets.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record_without_secrets)
