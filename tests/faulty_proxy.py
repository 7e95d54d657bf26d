"""A small HTTP proxy in front of a DICOMweb server that answers wrongly, breaks off or falls silent as a test says."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Fault", "FaultyProxy"]


@dataclass
class Fault:
    """What happens to the next requests that it fits, instead of what should.

    Attributes:
        method: GET or POST.
        where: part of the path.
        times: how often; then it is over.
        status: answer this, with `body`.
        body: of the answer.
        content_type: of the body.
        cut_at: send this many bytes of the real answer's body, then close.
        silence: answer nothing before the test is over.
        edit: turn the real answer's body into another one.
    """

    method: str = "GET"
    where: str = ""
    times: int = 1 << 30
    status: int = 200
    body: bytes = b""
    content_type: str = "application/dicom+json"
    cut_at: int | None = None
    silence: bool = False
    edit: Callable[[bytes], bytes] | None = None


@dataclass
class FaultyProxy:
    """Forwards to `upstream` (`http://127.0.0.1:PORT`), signing as `user`; use as a context manager.

    Attributes:
        upstream: the real server.
        user, password: what the real server wants.
        token: what this one wants; empty: whatever the client sends is passed on.
        faults: the first that fits a request is applied.
        seen: method and path of every request.
    """

    upstream: str
    user: str = ""
    password: str = ""
    token: str = ""
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> FaultyProxy:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def dicomweb(self) -> str:
        return f"{self.root}/dicom-web"

    def fault_for(self, method: str, path: str) -> Fault | None:
        self.seen.append((method, path))
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and fault.where in path:
                fault.times -= 1
                return fault
        return None

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        address = urlsplit(self.upstream)
        kept = {name: value for name, value in headers.items() if name in ("Accept", "Content-Type", "Authorization")}
        if self.user:
            kept["Authorization"] = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = HTTPConnection(str(address.hostname), address.port, timeout=30)
        connection.request(method, path, body or None, kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers.get("Content-Type", ""), content


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyProxy

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self, method: str) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.owner.fault_for(method, self.path)
        if self.owner.token and self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            return self._answer(401, "text/plain", b"no")
        if fault and fault.silence:
            self.owner.over.wait()
            return None
        if fault and fault.cut_at is None and fault.edit is None:
            return self._answer(fault.status, fault.content_type, fault.body)
        status, kind, content = self.owner.forward(method, self.path, dict(self.headers), sent)
        if fault and fault.edit:
            content = fault.edit(content)
        if fault and fault.cut_at is not None:  # as Orthanc does: no length, the end of the connection is the end
            content = content[: fault.cut_at]
        return self._answer(status, kind, content, with_length=not (fault and fault.cut_at is not None))

    def _answer(self, status: int, kind: str, content: bytes, with_length: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if with_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
