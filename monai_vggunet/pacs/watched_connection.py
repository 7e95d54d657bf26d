"""HTTP connections of `requests` that watch their input: every byte is counted, and no wait is endless.

The timeouts of `requests` apply to a single silence each. A server that sends a byte now and then would never be too
late, be it in its status line, headers, chunk sizes or body. All of these are read through one file, which is watched.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from typing import Any

import requests.adapters

from monai_vggunet.pacs.bounds import Answer, Patience, waiting

__all__ = ["WatchedAdapter"]

SENT_AT_ONCE = 1 << 16  # bytes: the socket's timeout applies to each piece


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """The transport of a session.

    Args:
        answer: returns the watcher of the next answer.
        sending: returns the watcher of the sending of the next request.
    """

    def __init__(self, answer: Callable[[], Answer], sending: Callable[[], Patience]) -> None:
        self._watchers = (answer, sending)  # before the pools are made
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._watch(manager)
        return manager

    def _watch(self, manager: Any) -> None:
        """Give a `urllib3.PoolManager`, whichever kind it is, pools of watched connections."""
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, *self._watchers)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }


def _watched(connection: Any, answer: Callable[[], Answer], sending: Callable[[], Patience]) -> type:
    """Return a connection class of urllib3 whose requests and answers are watched."""

    def send(self: Any, data: Any) -> None:
        patience, pieces = sending(), memoryview(data)
        for start in range(0, len(pieces), SENT_AT_ONCE):
            piece = pieces[start : start + SENT_AT_ONCE]
            patience.left_sec()
            with waiting([patience]):
                connection.send(self, piece)
            patience.content_bytes += len(piece)

    def response(sock: socket.socket, *args: Any, **options: Any) -> _WatchedResponse:
        return _WatchedResponse(sock, answer(), *args, **options)

    return type(connection.__name__, (connection,), {"send": send, "response_class": staticmethod(response)})


class _WatchedResponse(http.client.HTTPResponse):
    """An answer that is read through a watched file.

    Attributes:
        answer: watches it.
    """

    def __init__(self, sock: socket.socket, answer: Answer, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.answer = answer
        unwatched = self.fp
        self.fp = io.BufferedReader(_WatchedFile(sock, answer))
        unwatched.close()  # only now: the socket closes with the last of its files

    def begin(self) -> None:
        """Read status and headers; malformed headers are left out, because urllib3 would log them as they came."""
        super().begin()
        if self.msg is not None:
            self.msg.defects.clear()
            if not self.msg.is_multipart():
                self.msg.set_payload("")


class _WatchedFile(io.RawIOBase):
    """What a socket brings, for one answer."""

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        super().__init__()
        self._socket, self._answer, self._silence_sec = sock, answer, sock.gettimeout()
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._answer.left_sec()
        self._socket.settimeout(left if self._silence_sec is None else min(left, self._silence_sec))
        try:
            with waiting(self._answer.patiences):
                n_bytes: int | None = self._file.readinto(buffer)
        except TimeoutError:
            self._answer.left_sec()  # raises if the server is too slow altogether; else it was silent for too long
            raise
        self._answer.came(n_bytes or 0)
        return n_bytes

    def close(self) -> None:
        self._file.close()
        super().close()
