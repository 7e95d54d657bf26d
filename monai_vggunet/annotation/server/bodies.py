"""Bodies of requests: read up to a limit, checked, and written anew for MONAI Label."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Container
from typing import Any

from requests_toolbelt import MultipartEncoder
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive

from monai_vggunet.annotation.front.checks import checked_json, checked_texts
from monai_vggunet.annotation.front.room import Arrival, UploadRoom
from monai_vggunet.annotation.front.routes import LABEL_PART, Form, Route
from monai_vggunet.annotation.front.uploads import safe_file_name
from monai_vggunet.annotation.front.values import BAD_VALUE, Served
from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.names import shortened

__all__ = ["Body", "limited", "read_body", "replayed"]

BAD_REQUEST, TOO_SLOW, TOO_LARGE, UNSUPPORTED = 400, 408, 413, 415  # RFC 9110
JSON, FORMS = "application/json", ("multipart/form-data", "application/x-www-form-urlencoded")
MOST_JSON_BYTES = 1 << 20  # of a body without a file; also the longest text part Starlette takes
MOST_PARTS = 8  # of a form
# The one encoding of a form's texts (RFC 7578 5.1.2). Starlette takes any that Python knows; one of them, punycode,
# needs minutes for a text of a megabyte.
UTF_8 = re.compile(r'charset="?utf-8"?(?=[ \t]*(?:;|$))', re.IGNORECASE)
CHUNK_BYTES = 1 << 20
# A body that comes more slowly than that after the allowance, or pauses longer, keeps its room for nothing.
LONGEST_SILENCE_SEC, ALLOWANCE_SEC, SLOWEST_BYTES_PER_SEC = 30.0, 120.0, 1 << 13
# MONAI Label answers one request at a time, and nothing is heard meanwhile: what came then is heard within a moment.
HEARD_WITHIN_SEC = 1.0


class Body:
    """A body as it is passed on.

    Attributes:
        content_type: empty where there is no body.
        content: JSON, or a form that is written as it is sent.
        form: the form that came, which holds open files; empty for another body.
    """

    def __init__(self, content_type: str, content: bytes | MultipartEncoder, form: FormData | None = None) -> None:
        self.content_type, self.content, self.form = content_type, content, form or FormData()

    def __len__(self) -> int:
        return self.content.len if isinstance(self.content, MultipartEncoder) else len(self.content)

    async def close(self) -> None:
        """Remove the files that came with it."""
        await self.form.close()


async def read_body(route: Route, request: Request, served: Served) -> Body:
    """Return a request's body, checked and written anew.

    Raises:
        RequestRefusedError: 413 for one that is too long, 415 for another type, 400 or 422 for what it holds.
    """
    if route.body is None:  # not read at all: MONAI Label's client repeats the length of its last body, and sends none
        return Body("", b"")
    if not isinstance(route.body, Form):
        content = await request.body()
        if not content:
            return Body("", b"")
        _require_type(request, (JSON,))
        return Body(JSON, checked_json("the body", content, route.body, served).encode())
    form = await _form(request)
    try:
        # Looking through a compressed file takes seconds, in which others are answered.
        encoder = await run_in_threadpool(_written_form, route, route.body, form, request.query_params, served)
    except BaseException:
        await form.close()
        raise
    return Body(encoder.content_type, encoder, form)


def limited(
    receive: Receive,
    route: Route,
    most_upload_bytes: int,
    declared: str | None,
    room: UploadRoom,
    arrival: Arrival,
    longest_silence_sec: float = LONGEST_SILENCE_SEC,
) -> Receive:
    """Return `receive`, refusing a longer body than the route takes, whatever length it declares or does not.

    Args:
        receive: of the connection.
        route: of the request.
        most_upload_bytes: of a body with a file.
        declared: the header `Content-Length`.
        room: on the disks, for bodies with a file.
        arrival: this body there.
        longest_silence_sec: after which a body is not waited for any longer.

    Raises:
        RequestRefusedError: 413, at once where the declared length is too much; 408 for one that comes too slowly; 507
            where there is no room for it.
    """
    takes_file = isinstance(route.body, Form) and bool(route.body.file)
    limit = most_upload_bytes if takes_file else MOST_JSON_BYTES
    text = f"the body has more than {limit} bytes, the most that {route.method} {route.path} takes"
    if route.body is not None and declared is not None:
        if not declared.isdecimal() or int(declared) > limit:
            raise RequestRefusedError(text, TOO_LARGE)
        if takes_file:
            arrival.expected_bytes = int(declared)
            room.require(arrival)
    taken, waited_sec = 0, 0.0

    async def counted() -> Message:
        nonlocal taken, waited_sec
        left_sec = max(0.0, min(longest_silence_sec, ALLOWANCE_SEC + taken / SLOWEST_BYTES_PER_SEC - waited_sec))
        began, arriving = time.monotonic(), asyncio.ensure_future(receive())
        for wait_sec in (left_sec, HEARD_WITHIN_SEC):
            await asyncio.wait({arriving}, timeout=wait_sec)
        if not arriving.done():
            arriving.cancel()
            said = f"the body comes too slowly: {taken} bytes in {waited_sec + left_sec:.0f} s"
            raise RequestRefusedError(said, TOO_SLOW, {"Connection": "close"})
        message = arriving.result()
        waited_sec += min(time.monotonic() - began, longest_silence_sec)
        taken += len(message.get("body", b""))
        if taken > limit:
            raise RequestRefusedError(text, TOO_LARGE)
        if takes_file:
            arrival.arrived_bytes = taken
            room.require(arrival)
        return message

    return counted


def replayed(body: Body, receive: Receive) -> Receive:
    """Return the `receive` of a request with this body; afterwards it gives what the connection says."""
    over = False

    async def given() -> Message:
        nonlocal over
        if over:
            return await receive()
        content = body.content
        chunk = content.read(CHUNK_BYTES) if isinstance(content, MultipartEncoder) else content
        over = isinstance(content, bytes) or not chunk
        return {"type": "http.request", "body": chunk, "more_body": not over}

    return given


async def _form(request: Request) -> FormData:
    """Return a form, its files in the temporary folder; of a request without a body, an empty one."""
    if request.headers.get("content-type") or request.headers.get("content-length", "0") != "0":
        _require_type(request, FORMS)
        _require_utf_8(request)
    try:
        return await request.form(max_files=1, max_fields=MOST_PARTS, max_part_size=MOST_JSON_BYTES)
    except MultiPartException as error:
        raise RequestRefusedError(f"the form cannot be read: {error.message}", BAD_REQUEST) from None


def _written_form(route: Route, kinds: Form, form: FormData, query: Container[str], served: Served) -> MultipartEncoder:
    """Return a form written anew, with files under names of our own."""
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    fields: dict[str, Any] = dict(checked_texts(route, kinds.texts, texts, served))
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    for name, file in files:
        if name != kinds.file:
            expected = f"a part {kinds.file!r}" if kinds.file else "no file"
            text = f"{route.method} {route.path} takes no file {shortened(name)}; expected {expected}"
            raise RequestRefusedError(text, BAD_REQUEST)
        called = safe_file_name(file.filename, file.file, may_be_blank=name == LABEL_PART)
        fields[name] = (called, file.file, "application/octet-stream")
    if kinds.file and not files and not any(name in query for name in kinds.instead_of_file):
        other = "".join(f", or {name!r} in the query" for name in kinds.instead_of_file)
        raise RequestRefusedError(f"the form has no file; expected a part {kinds.file!r} with one{other}", BAD_VALUE)
    return MultipartEncoder(fields)


def _require_type(request: Request, types: tuple[str, ...]) -> None:
    given = request.headers.get("content-type", "")
    if given.split(";")[0].strip().lower() not in types:
        raise RequestRefusedError(f"the body's type is {shortened(given)}; expected {' or '.join(types)}", UNSUPPORTED)


def _require_utf_8(request: Request) -> None:
    given = request.headers.get("content-type", "")
    if "charset" in UTF_8.sub("", given).lower():
        raise RequestRefusedError(f"the form's type is {shortened(given)}; expected no charset, or utf-8", UNSUPPORTED)
