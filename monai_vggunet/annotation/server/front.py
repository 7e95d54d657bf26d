"""The front: an ASGI application before MONAI Label's, which lets through what the table of routes knows."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monai_vggunet.annotation.front.checks import checked_query, find_route, written_path
from monai_vggunet.annotation.front.guesses import Guesses, network_of
from monai_vggunet.annotation.front.origin import require_own_origin
from monai_vggunet.annotation.front.room import Arrival, UploadRoom, full_disk_as_refusal
from monai_vggunet.annotation.front.routes import Route
from monai_vggunet.annotation.front.token import CHALLENGE, holds_token, is_token, login_answer
from monai_vggunet.annotation.front.values import BAD_VALUE, Served
from monai_vggunet.annotation.printable import printable
from monai_vggunet.annotation.server.bodies import Body, limited, read_body, replayed
from monai_vggunet.annotation.server.hidden_paths import without_paths
from monai_vggunet.annotation.server.own_folder import remove_own_folder, request_folder
from monai_vggunet.errors import RequestRefusedError, VGGUNetError, WrongTokenError
from monai_vggunet.ip_addresses import is_loopback_address
from monai_vggunet.names import shortened

__all__ = ["Front"]

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, UNSUPPORTED = 400, 401, 403, 415  # RFC 9110
TOO_MANY = 429  # RFC 6585 4
POLICY_VIOLATION = 1008  # RFC 6455 7.4.1
LOGIN, ARCHIVE, VIEWER = "/auth/", "/proxy/dicom/", "/ohif/"  # routes that are answered here
TASKS = ("/train/", "/scoring/", "/batch/infer")
MOST_WAITING_TASKS = 8  # OHIF's route takes any number of trainings, which then run one after the other
MOST_ARCHIVE_QUESTIONS = 8  # at a time; a browser has six connections to a server
CLOSE = {"Connection": "close"}
HURRIED = {**CLOSE, "Retry-After": "5"}
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")  # RFC 9110 7.2, without user or path
# Many ranges at once make a long answer of a short file (RFC 9110 17.15); no viewer asks for more than one.
ONE_RANGE = re.compile(rb"bytes=[0-9]{0,18}-[0-9]{0,18}")
# of a request's headers these alone are passed on; what says how long or of what type the body is, is written anew
PASSED_HEADERS = (
    b"accept",
    b"accept-encoding",
    b"host",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"range",
    b"user-agent",
)
# Whatever MONAI Label or a library in it may come to say
REMOVED_HEADERS = (b"access-control-", b"set-cookie", b"cache-control")
# The viewer evaluates code of its own (WebAssembly, workers from memory); nothing is fetched from elsewhere.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; font-src 'self' data:; "
    "connect-src 'self' blob: data:; frame-ancestors 'none'"
)
NO_STORE, NO_CACHE = b"no-store", b"no-cache"  # RFC 9111 5.2.2
ADDED_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)

_log = logging.getLogger(__name__)


class Front:
    """Pass on a request as the table of routes allows it, written anew from what was checked; refuse all others.

    Args:
        app: MONAI Label's web application.
        token: what a client must have; empty where none is asked for, which is served on the loopback address alone.
        most_upload_bytes: of a request with a file.
        served: says what the server offers; asked with each request, for MONAI Label makes its app on the first.
        read_archive: answers for a resource of the studies' DICOMweb server.
        read_viewer: answers for a file of the viewer.
        room: on the disks, for uploads.
        folders: words that stand for folders of this machine in refusals and in what is said of tasks.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        most_upload_bytes: int,
        served: Callable[[], Served],
        read_archive: Callable[[str], Response],
        read_viewer: Callable[[str], Response],
        room: UploadRoom,
        folders: Mapping[Path, str],
    ) -> None:
        self.app, self.token, self.most_upload_bytes = app, token, most_upload_bytes
        self.served, self.read_archive, self.read_viewer = served, read_archive, read_viewer
        self.room, self.folders = room, folders
        self._guesses = Guesses()
        self._archive_questions = asyncio.Semaphore(MOST_ARCHIVE_QUESTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass on the server's start and end."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            remove_own_folder()  # a signal may end the process before Python cleans up
            return
        if scope["type"] != "http":  # MONAI Label has no web sockets
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        with request_folder(), self.room.arrival() as arrival:
            # Images of patients are kept by no browser and no proxy; the viewer's files, after a question for each.
            kept = NO_CACHE if scope["path"].startswith(VIEWER) else NO_STORE
            await self._answer(scope, receive, _hardened(send, kept), arrival)

    async def _answer(self, scope: Scope, receive: Receive, answering: Send, arrival: Arrival) -> None:
        request = Request(scope, receive)
        served = self.served()
        try:
            route, parts = self._admitted(request, served)
            query = checked_query(route, scope["query_string"], served)
            declared = request.headers.get("content-length")
            counted = limited(receive, route, self.most_upload_bytes, declared, self.room, arrival)
            with full_disk_as_refusal():
                body = await read_body(route, Request(scope, counted), served)
        except ClientDisconnect:
            return
        except VGGUNetError as error:
            await (await self._refusal(request, error))(scope, receive, answering)
            return
        try:
            path, raw_path = written_path(route, parts)
            own = await self._own_answer(route, path, body, request)
            if own is not None:
                await own(scope, receive, answering)
                return
            passed = {**scope, "path": path, "raw_path": raw_path, "query_string": query}
            passed["headers"] = _passed_headers(scope, body)
            hiding = without_paths(answering, self.folders, path.startswith(TASKS))
            await self.app(passed, replayed(body, receive), hiding)
        finally:
            await body.close()

    async def _own_answer(self, route: Route, path: str, body: Body, request: Request) -> Response | None:
        """Return the answer to what MONAI Label is not asked for, None for the rest."""
        try:
            if route.path.startswith(LOGIN):
                return self._login(route, body)
            if route.archive:
                async with self._archive_questions:  # one that is slow to answer leaves threads for the others
                    return await run_in_threadpool(self.read_archive, path.removeprefix(ARCHIVE))
            if path.startswith(VIEWER):
                return self.read_viewer(path.removeprefix(VIEWER))
        except VGGUNetError as error:
            return await self._refusal(request, error)
        return None

    def _admitted(self, request: Request, served: Served) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and the parts of its path, if its sender may ask at all.

        Raises:
            RequestRefusedError: 400 for what can be read in two ways, 401 and 403 for who asks, 404 and 405 for what is
                asked, 415 for an encoded body, 429 where too many tasks wait.
        """
        scope = request.scope
        _require_one_reading(request)
        try:
            route, parts = find_route(scope["method"], scope["path"], served)
        except RequestRefusedError:
            self._require_token(request)  # a stranger is not even told what there is
            raise
        if not route.without_token:
            self._require_token(request)
        if route.own_origin:
            headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
            require_own_origin(headers, request.headers.get("host", ""))
        coding = request.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise RequestRefusedError(f"the body is encoded ({shortened(coding)}); expected it as it is", UNSUPPORTED)
        if route.method == "POST" and route.path.startswith(TASKS) and served.waiting >= MOST_WAITING_TASKS:
            raise RequestRefusedError(f"{MOST_WAITING_TASKS} tasks wait already: let them begin first", TOO_MANY)
        return route, parts

    def _require_token(self, request: Request) -> None:
        if not self.token:
            if not is_loopback_address(str((request.scope.get("server") or ("", 0))[0])):
                text = "this server has no token and answers on the loopback address alone: start it with --token-file"
                raise RequestRefusedError(text, FORBIDDEN)
            return
        given = request.headers.getlist("authorization")
        if len(given) == 1 and holds_token(given[0], self.token):
            return
        text = "a token is needed, as HTTP Basic's password or as a bearer token"
        refusal = WrongTokenError if given else RequestRefusedError
        raise refusal(text, UNAUTHORIZED, {"WWW-Authenticate": CHALLENGE})

    def _login(self, route: Route, body: Body) -> JSONResponse:
        """Answer 3D Slicer's questions on who it is, which MONAI Label would pass to a server of identities.

        Raises:
            WrongTokenError: the password is not the token.
        """
        if route.path == "/auth/":
            return JSONResponse({"enabled": bool(self.token), "client_id": "", "realm": ""})
        if route.path == "/auth/token/valid":
            return JSONResponse({"username": "annotator"})
        if not self.token:
            return JSONResponse({"access_token": None, "token_type": None})
        if not is_token(str(body.form.get("password", "")), self.token):
            raise WrongTokenError("the password is not this server's token", UNAUTHORIZED)
        return JSONResponse(login_answer(self.token))

    async def _refusal(self, request: Request, error: VGGUNetError) -> JSONResponse:
        """Return the answer that says why; the log hears of it without anything the request held."""
        status = error.status if isinstance(error, RequestRefusedError) else BAD_VALUE
        headers = error.headers if isinstance(error, RequestRefusedError) else {}
        text = printable(str(error))
        if isinstance(error, WrongTokenError):
            client = network_of(request.client.host if request.client else "")
            count = self._guesses.note(client)
            if count & (count - 1) == 0:  # the log does not grow as fast as a client guesses
                _log.warning("a wrong token came from %s (%d so far)", client or "somewhere", count)
            if not await self._guesses.hold_back(count):
                text, status, headers = "too many wrong tokens came at once: wait", TOO_MANY, HURRIED
        elif status != UNAUTHORIZED:
            _log.warning("a request (%s) was refused with status %d", shortened(request.method), status)
        return JSONResponse({"detail": text}, status, headers)


def _require_one_reading(request: Request) -> None:
    """Refuse a request that two programs on its way may read in two ways.

    Raises:
        RequestRefusedError: 400, for a length said twice or in two ways (RFC 9112 6.3), or a host that is none.
    """
    headers = request.headers
    lengths, codings = headers.getlist("content-length"), headers.getlist("transfer-encoding")
    if len(lengths) + len(codings) > 1:
        text = "the body's length is stated twice, by Content-Length and Transfer-Encoding; expected it once"
        raise RequestRefusedError(text, BAD_REQUEST, CLOSE)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        raise RequestRefusedError(f"the header Host is {shortened(hosts[:1])}; expected one host", BAD_REQUEST, CLOSE)


def _passed_headers(scope: Scope, body: Body) -> list[tuple[bytes, bytes]]:
    headers = [(name, value) for name, value in scope["headers"] if name.lower() in PASSED_HEADERS]
    headers = [(name, value) for name, value in headers if name.lower() != b"range" or ONE_RANGE.fullmatch(value)]
    if body.content_type:
        headers += [(b"content-type", body.content_type.encode()), (b"content-length", str(len(body)).encode())]
    return headers


def _hardened(send: Send, cache_control: bytes) -> Send:
    """Return `send`, with headers that keep other pages and caches away from every answer."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", ())
            kept = [pair for pair in given if not bytes(pair[0]).lower().startswith(REMOVED_HEADERS)]
            message = cast(Message, {**message, "headers": [*kept, *ADDED_HEADERS, (b"cache-control", cache_control)]})
        await send(message)

    return hardened
