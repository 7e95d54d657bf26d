"""Attacks on a running server: what was possible with MONAI Label alone is refused, and nothing changed on the disk."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import pickle
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from label_server import Server, tree_of
from nifti_bytes import compressed_nifti_bytes
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.annotation.front.routes import CLOSED, SERVED, Form, Route
from monai_vggunet.annotation.front.values import ObjectKind

pytestmark = pytest.mark.label

LEADING_AWAY = ["/etc/passwd", "../x", "..", "a/../../x", "..\\x", "file:///etc/passwd", "~/x", "x\x00.nii.gz"]
SESSION = "0a373144-eb0d-11f1-9008-02fc00000001"
VALUES = {"model": "vggunet", "strategy": "first", "method": "uncertainty", "image": "axial", "label": "axial"}
VALUES |= {"tag": "final", "session_id": SESSION, "file": "app-config.js", "folder": "assets", "subfolder": "images"}
TOO_MUCH = b"[" + b" " * (1 << 20) + b"]"
SECRET = b"a file of this machine that is nobody's volume"


@pytest.fixture(autouse=True)
def _nothing_changes(server: Server, folder: Path) -> Iterator[None]:
    """Every attack in this file leaves app and studies as they were, logs apart."""
    before = tree_of(server.app, folder / "studies")
    yield
    assert tree_of(server.app, folder / "studies") == before


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of all that is served."""
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path / "secret"


def raw(server: Server, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    """Send a request exactly as it is given: no client tidies its path up."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, body, named, encode_chunked=isinstance(body, Iterator))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def target_of(route: Route, **other: str) -> str:
    """Return path and query of a route's request with values that fit, but for the ones given."""
    values = {**dict.fromkeys(route.parts, "1.2.3"), **VALUES, **other}
    path = route.path
    for name in route.parts:
        path = path.replace(f"{{{name}}}", quote(values[name], safe=""))
    query = {name: values[name] for name in route.query if name in route.needed or name in other}
    return f"{path}?{urlencode(query)}" if query else path


def has_folder_routes(route: Route) -> bool:
    return not route.archive and not route.path.startswith("/auth/")


FOLDER_ROUTES = [route for route in SERVED if has_folder_routes(route)]


def test_another_host_is_not_answered_to(server: Server) -> None:
    """DNS rebinding: the page's own name leads to this machine."""
    port = server.url.rpartition(":")[2]
    hosts = ["evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost@evil.example"]
    for route in SERVED:
        for host in hosts:
            status, _ = raw(server, route.method, target_of(route), Host=host)
            assert status == 400, (route, host)
    for host in (f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert raw(server, "GET", "/info/", Host=host)[0] == 200, host


def test_a_page_of_another_origin_changes_nothing(server: Server) -> None:
    marks = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}]
    marks += [{"Sec_Fetch_Site": "same-site"}, {"Referer": "http://evil.example/"}]
    for route in FOLDER_ROUTES:
        if route.own_origin:
            for mark in marks:
                status, content = raw(server, route.method, target_of(route), **mark)
                assert status == 403, (route, mark, content)
                assert b"page of another origin" in content


def test_a_browser_is_told_that_other_origins_may_nothing(server: Server) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    preflight = server.send("OPTIONS", "/datastore/image", headers=asked)
    assert preflight.status_code == 405
    for answer in (preflight, server.get("/info/", headers=asked), server.get("/ohif/")):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_no_closed_route_answers(server: Server) -> None:
    for closed in CLOSED:
        path = closed.path.replace("{model}", "vggunet").replace("{path:path}", "studies")
        for method in closed.methods:
            method = "GET" if method == "MOUNT" else method
            status, content = raw(server, method, path)
            assert status in (404, 405), (method, path, status)
            assert method == "HEAD" or b"is not served" in content


def test_the_log_is_not_given_out(server: Server) -> None:
    for target in (
        "/logs/",
        "/logs/?lines=100",
        "/logs/?lines=0",
        "/logs/gpu",
        "/LOGS/",
        "/%6cogs/",
        "//logs/",
        "/logs",
    ):
        assert raw(server, "GET", target)[0] == 404, target


def test_reload_does_not_run_code(server: Server) -> None:
    for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": server.url}):
        assert raw(server, "POST", "/reload", **headers)[0] == 404


