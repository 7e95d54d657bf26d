"""What a server says, where a message of ours repeats it: printable characters alone, shortened."""

from __future__ import annotations

__all__ = ["LONGEST_SERVER_TEXT", "server_text"]

LONGEST_SERVER_TEXT = 80  # characters: a UID has 64
_SHORTENED = "..."


def server_text(text: object, longest: int = LONGEST_SERVER_TEXT) -> str:
    r"""Return a server's text so that it can neither steer a terminal, nor forge a line of a log, nor flood it.

    What is not printable (control characters and escapes, line breaks, marks that turn the direction of writing around)
    becomes a question mark.

    Args:
        text: whatever the server gave.
        longest: in characters.

    Example:
        >>> server_text("CT\x1b[2J\n")
        'CT?[2J?'
    """
    start = str(text)[: longest + 1]
    shown = "".join(character if character.isprintable() else "?" for character in start)
    return shown if len(shown) <= longest else shown[: longest - len(_SHORTENED)] + _SHORTENED
