"""What the server's parts refuse themselves, should a request ever get past the front; and the front by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from label_server import in_label_environment

pytestmark = pytest.mark.label

# One process for all: starting it takes longer than what it does. The results are printed, and judged below.
PROGRAM = """
import asyncio, errno, gzip, json, os, sys, tempfile
from pathlib import Path
from types import SimpleNamespace

from fastapi import HTTPException
from starlette.requests import Request
from monailabel.config import settings
from monai_vggunet.errors import VGGUNetError
from monai_vggunet.annotation.front.room import UploadRoom, full_disk_as_refusal
from monai_vggunet.annotation.front.routes import SERVED
from monai_vggunet.annotation.front.values import Served
from monai_vggunet.annotation.server import own_folder
from monai_vggunet.annotation.server.app import _put_here_by_the_server
from monai_vggunet.annotation.server.datastore import FolderStudies
from monai_vggunet.annotation.server.bodies import limited, read_body
from monai_vggunet.annotation.server.front import Front
from monai_vggunet.annotation.server.segmentation_task import device_of
from monai_vggunet.annotation.server.dicomweb_studies import DicomWebStudies
from monai_vggunet.annotation.server.retraining_task import RetrainingTask

root, results = Path(tempfile.mkdtemp()), {}

def status_of(call, *args):
    try:
        return call(*args)
    except HTTPException as error:
        return error.status_code
    except VGGUNetError as error:
        return type(error).__name__

