"""A DICOMweb server on 127.0.0.1 that answers honestly, or byte by byte as a test writes it; it never ends by itself.

Answers are written to the socket as they are, status line, headers and all: endless, slow, broken or false ones too.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import pydicom

__all__ = [
    "Answer",
    "BOUNDARY",
    "MULTIPART",
    "HostileArchive",
    "Request",
    "answer",
    "chunked",
    "endless",
    "head",
    "instance_entry",
    "multipart",
    "qido",
    "series_entry",
    "trickle",
]

BOUNDARY = "the-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
Answer = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Request:
    """What came: method, path with its query, headers by their lower-case names, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def offset(self) -> int:
        """Of a search."""
        _, _, offset = self.path.partition("offset=")
        return int(offset.partition("&")[0] or 0)


@dataclass
class HostileArchive:
    """Holds series honestly, and answers otherwise where it is told so; use as a context manager.

    Attributes:
        study: StudyInstanceUID.
        series: files by SeriesInstanceUID.
        answers: by a part of `METHOD path `: what is answered instead, or a function of the request that says it; the
            first that fits.
        seen: all requests.
        encryption: https instead of http.
    """

    study: str = "1.2.3.4.5"
    series: dict[str, list[Path]] = field(default_factory=dict)
    answers: dict[str, Answer | Callable[[Request], Answer]] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    encryption: ssl.SSLContext | None = None

    def __enter__(self) -> HostileArchive:
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.over.set()
        self.listener.close()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def dicomweb(self) -> str:
        return f"http{'s' * bool(self.encryption)}://127.0.0.1:{self.port}/dicom-web"

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        """Answer one request, and close: what is endless ends when the client has gone or the test is over."""
        try:
            with self.encryption.wrap_socket(raw, server_side=True) if self.encryption else raw as connection:
                self._converse(connection)
        except OSError:
            return

    def _converse(self, connection: socket.socket) -> None:
        request = _read(connection)
        if request is None:
            return
        self.seen.append(request)
        said = self._answer(request)
        for piece in [said] if isinstance(said, bytes) else said:
            if self.over.is_set():
                return
            connection.sendall(piece)
        # What the client still sends must be read: a reset would take back what it has not read yet.
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1)
        while connection.recv(1 << 16):
            pass

    def _answer(self, request: Request) -> Answer:
        line = f"{request.method} {request.path} "
        for where, said in self.answers.items():
            if where in line:
                return said(request) if callable(said) else said
        return self.honest(request)

    def honest(self, request: Request) -> bytes:
        """Return the true answer."""
        parts = request.path.partition("?")[0].split("/")[2:]  # below /dicom-web
        if request.method == "POST":
            stored = pydicom.dcmread(_stored_file(request.body))
            item = {"00081155": {"vr": "UI", "Value": [str(stored.SOPInstanceUID)]}}
            return answer(json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode())
        if parts == ["studies", self.study, "series"]:
            listed = [series_entry(uid, len(files)) for uid, files in self.series.items()]
            return qido(listed[request.offset :])
        files = self.series.get(parts[3], []) if len(parts) > 3 else []
        if parts[4:] == ["instances"]:
            return qido([instance_entry(_uid(file)) for file in files][request.offset :])
        if len(parts) == 6:
            files = [file for file in files if _uid(file) == parts[5]]
        if not files:
            return answer(b"", status="404 Not Found")
        return answer(multipart([file.read_bytes() for file in files]), MULTIPART)


def _stored_file(body: bytes) -> BytesIO:
    return BytesIO(body.partition(b"\r\n\r\n")[2])


def _uid(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def _read(connection: socket.socket) -> Request | None:
    stream = connection.makefile("rb")
    first = stream.readline().decode().split()
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(first[0], first[1], headers, stream.read(int(headers.get("content-length", 0))))


def head(status: str = "200 OK", **headers: object) -> bytes:
    """Return a status line and headers; underscores in their names become hyphens."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(
    body: bytes, content_type: str = "application/dicom+json", status: str = "200 OK", **headers: object
) -> bytes:
    """Return a whole answer."""
    return head(status, Content_Type=content_type, Content_Length=len(body), **headers) + body


def qido(entries: list[Mapping[str, Any]]) -> bytes:
    """Return the answer to a search."""
    return answer(json.dumps(entries).encode())


def series_entry(uid: Any, count: Any, modality: Any = "CT", **more: Any) -> dict[str, Any]:
    return {
        "0020000E": {"vr": "UI", "Value": [uid]},
        "00080060": {"vr": "CS", "Value": [modality]},
        "00201209": {"vr": "IS", "Value": [count]},
        **more,
    }


def instance_entry(uid: Any) -> dict[str, Any]:
    return {"00080018": {"vr": "UI", "Value": [uid]}}


def multipart(parts: Iterable[bytes], part_head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    """Return the body of a multipart answer."""
    delimiter = f"\r\n--{BOUNDARY}".encode()
    return b"".join(delimiter + b"\r\n" + part_head + b"\r\n" + part for part in parts) + delimiter + b"--\r\n"


def chunked(pieces: Iterable[bytes], extension: bytes = b"") -> Iterator[bytes]:
    """Frame pieces as chunks (RFC 9112 7.1)."""
    for piece in filter(None, pieces):
        yield b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    yield b"0\r\n\r\n"


def endless(piece: bytes, start: bytes = b"") -> Iterator[bytes]:
    """Repeat a piece for ever, many at once."""
    yield start
    many = piece * (1 + (1 << 16) // len(piece))
    while True:
        yield many


def trickle(piece: bytes, start: bytes = b"", pause_sec: float = 0.02) -> Iterator[bytes]:
    """Repeat a piece for ever, never silent for long."""
    yield start
    while True:
        time.sleep(pause_sec)
        yield piece
