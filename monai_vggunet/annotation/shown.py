"""A stranger's text as an answer or a message may hold it: printable, and cut short."""

from __future__ import annotations

from typing import Any

__all__ = ["MOST_SHOWN", "printable", "shown"]

MOST_SHOWN = 80  # characters of one value
MOST_PRINTED = 2000  # of a whole text
CUT = "..."


def shown(value: Any) -> str:
    """Return a refused value for an answer: in one line, printable, cut short.

    Example:
        >>> shown("x\\n"), len(shown("x" * 1000))
        ("'x\\\\n'", 83)
    """
    if isinstance(value, (str, bytes)):
        value = value[: MOST_SHOWN + 1]  # what is cut off is not written out first
    try:
        text = repr(value)
    except ValueError:  # a whole number with more digits than Python writes out
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return printable(text, MOST_SHOWN)


def printable(text: str, most: int = MOST_PRINTED) -> str:
    """Return a text with what is not printable escaped, line breaks apart, and cut short."""
    cut = text[: most + 1]
    escaped = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in cut)
    return escaped if len(text) <= most and len(escaped) <= most else f"{escaped[:most]}{CUT}"
