"""The token that lets a client in, as clients can send it.

A browser asks its user and sends HTTP Basic (RFC 7617) from then on, with any name and the token as the password. 3D
Slicer's extension asks in a dialog of its own, fetches a "bearer" token for name and password by MONAI Label's route
`/auth/token`, and sends that (RFC 6750): it is given the very token back.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

__all__ = ["CHALLENGE", "holds_token", "is_token", "login_answer"]

CHALLENGE = 'Basic realm="monai-vggunet: any name, the token as password", charset="UTF-8"'


def holds_token(authorization: str, token: str) -> bool:
    """Whether a header `Authorization` has the token, compared in a time that tells nothing of it."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return is_token(text.partition(":")[2], token)
    return scheme.lower() == "bearer" and is_token(credentials.strip(), token)


def is_token(given: str, token: str) -> bool:
    """Whether a text is the token, compared in a time that tells nothing of it."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def login_answer(token: str) -> dict[str, Any]:
    """Return what MONAI Label's `/auth/token` answers to the right password."""
    return {"access_token": token, "token_type": "Bearer"}
