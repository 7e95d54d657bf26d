"""A DICOM node on 127.0.0.1 that speaks PDUs (PS3.8 9.3) as a test writes them, byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["HostileNode", "Peer", "item", "p_data"]

A_ASSOCIATE_AC, P_DATA = 0x02, 0x04
APPLICATION, CONTEXT_AC, SYNTAX, USER, LARGEST_PDU, IMPLEMENTATION = 0x10, 0x21, 0x40, 0x50, 0x51, 0x52  # items
C_STORE_RSP = 0x8001
EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1"
COMMAND, LAST = 0x01, 0x02  # of a PDV's message control header


class HostileNode:
    """Does the same to whoever connects; use as a context manager.

    Args:
        behave: gets each connection.

    Attributes:
        connections: how many came.
        over: set when the test is over.
    """

    def __init__(self, behave: Callable[[Peer], object]) -> None:
        self.behave, self.connections, self.over = behave, 0, threading.Event()

    def __enter__(self) -> HostileNode:
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.over.set()
        self.listener.close()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.behave(Peer(connection, self.over))
            except (OSError, EOFError):
                return


class Peer:
    """The other side of one connection."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self.connection, self.over = connection, over

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def pause(self, seconds: float = 60.0) -> None:
        self.over.wait(seconds)

    def repeat(self, data: bytes, pause_sec: float = 0.0) -> None:
        """Send the same for ever."""
        while not self.over.is_set():
            self.send(data)
            if pause_sec:
                self.pause(pause_sec)

    def read_pdu(self) -> bytes:
        start = self._read(6)
        return start + self._read(int.from_bytes(start[2:], "big"))

    def accept(self, contexts: bytes | None = None, user: bytes | None = None, **titles: bytes) -> None:
        """Accept the association that is asked for, in Explicit VR Little Endian."""
        fixed = bytearray(self.read_pdu()[6:74])
        fixed[4:20] = titles.get("called", bytes(fixed[4:20])).ljust(16)
        fixed[20:36] = titles.get("calling", bytes(fixed[20:36])).ljust(16)
        if contexts is None:
            contexts = item(CONTEXT_AC, b"\x01\0\0\0" + item(SYNTAX, EXPLICIT_LITTLE))
        if user is None:
            user = item(LARGEST_PDU, (16384).to_bytes(4, "big")) + item(IMPLEMENTATION, b"1.2.3")
        body = bytes(fixed) + item(APPLICATION, b"1.2.840.10008.3.1.1.1") + contexts + item(USER, user)
        self.send(bytes([A_ASSOCIATE_AC, 0]) + len(body).to_bytes(4, "big") + body)

    def read_object(self, pause_sec: float = 0.0) -> None:
        """Read until the object's last fragment."""
        while self.read_pdu()[11] & (COMMAND | LAST) != LAST:
            self.pause(pause_sec)

    def answer(
        self,
        status: bytes | None = b"\0\0",
        command: int = 0x8001,
        message: int = 1,
        uid: str = "",
        comment: bytes = b"",
    ) -> None:
        """Answer to a C-STORE (PS3.7 9.3.1.2)."""
        elements = _element(0x0100, command.to_bytes(2, "little")) + _element(0x0120, message.to_bytes(2, "little"))
        elements += _element(0x0800, b"\x01\x01")  # no data set follows
        elements += _element(0x0900, status) if status is not None else b""
        elements += _element(0x0902, comment) if comment else b""
        elements += _element(0x1000, uid.encode() + b"\0" * (len(uid) % 2)) if uid else b""
        self.send(p_data(_element(0, len(elements).to_bytes(4, "little")) + elements, COMMAND | LAST))

    def _read(self, n_bytes: int) -> bytes:
        data = b""
        while len(data) < n_bytes:
            piece = self.connection.recv(n_bytes - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data


def item(kind: int, body: bytes) -> bytes:
    """Return an item of an association (PS3.8 9.3.2)."""
    return bytes([kind, 0]) + len(body).to_bytes(2, "big") + body


def p_data(fragment: bytes, control: int) -> bytes:
    """Return a P-DATA-TF PDU with one fragment (PS3.8 9.3.5)."""
    value = b"\x01" + bytes([control]) + fragment
    value = len(value).to_bytes(4, "big") + value
    return bytes([P_DATA, 0]) + len(value).to_bytes(4, "big") + value


def _element(number: int, value: bytes) -> bytes:
    """Return an element of a command set: group 0000, implicit VR (PS3.7 6.3.1)."""
    return b"\0\0" + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