@pytest.mark.parametrize("path", ["/datastore/image", "/datastore/"])
def test_an_upload_is_written_nowhere_but_among_the_studies(server: Server, folder: Path, path: str) -> None:
    """And no code is overwritten, which a scoring would run."""
    volume = write_nifti(folder / "mine.nii.gz", ct_array(label_array()), affine_of()).read_bytes()
    code = b"open('/tmp/hacked', 'w')"
    places = [
        str(server.app / "code" / "main"),
        str(server.app / "main"),
        "../x",
        "../../app/code/main",
        "labels/final/axial",
    ]
    for image in [*places, *LEADING_AWAY, "", ".hidden", "axial.nii.gz", "new.nii", "x\ny"]:
        for name, content in (("main.py", code), ("x.nii.gz", volume), ("/../../main.py", code), ("x.pth", code)):
            answer = server.send("PUT", path, params={"image": image}, files={"file": (name, content)})
            assert answer.status_code == 422, (image, name, answer.text)
    for name in (
        "main.py",
        "x.nii.gz.py",
        "x.pt",
        "x.json",
        "x.tar.gz",
        "x.nii.gz/../../y.py",
        "datastore_v2.json",
        "",
    ):
        answer = server.send("PUT", path, params={"image": "new"}, files={"file": (name, code)})
        assert answer.status_code in (400, 422), (name, answer.text)


def test_an_upload_does_not_take_the_place_of_a_study(server: Server) -> None:
    gone = {"file": ("x.nii.gz", compressed_nifti_bytes())}
    for path in ("/datastore/image", "/datastore/"):
        answer = server.send("PUT", path, params={"image": "axial"}, files=gone)
        assert (answer.status_code, "another study" in answer.json()["detail"]) == (409, True)


def test_what_comes_with_an_upload_is_not_kept_as_known_of_the_study(server: Server) -> None:
    """A training would take the key of a patient from there into a config, in which "$" begins code."""
    known = {"PatientID": "$__import__('os').system('touch /tmp/hacked')"}
    files, data = {"file": ("x.nii.gz", compressed_nifti_bytes())}, {"params": json.dumps(known)}
    answer = server.send("PUT", "/datastore/image", params={"image": "new"}, files=files, data=data)
    assert (answer.status_code, "'PatientID'" in answer.json()["detail"]) == (422, True)


def test_an_archive_is_not_unpacked(server: Server) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("../../../code/evil.py")
        archive.addfile(member, io.BytesIO())
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for query in ("?uncompress=true", "?uncompress=1", "?Uncompress=true", "?expiry=99999999", ""):
        for name in ("x.tar", "x.tar.gz", "x.zip"):
            answer = server.send("PUT", f"/session/{query}", files={"files": (name, packed.getvalue())})
            assert answer.status_code == (400 if query else 422), (query, name, answer.text)
    fits = {"files": ("x.nii.gz", packed.getvalue())}  # gzip it is
    assert server.send("PUT", "/session/?uncompress=true", files=fits).status_code == 400


def test_a_session_has_one_file_under_a_name_of_the_servers(server: Server) -> None:
    for name in ("../../../code/main.nii.gz", "/etc/cron.d/x.nii.gz", "meta.info.nii.gz"):
        made = server.send("PUT", "/session/", files={"files": (name, compressed_nifti_bytes())}).json()
        try:
            image = Path(made["session_info"]["image"])
            assert image.name == "upload.nii.gz"
            assert image.parent == server.app / "cache" / "sessions" / made["session_id"]
        finally:
            assert server.send("DELETE", f"/session/{made['session_id']}").ok
    two = [("files", ("a.nii.gz", compressed_nifti_bytes())), ("files", ("b.nii.gz", compressed_nifti_bytes()))]
    assert server.send("PUT", "/session/", files=two).status_code == 400


def test_a_file_of_this_machine_is_no_study(server: Server, secret: Path) -> None:
    """Neither one of the temporary folder, nor one that a parameter names beside the image."""
    keys = ("image", "image_path", "label", "session", "file", "model_filename", "result_extension", "device")
    with tempfile.NamedTemporaryFile(suffix=".nii.gz") as temporary:
        for path in (temporary.name, str(secret), f"file://{secret}", "../label", "/proc/self/environ"):
            assert server.infer("vggunet", path).status_code == 404, path
            assert server.get("/datastore/image", params={"image": path}).status_code == 404
            assert server.post("/infer/vggunet", params={"session_id": path}).status_code == 404
            for key in keys:
                params = json.dumps({key: {"image": path} if key == "session" else path})
                answer = server.post("/infer/vggunet?image=axial", data={"params": params})
                assert answer.status_code == 422, (key, path)
    for name in ("code", "lib", "main.py", "monai_vggunet", "tests"):  # of folders the server was started or runs in
        assert server.infer("vggunet", name).status_code == 404, name


