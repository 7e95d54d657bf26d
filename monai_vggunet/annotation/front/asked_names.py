"""What a request calls a study, kept out of the log while it is answered: the study may not be here, or not yet."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from monai_vggunet.privacy import is_pseudonym
from monai_vggunet.privacy.free_text import LEFT_OUT, is_harmless, split_ending
from monai_vggunet.privacy.known_names import written_forms

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["AskedNames", "without_asked_names"]

PARAMETERS = frozenset({"image", "id", "label"})  # of MONAI Label's routes, which name studies and labels
# RFC 7578 4.2 and RFC 6266, and as Python shows it.
UPLOADED = re.compile(r"""filename(?:\*=[^\s;]+|=(['"])(?P<name>.*?)\1|=[^\s;'"]+)""")

_asked: ContextVar[tuple[str, ...]] = ContextVar("asked", default=())


class AskedNames:
    """ASGI middleware that notes what a request calls a study, for `without_asked_names`.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever is logged meanwhile, in threads that work for it too, knows of its names."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1")) if scope["type"] == "http" else []
        names = tuple(value for name, value in query if name in PARAMETERS and not _names_nobody(value))
        before = _asked.set(names)
        try:
            await self.app(scope, receive, send)
        finally:
            _asked.reset(before)


def without_asked_names(text: str) -> str:
    """Return a text of a log without names of this request that have no pseudonym, and names of uploaded files."""
    for name in _asked.get():
        for written in sorted(written_forms(name), key=len, reverse=True):
            text = text.replace(written, LEFT_OUT)
    return UPLOADED.sub(_without_file, text)


def _without_file(found: re.Match[str]) -> str:
    return found[0] if found["name"] and _names_nobody(found["name"]) else f"filename={LEFT_OUT}"


def _names_nobody(name: str) -> bool:
    stem, _ = split_ending(name)
    return is_harmless(name) or is_pseudonym(stem)
