"""The names of HTTP statuses for messages."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["named_status"]


def named_status(status: int) -> str:
    """Return an HTTP status with its standard name (RFC 9110) rather than the server's own words.

    Example:
        >>> named_status(404)
        '404 Not Found'
    """
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