def test_an_upload_does_not_name_another_file_for_its_voxels(server: Server, secret: Path) -> None:
    sizes = f"sizes: 3 5 {len(SECRET) // 15}\n"
    header = f"NRRD0004\ntype: uint8\ndimension: 3\n{sizes}encoding: raw\ndata file: {secret}\n\n".encode()
    for path, query, part in (
        ("/session/", "", "files"),
        ("/infer/vggunet", "?output=image", "file"),
        ("/datastore/image", "?image=new", "file"),
        ("/datastore/label", "?image=axial", "label"),
    ):
        method = "POST" if path.startswith("/infer") else "PUT"
        answer = server.send(method, path + query, files={part: ("x.nrrd", header)})
        assert (answer.status_code, "names other files" in answer.json()["detail"]) == (422, True), path


def test_a_label_is_written_nowhere_but_under_its_tag(server: Server, folder: Path) -> None:
    label = (folder / "truth" / "axial.nii.gz").read_bytes()
    for query in (*({"image": "axial", "tag": tag} for tag in [*LEADING_AWAY, "other", "FINAL", ""]),
                  *({"image": image} for image in LEADING_AWAY), {}):  # fmt: skip
        answer = server.send("PUT", "/datastore/label", params=query, files={"label": ("x.nii.gz", label)})
        assert answer.status_code in (404, 422), query
    answer = server.send("PUT", "/datastore/label?image=axial", files={"label": ("x.bin", label)})
    assert answer.status_code == 422


def test_a_model_is_not_replaced_by_a_request(server: Server) -> None:
    evil = pickle.dumps({"head.bias": [1]})
    for method in ("PUT", "POST", "DELETE"):
        for path in ("/model/vggunet", "/model/..", "/model/info/vggunet"):
            assert server.send(method, path, files={"file": ("x.pt", evil)}).status_code in (404, 405)


@pytest.mark.parametrize("path", ["/train/vggunet", "/train/", "/scoring/uncertainty", "/batch/infer/vggunet"])
def test_options_of_a_process_hold_no_code_and_no_path(server: Server, tmp_path: Path, path: str) -> None:
    """They would end in its arguments, in its import path, and in a config in which a text may be code."""
    run = f"$__import__('os').system('touch {tmp_path}/hacked')"
    asked: list[dict[str, Any]] = [
        {key: run} for key in ("device", "max_epochs", "run_id", "gpus", "tracking", "x", "logging")
    ]
    asked += [{"bundle_path": str(tmp_path)}, {"model": "../x", "bundle_path": str(tmp_path)}, {"method": "../x"}]
    asked += [{"train#trainer#max_epochs": run}, {"model_filename": "../../x.pt"}, {"tracking_uri": str(tmp_path)}]
    asked += [
        {"images": [str(tmp_path)]},
        {"label_tag": "../x"},
        {"label_tag": "final"},
        {"local_rank": 1},
        {"max_epochs": -1},
    ]
    asked += [{"max_epochs": True}, {"max_epochs": 1.5}, {"max_epochs": 10**9}, {"force_multi_gpu": True}]
    for options in asked:
        answer = server.post(path, json={"vggunet": options} if path == "/train/" else options)
        assert answer.status_code == 422, (options, answer.text)
    for query in ("?run_sync=true", "?enqueue=true", "?model=x"):
        assert server.post(path + query, json={}).status_code == 400
    for task in ("train", "scoring", "batch/infer"):
        assert (
            server.get(f"/{task}/" if "/" not in task else f"/{task}", params={"check_if_running": "true"}).status_code
            == 404
        )
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "route", [r for r in FOLDER_ROUTES if r.parts or r.query], ids=lambda r: f"{r.method} {r.path}"
)
def test_no_parameter_of_a_running_server_takes_a_path(server: Server, route: Route) -> None:
    for name in (*route.parts, *route.query):
        for text in LEADING_AWAY:
            status, content = raw(server, route.method, target_of(route, **{name: text}), **{"Content-Length": "0"})
            assert 400 <= status < 500, (name, text, content)


