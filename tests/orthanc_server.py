"""A real Orthanc with its DICOMweb plugin for tests: on this machine's loopback alone, gone when the tests are gone.

Orthanc 1.10.1 listens on every interface whatever `HttpBindAddresses` says. So it runs in a network namespace of its
own, where there is nothing but a loopback; UNIX sockets lead out of it, and this process listens on 127.0.0.1 for them.
Where namespaces are not allowed it runs without, and refuses HTTP and C-STORE from anywhere but 127.0.0.1.

Run as a program this module is the inner half: it starts Orthanc, relays, and ends it when its standard input ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

__all__ = ["CALLING_AET", "ORTHANC_AET", "PASSWORD", "USER", "Orthanc", "why_no_orthanc"]

USER, PASSWORD = "reader", "pass-WORD-0815"
ORTHANC_AET, CALLING_AET = "ORTHANC", "MONAI_VGGUNET"
PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so.1.7")
START_TIMEOUT_S = 30.0
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def orthanc_program() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def dicomweb_plugin() -> str | None:
    return next((path for path in PLUGINS if Path(path).is_file()), None)


def why_no_orthanc() -> str:
    """Return why there is none here; empty where there is one."""
    if orthanc_program() is None or dicomweb_plugin() is None:
        return "Orthanc with its DICOMweb plugin is not installed (Debian: orthanc, orthanc-dicomweb)"
    return ""


def namespaces_work() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0


class Orthanc:
    """A running server; `stop` ends it and removes what it stored. Its storage is new and empty.

    Attributes:
        root: `http://127.0.0.1:PORT`, the server's own REST interface.
        dicomweb: the DICOMweb service's URL.
        dicom_port: for C-STORE, on 127.0.0.1.
        isolated: whether it runs in a network namespace of its own.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orthanc-"))  # short: a UNIX socket's path holds 107 characters
        self.isolated = namespaces_work()
        http_port, self.dicom_port = (8042, 4242) if self.isolated else (free_port(), free_port())
        self._write_configuration(http_port, self.dicom_port)
        words = [sys.executable, __file__, str(self.folder)]
        words = ["unshare", "-rn", *words, str(http_port), str(self.dicom_port)] if self.isolated else words
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._relay = Relay() if self.isolated else None
        if self._relay:
            http_port = self._relay.listen(lambda: asyncio.open_unix_connection(self.folder / str(8042)))
            self.dicom_port = self._relay.listen(lambda: asyncio.open_unix_connection(self.folder / str(4242)))
        self.root = f"http://127.0.0.1:{http_port}"
        self.dicomweb = f"{self.root}/dicom-web"
        self._wait()

    def get(self, path: str) -> Any:
        """Return what the REST interface answers, from JSON."""
        return json.loads(self.request(path))

    def request(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        request = urllib.request.Request(f"{self.root}{path}", data=data, method=method)
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
        with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:
            return answer.read()

    def upload(self, files: Iterable[Path]) -> None:
        """Put DICOM files into the archive."""
        for file in files:
            self.request("/instances", file.read_bytes())

    def clear(self) -> None:
        """Remove everything that is stored."""
        for patient in self.get("/patients"):
            self.request(f"/patients/{patient}", method="DELETE")

    def kill(self) -> None:
        """End it at once, with all its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """End it, and remove its files."""
        self.kill()
        if self.process.stdin:
            self.process.stdin.close()
        if self._relay:
            self._relay.stop()
            self._relay = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_configuration(self, http_port: int, dicom_port: int) -> None:
        configuration = {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [dicomweb_plugin()],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "HttpPort": http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomPort": dicom_port,
            "DicomAet": ORTHANC_AET,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {"tests": [CALLING_AET, "127.0.0.1", 104]},
        }
        (self.folder / "storage").mkdir()
        (self.folder / "orthanc.json").write_text(json.dumps(configuration))

    def _wait(self) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                self.get("/system")
                return
            if self.process.poll() is not None or time.monotonic() > until:
                log = (self.folder / "log").read_text(errors="replace")[-2000:]
                self.stop()
                raise RuntimeError(f"Orthanc did not start:\n{log}")
            time.sleep(0.05)


class Relay:
    """Ports on 127.0.0.1 that pass every connection on, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def listen(self, connect: Connect) -> int:
        """Return the port."""
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(lambda r, w: pass_on(r, w, connect), "127.0.0.1", 0), self.loop
        ).result()
        return server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        async def end_all() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end_all(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connect: Connect) -> None:
    try:
        other_reader, other_writer = await connect()
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))
    except (OSError, asyncio.CancelledError):
        pass  # one side broke off, or we are stopped: so does the other
    finally:
        writer.close()
        other_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def loopback_up() -> None:
    """A new network namespace has a loopback that is down; raise it (SIOCSIFFLAGS, netdevice(7))."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 0x1))


async def run_inside(folder: Path, ports: list[int]) -> None:
    if ports:
        loopback_up()
    program = orthanc_program()
    assert program
    server = await asyncio.create_subprocess_exec(
        program, str(folder / "orthanc.json"), stdin=asyncio.subprocess.DEVNULL
    )
    for port in ports:
        await asyncio.start_unix_server(
            lambda r, w, port=port: pass_on(r, w, lambda: asyncio.open_connection("127.0.0.1", port)),
            folder / str(port),
        )
    parent_gone = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await asyncio.wait({parent_gone, asyncio.ensure_future(server.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if server.returncode is None:
        server.kill()
    os._exit(1)


if __name__ == "__main__":
    asyncio.run(run_inside(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]))
