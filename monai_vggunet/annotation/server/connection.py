"""A client's connection, kept open no longer than it is of use: uvicorn waits for a request's head without end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from monai_vggunet.annotation.front.guesses import network_of

__all__ = ["BoundedConnection"]

HEAD_SEC = 20.0  # for a request's head to come, and for what a client still sends after its answer
READ_SEC = 60.0  # for a client to take some of its answer
MOST_OF_CLIENT, MOST = 100, 400  # connections; a process may have 1024 files, and a browser opens six


class BoundedConnection(H11Protocol):
    """HTTP/1.1 by h11, which refuses what two programs could read in two ways, and heads of more than 64 KB.

    Where a client has too many connections, or all together have, the one goes that has waited longest for a request:
    who does nothing with theirs keeps nobody out.
    """

    network, _since = "", 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.network, self._since = network_of(self.client[0] if self.client else ""), self.loop.time()
        self._await_head()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what comes."""
        if self.is_idle:
            self._await_head()
        super().data_received(data)
        if not self.is_idle:
            _cancel(self._head_timer)
            self._head_timer = None

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what was sent."""
        super().pause_writing()
        self._read_timer = self._read_timer or self.loop.call_later(READ_SEC, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client took it."""
        super().resume_writing()
        _cancel(self._read_timer)
        self._read_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        _cancel(self._head_timer)
        _cancel(self._read_timer)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self._head_timer or self.loop.call_later(HEAD_SEC, self._end_waiting)

    def _end_waiting(self) -> None:
        self._head_timer = None
        if self.is_idle:
            self.transport.abort()

    def _make_room(self) -> None:
        open_ones = [one for one in self.connections if isinstance(one, BoundedConnection) and one.is_open]
        for crowd, most in (([one for one in open_ones if one.network == self.network], MOST_OF_CLIENT),
                            (open_ones, MOST)):  # fmt: skip
            if len(crowd) > most:
                idle = [one for one in crowd if one.is_idle]
                min(idle, key=lambda one: one._since).transport.abort()  # at least this one is
                return

    @property
    def is_open(self) -> bool:
        """Whether it is not being closed."""
        return not self.transport.is_closing()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