def test_no_json_of_a_running_server_takes_a_path(server: Server) -> None:
    for route in FOLDER_ROUTES:
        if isinstance(route.body, Form):
            objects = [(name, kind) for name, kind in route.body.texts.items() if isinstance(kind, ObjectKind)]
        else:
            objects = [("", route.body)] if isinstance(route.body, ObjectKind) else []
        for part, kind in objects:
            for key in (*kind.fields, "image", "liver", "vggunet"):
                for text in ("/etc/passwd", "../x", "$__import__('os')"):
                    sent = json.dumps({key: text})
                    kwargs = {"data": {part: sent}} if part else {"json": {key: text}}
                    answer = server.send(route.method, target_of(route), **kwargs)
                    assert 400 <= answer.status_code < 500, (route, key, text)


def test_a_body_is_read_up_to_its_limit_alone(server: Server) -> None:
    chunks = (b"[" + b" " * (1 << 16) for _ in range(40))
    assert raw(server, "POST", "/scoring/uncertainty", TOO_MUCH, Content_Type="application/json")[0] == 413
    assert (
        raw(
            server, "POST", "/scoring/uncertainty", chunks, Content_Type="application/json", Transfer_Encoding="chunked"
        )[0]
        == 413
    )
    assert raw(server, "GET", "/info/", TOO_MUCH)[0] == 200  # not read at all
    deep = b'{"client_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert raw(server, "POST", "/scoring/uncertainty", deep, Content_Type="application/json")[0] == 422


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (gzip.compress(b"{}", mtime=0), {"Content_Type": "application/json", "Content_Encoding": "gzip"}, 415),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {}, 415),
        (b'{"client_id": "a", "client_id": "b"}', {"Content_Type": "application/json"}, 400),
        (b"\xff\xfe{\x00}\x00", {"Content_Type": "application/json"}, 422),
    ],
)
def test_a_body_of_another_form_is_refused(server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    assert raw(server, "POST", "/activelearning/first", body, **headers)[0] == status


@pytest.mark.parametrize(
    ("charset", "status"),
    [("; charset=punycode", 415), ('; charset=utf-8; Charset = "punycode"', 415), ("; charset=utf-8x", 415), ("", 200)]
    + [(f"; charset={name}", 200) for name in ("UTF-8", '"utf-8"')],
)
def test_a_form_is_in_utf_8_alone(server: Server, charset: str, status: int) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nme\r\n--x--\r\n'
    kind = f"multipart/form-data{charset}; boundary=x"
    assert raw(server, "POST", "/auth/token", body, Content_Type=kind)[0] == status


def test_a_form_with_something_twice_or_unknown_is_refused(server: Server) -> None:
    twice = [("params", "{}"), ("params", '{"image": "/etc/passwd"}')]
    assert server.post("/infer/vggunet?image=axial", data=twice).status_code == 400
    for data in ({"image": "/etc/passwd"}, {"session_id": "x"}, {"wsi": "{}"}):
        assert server.post("/infer/vggunet?image=axial", data=data).status_code == 400
    for part in ("label", "image", "params"):
        files = {part: ("x.nii.gz", compressed_nifti_bytes())}
        assert server.post("/infer/vggunet?image=axial", files=files).status_code == 400
    cut = b'--b\r\nContent-Disposition: form-data; name="label"; filename="x.nii.gz"\r\n\r\n\x1f\x8b'
    form = {"Content_Type": "multipart/form-data; boundary=b"}
    assert raw(server, "PUT", "/datastore/label?image=axial", cut, **form)[0] == 422
    assert raw(server, "POST", "/infer/vggunet", b"x", Content_Type="multipart/form-data")[0] == 400


def test_there_is_no_web_socket(server: Server) -> None:
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "eA==",
    }
    assert raw(server, "GET", "/infer/vggunet", **asked)[0] == 405


def test_what_was_refused_is_not_in_the_log(server: Server) -> None:
    server.infer("vggunet", "Doe^Jane/1")
    server.post("/scoring/uncertainty", json={"client_id": "Doe^Jane"})
    raw(server, "GET", "/logs/Doe%5EJane")
    log = server.log.read_text()
    assert "was refused with status 404" in log
    assert "Doe" not in log
