"""How long a connection to the annotation server is kept, with limits of a moment."""

from __future__ import annotations

import json
from typing import Any

import pytest
from label_server import in_label_environment

pytestmark = pytest.mark.label

# uvicorn as the server runs it, with an application that says much and one that waits. What came is judged below.
PROGRAM = """
import asyncio, json, socket
import uvicorn
from monai_vggunet.annotation.server import connection
from monai_vggunet.annotation.server.connection import BoundedConnection

connection.HEAD_SEC, connection.READ_SEC, connection.MOST_OF_CLIENT, connection.MOST = 0.5, 0.5, 4, 6
WHOLE = b"GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

async def app(scope, receive, send):
    if scope["path"] == "/late":
        await asyncio.sleep(1.5)  # longer than a head may take: it has come
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2000 if scope["path"] == "/much" else 1):
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
    await send({"type": "http.response.body", "body": b"END", "more_body": False})

async def opened(port, sent=b"", buffer=None):
    made = socket.socket()
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=made, limit=buffer or 1 << 20)
    writer.write(sent)
    return reader, writer

async def is_closed(reader, within_sec=5.0):
    try:
        while await asyncio.wait_for(reader.read(1 << 16), within_sec):
            pass
        return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False

async def answered(reader):
    return (await asyncio.wait_for(reader.readuntil(b"END"), 10)).startswith(b"HTTP/1.1 200")

async def main():
    results = {}
    config = uvicorn.Config(app, port=0, http=BoundedConnection, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    silent, begun = await opened(port), await opened(port, b"GET / HTTP/1.1\\r\\nX: ")
    results["silent and half a head"] = [await is_closed(silent[0]), await is_closed(begun[0])]
    reader, writer = await opened(port, WHOLE % b"late")
    results["late answer"] = await answered(reader)
    writer.write(WHOLE % b"")
    await reader.readuntil(b"\\r\\n0\\r\\n\\r\\n")
    results["again on the same"] = await answered(reader)
    writer.write(b"GET / HT")
    results["half a head after an answer"] = await is_closed(reader)

    reader, writer = await opened(port, WHOLE % b"much", buffer=4096)
    await asyncio.sleep(1.5)
    results["unread answer closed"] = await is_closed(reader)

    late = [await opened(port, WHOLE % b"late") for _ in range(2)]
    await asyncio.sleep(0.1)
    idle = [await opened(port) for _ in range(4)]
    last = await opened(port, WHOLE % b"")
    results["one more"] = await answered(last[0])
    results["answers that were begun"] = [await answered(one[0]) for one in late]
    results["the oldest of the idle"] = [await is_closed(one[0], 0.01) for one in idle[:2]]
    server.should_exit = True
    await asyncio.wait_for(serving, 20)
    print(json.dumps(results))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads(in_label_environment(PROGRAM).splitlines()[-1])


def test_a_head_that_does_not_come_is_not_waited_for(results: dict[str, Any]) -> None:
    assert results["silent and half a head"] == [True, True]
    assert results["half a head after an answer"]


def test_an_answer_that_takes_long_is_given_and_the_connection_goes_on(results: dict[str, Any]) -> None:
    assert results["late answer"]
    assert results["again on the same"]


def test_an_answer_that_nobody_takes_is_given_up(results: dict[str, Any]) -> None:
    assert results["unread answer closed"]


def test_where_there_are_too_many_the_idle_ones_go(results: dict[str, Any]) -> None:
    assert results["one more"]
    assert results["answers that were begun"] == [True, True]
    assert results["the oldest of the idle"] == [True, True]
