"""The token of the annotation server, as it is given at its start: one that cannot be guessed, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping

from monai_vggunet.errors import ConfigurationError

__all__ = ["TOKEN_VARIABLE", "chosen_token"]

TOKEN_VARIABLE = "MONAI_VGGUNET_LABEL_TOKEN"
SHORTEST, LONGEST = 16, 4096  # characters; the shortest has the random part of a UUID, the longest fits into a header
FEWEST_DIFFERENT = 5  # of 16 random digits, one token in ten thousand has fewer
HOW_TO_MAKE_ONE = 'make one by: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'


def chosen_token(option: str | None, file: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the token of an option, of a file, or else of the environment; empty where none says one.

    Raises:
        ConfigurationError: two are given, the file cannot be read, or it is no token or one that can be guessed.
    """
    if option is not None and file is not None:
        raise ConfigurationError("--token and --token-file are given; expected one of them")
    if file is not None:
        return _checked(_read(file), f"--token-file {file}")
    if option is not None:
        return _checked(option, "--token")
    given = environment.get(TOKEN_VARIABLE, "")
    return _checked(given, TOKEN_VARIABLE) if given else ""


def _checked(token: str, source: str) -> str:
    """Return a token that can be sent in a header and cannot be guessed.

    Args:
        token: to be checked.
        source: where it came from, for the message; the token is in none.

    Raises:
        ConfigurationError: it is none.
    """
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        text = f"{source} holds no token; expected letters, digits and marks, without spaces; {HOW_TO_MAKE_ONE}"
        raise ConfigurationError(text)
    if not SHORTEST <= len(token) <= LONGEST:
        raise ConfigurationError(
            f"{source} holds a token of {'more than ' if len(token) > LONGEST else ''}{min(len(token), LONGEST)} "
            f"characters; expected {SHORTEST} to {LONGEST}, so that it cannot be guessed; {HOW_TO_MAKE_ONE}"
        )
    if len(set(token)) < FEWEST_DIFFERENT:
        raise ConfigurationError(
            f"{source} holds a token with {len(set(token))} different characters, which can be guessed; "
            f"{HOW_TO_MAKE_ONE}"
        )
    return token


def _read(file: str) -> str:
    """Return a file's text, of an endless one as much as shows that it holds no token."""
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read(2 * LONGEST).strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--token-file {file} cannot be read: {error}") from None
