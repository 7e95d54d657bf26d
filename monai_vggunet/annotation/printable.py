"""A text of an answer or of the log, whatever strangers put into it: readable, and not endless."""

from __future__ import annotations

from monai_vggunet.names import readable_lines

__all__ = ["printable"]

MOST_PRINTED = 2000  # characters
CUT = "..."


def printable(text: str) -> str:
    r"""Return a text with every line readable, and cut short.

    Example:
        >>> print(printable("\x1b[31m"))
        \x1b[31m
    """
    lines = readable_lines(text[: MOST_PRINTED + 1])
    return lines if len(lines) <= MOST_PRINTED else f"{lines[:MOST_PRINTED]}{CUT}"