# the front, without a token, on several of the server's addresses
async def app(scope, receive, send):
    given = [(b"Cache-Control", b"public")]
    given += [(b"Access-Control-Allow-Origin", b"*"), (b"set-cookie", b"a=b"), (b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": given})
    await send({"type": "http.response.body", "body": b""})

async def answer(kind, address, method="GET", path="/info/", served=Served()):
    sent = []
    scope = {"type": kind, "method": method, "path": path, "query_string": b"", "server": address}
    scope["headers"] = [(b"host", b"localhost")]
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    room = UploadRoom(root, [])
    await Front(app, "", 1, lambda: served, None, None, room, {})(scope, receive, send)
    return sent

addresses = [("127.0.0.1", 1), ("::1", 1), ("::ffff:127.0.0.1", 1), ("10.0.0.5", 1), ("::", 1), ("x", 1), None]
results["by address"] = [asyncio.run(answer("http", address))[0]["status"] for address in addresses]
results["headers"] = [name.decode().lower() for name, _ in asyncio.run(answer("http", addresses[0]))[0]["headers"]]
busy = Served(frozenset({"vggunet"}), waiting=8)
asked = [("POST", path) for path in ("/train/", "/train/vggunet", "/scoring/first", "/batch/infer/vggunet")]
asked += [("DELETE", "/train/"), ("GET", "/train/")]
results["busy"] = [asyncio.run(answer("http", addresses[0], *one, busy))[0]["status"] for one in asked]
results["web socket"] = asyncio.run(answer("websocket", addresses[0]))[0]["type"]

# bodies
route = next(one for one in SERVED if (one.method, one.path) == ("PUT", "/session/"))

async def slow():
    if not sent_already:
        sent_already.append(1)
        return {"type": "http.request", "body": b"-", "more_body": True}
    await asyncio.sleep(60)

async def status_of_body(receive, room):
    with room.arrival() as arrival:
        headers = [(b"content-type", b"multipart/form-data; boundary=b")]
        request = {"type": "http", "method": "PUT", "headers": headers}
        try:
            with full_disk_as_refusal():
                counted = limited(receive, route, 100, None, room, arrival, 0.05)
                await read_body(route, Request(request, counted), Served())
        except VGGUNetError as error:
            return [error.status, str(error)]

sent_already = []
results["slow body"] = asyncio.run(status_of_body(slow, UploadRoom(root, [], lambda place: 1 << 40)))
async def full():
    raise OSError(errno.ENOSPC, "x")
results["full disk"] = asyncio.run(status_of_body(full, UploadRoom(root, [], lambda place: 1 << 40)))[0]

# the stores
(root / "studies").mkdir()
(root / "studies" / "axial.nii.gz").write_bytes(gzip.compress(b"a study"))
(root / "studies" / "link.nii.gz").symlink_to(root / "elsewhere.nii.gz")
(root / "volume.nii.gz").write_bytes(gzip.compress(b"another", mtime=0))
store = FolderStudies(str(root / "studies"), extensions=["*.nii.gz"])
names = [str(root / "main"), "../main", "..", "a/b", "axial", "link", "new", "new"]
results["added"] = [status_of(store.add_image, name, str(root / "volume.nii.gz"), {}) for name in names]
results["files"] = sorted(str(path.relative_to(root)) for path in root.rglob("*.nii.gz"))
results["pacs"] = status_of(DicomWebStudies.add_image, None, "1.2.3", str(root / "volume.nii.gz"), {})

# what gets into a training's config
run = "$__import__('os').system('true')"
known = {"a": {"PatientID": run}, "b": {"PatientID": "0123456789abcdef"}, "c": {}}
listed = [{"image": f"/studies/{name}.nii.gz", "label": "/l", "patient": run} for name in known]
datastore = SimpleNamespace(datalist=lambda: listed, get_image_info=lambda study: known[study])
results["patients"] = [case.get("patient") for case in RetrainingTask._fetch_datalist(None, {}, datastore)]
results["device"] = status_of(device_of, run)

# which files are the server's own
own = own_folder.use_own_folder()
request = own_folder.request_folder()
request.__enter__()
mine, (foreign, name) = Path(tempfile.gettempdir()) / "upload.nii.gz", tempfile.mkstemp(dir=root)
mine.touch()
(mine.parent / "link").symlink_to(name)
around = mine.parent / ".." / root.name / Path(name).name
paths = [str(mine), name, str(mine.parent / "link"), str(around), "/etc/passwd"]
results["own"] = [_put_here_by_the_server({}, path) for path in paths]
sessions = ({"image": name}, {"image": "x"}, name, None)
results["session"] = [_put_here_by_the_server({"session": said}, name) for said in sessions]
results["folder modes"] = [oct(place.stat().st_mode & 0o777) for place in (own, mine.parent)]
with own_folder.request_folder():
    results["own in another request"] = _put_here_by_the_server({}, str(mine))
request.__exit__(None, None, None)
results["after the request"] = mine.parent.exists(), own.exists()

# settings, whether they come from the environment or from a file
def refusal_of(name, value):
    former = getattr(settings, name)
    setattr(settings, name, value)
    try:
        import monai_vggunet.annotation.server.asgi
    except SystemExit as stop:
        return str(stop)
    finally:
        setattr(settings, name, former)

asked = {"MONAI_LABEL_AUTH_ENABLE": True, "MONAI_LABEL_API_STR": "/x", "MONAI_LABEL_DATASTORE": "dsa"}
asked |= {"MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME": True, "MONAI_LABEL_DATASTORE_FILE_EXT": ["*.nii", "*"]}
asked |= {"MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT": float("nan")}
results["settings"] = {name: refusal_of(name, value) for name, value in asked.items()}
os.environ["MONAI_VGGUNET_LABEL_TOKEN"] = "short"
results["token"] = refusal_of("MONAI_LABEL_STUDIES", "")
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads(in_label_environment(PROGRAM).splitlines()[-1])


def test_without_a_token_the_loopback_address_alone_is_answered(results: dict[str, Any]) -> None:
    """However the server was started: MONAI Label's own command has a --host too."""
    assert results["by address"] == [200, 200, 200, 403, 403, 403, 403]


def test_no_answer_lets_other_origins_read_it(results: dict[str, Any]) -> None:
    assert {"content-type", "x-content-type-options"} <= set(results["headers"])
    assert not {"access-control-allow-origin", "set-cookie"} & set(results["headers"])
    assert results["headers"].count("cache-control") == 1


def test_tasks_that_wait_are_bounded_and_can_still_be_stopped(results: dict[str, Any]) -> None:
    assert results["busy"] == [429, 429, 429, 429, 200, 200]


def test_a_web_socket_is_closed(results: dict[str, Any]) -> None:
    assert results["web socket"] == "websocket.close"


def test_a_store_takes_no_path_and_no_others_place(results: dict[str, Any]) -> None:
    assert results["added"] == [422, 422, 422, 422, 409, 409, "new", "new"]
    expected = ["studies/axial.nii.gz", "studies/link.nii.gz", "studies/new.nii.gz", "volume.nii.gz"]
    assert results["files"] == expected
    assert results["pacs"] == 422


def test_what_is_known_of_a_study_does_not_become_code_in_a_training(results: dict[str, Any]) -> None:
    assert results["patients"] == [None, "0123456789abcdef", None]
    assert results["device"] == "ConfigurationError"


def test_a_file_is_the_servers_own_where_it_put_it_there(results: dict[str, Any]) -> None:
    assert results["own"] == [True, False, False, False, False]
    assert results["session"] == [True, False, False, False]
    assert not results["own in another request"]
    assert results["folder modes"] == ["0o700", "0o700"]
    assert results["after the request"] == [False, True]


def test_settings_that_would_open_a_hole_keep_the_server_from_starting(results: dict[str, Any]) -> None:
    assert all(name in text for name, text in results["settings"].items())
    assert "set a token of this server" in results["settings"]["MONAI_LABEL_AUTH_ENABLE"]
    assert "files would be named by" in results["settings"]["MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME"]
    assert "has '*'; expected some of" in results["settings"]["MONAI_LABEL_DATASTORE_FILE_EXT"]


def test_a_short_token_is_refused_by_monai_labels_own_command_too(results: dict[str, Any]) -> None:
    assert "MONAI_VGGUNET_LABEL_TOKEN holds a token of 5 characters" in results["token"]


def test_a_body_that_comes_too_slowly_is_not_waited_for(results: dict[str, Any]) -> None:
    status, text = results["slow body"]
    assert (status, text[:34]) == (408, "the body comes too slowly: 1 bytes")
    assert results["full disk"] == 507
