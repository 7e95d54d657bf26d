"""A server's text as our messages repeat it: readable, and shortened."""

from __future__ import annotations

from monai_vggunet.names import readable

__all__ = ["LONGEST_SERVER_TEXT", "server_text"]

LONGEST_SERVER_TEXT = 80  # characters: a UID has 64
_SHORTENED = "..."


def server_text(text: object, longest: int = LONGEST_SERVER_TEXT) -> str:
    r"""Return a server's text in a form that can neither control a terminal, nor forge a line of a log, nor flood it.

    Args:
        text: whatever the server sent.
        longest: in characters.

    Example:
        >>> print(server_text("CT\x1b[2J\n"))
        CT\x1b[2J\n
        >>> server_text("CT" * 1000, longest=10)
        'CTCTCTC...'
    """
    start = str(text)[: longest + 1]
    shown = readable(start)
    return shown if len(shown) <= longest else shown[: longest - len(_SHORTENED)] + _SHORTENED
