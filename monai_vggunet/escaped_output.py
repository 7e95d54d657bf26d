"""Characters that a terminal lacks, as one in an ASCII locale does: they are escaped, and stop no run."""

from __future__ import annotations

import sys
from io import TextIOWrapper

__all__ = ["escape_missing_characters"]


def escape_missing_characters() -> None:
    """Let standard output and error write what their encoding lacks as `\\xf6`; handlers of the log that use them too.

    Calling it again changes nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
