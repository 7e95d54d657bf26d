"""Attacks on a running server by what comes over the wire; it stays usable, and nothing is left on its disk."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bombs import nifti_bomb
from label_server import REPOSITORY, Server, leaves_nothing, running_server, tiny_model
from nifti_bytes import compressed_nifti_bytes
from phantoms import affine_of, ct_array, label_array, write_nifti

pytestmark = pytest.mark.label
TERABYTES = 100 * 10**12
# So large that the disk, not the limit, refuses an upload.
MOST_UPLOAD_MB = str(2 * TERABYTES // 10**6)
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="x.nii.gz"\r\n\r\n\x1f\x8b'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    write_nifti(folder / "studies" / "axial.nii.gz", ct_array(label_array()), affine_of())
    write_nifti(folder / "truth.nii.gz", label_array(), affine_of())
    return folder


@pytest.fixture(scope="module")
def attacked(root: Path) -> Iterator[Server]:
    model = tiny_model(root / "model")
    with running_server(root / "studies", model, root, "--max-upload-mb", MOST_UPLOAD_MB) as running:
        yield running


@pytest.fixture(autouse=True)
def _still_usable(attacked: Server) -> Iterator[None]:
    yield
    assert attacked.get("/info/", timeout=60).ok
    assert leaves_nothing(attacked)


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=30)


def exchanged(server: Server, sent: bytes) -> bytes:
    """Send bytes as they are; return all that comes until the server closes the connection."""
    with connected(server) as client:
        client.sendall(sent)
        client.settimeout(15)
        received = b""
        try:
            while piece := client.recv(1 << 16):
                received += piece
        except ConnectionResetError:
            pass
        return received


def request_of(server: Server, line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", f"Host: 127.0.0.1:{port_of(server)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


HIDDEN = b"GET /datastore/?output=all HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 2", "Content-Length: 50"],
        ["Content-Length: 2, 50"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Content-Length: +2"],
        ["Content-Length: 0x2"],
        ["Content-Length: -2"],
        ["Content-Length: 2\r\n folded"],
        ["Content-Length: 2\nContent-Length: 50"],
        ["Transfer-Encoding:\x0bchunked"],
    ],
)
def test_a_request_that_can_be_read_in_two_ways_smuggles_nothing(attacked: Server, headers: list[str]) -> None:
    said = exchanged(attacked, request_of(attacked, "POST /scoring/uncertainty", *headers, body=b"0\r\n\r\n" + HIDDEN))
    assert said.startswith(b"HTTP/1.1 400"), said[:200]
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"axial" not in said


@pytest.mark.parametrize(
    "host",
    ["Host: a@127.0.0.1", "Host: 127.0.0.1:1@evil.example", "Host: 127.0.0.1/evil.example", "Host: 127.0.0.1:99999999",
     "Host: 127.0.0.1 evil.example", "Host: 127.0.0.1\r\nHost: evil.example", "Host: ", "X: 1"],
)  # fmt: skip
def test_a_host_that_is_not_one_host_is_refused(attacked: Server, host: str) -> None:
    """The redirection to the viewer would lead there, and a cache would keep it."""
    said = exchanged(attacked, f"GET /ohif HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 400"), said[:200]
    assert b"ocation" not in said


def test_a_forwarded_name_leads_nowhere(attacked: Server) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Forwarded-For": "10.0.0.5"}
    answer = attacked.get("/ohif", headers=forged, allow_redirects=False)
    assert answer.headers["location"] == f"{attacked.url}/ohif/"


def test_another_method_in_a_header_or_a_query_is_not_followed(attacked: Server) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert attacked.get("/train/", headers={name: "DELETE"}).status_code == 404  # no training: read, not ended
    assert attacked.get("/train/?_method=DELETE").status_code == 400


def test_a_head_is_as_long_as_it_may_be_and_no_longer(attacked: Server) -> None:
    for sent in (b"X: " + b"y" * (1 << 20), b"X: y\r\n" * (1 << 16)):
        line = f"GET /info/ HTTP/1.1\r\nHost: 127.0.0.1:{port_of(attacked)}\r\n".encode()
        said = exchanged(attacked, line + sent)
        assert not said or said.startswith(b"HTTP/1.1 400"), said[:100]
    assert exchanged(attacked, b"GET /" + b"x" * (1 << 20))[:12] in (b"", b"HTTP/1.1 400")


def test_who_opens_connections_and_sends_nothing_keeps_nobody_out(attacked: Server) -> None:
    """More than a process may have files, were they all kept."""
    idle = []
    try:
        for _ in range(300):
            idle.append(connected(attacked))
            idle[-1].sendall(b"GET /info/ HTTP/1.1\r\nX: ")
        assert attacked.get("/info/", timeout=30).ok
        time.sleep(0.2)
        closed = 0
        for client in idle:
            client.settimeout(0.01)
            try:
                closed += not client.recv(1)
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                pass
        assert closed >= 150
    finally:
        for client in idle:
            client.close()


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n" * 1000 + b"--b--\r\n",
        b"--b\r\n" + b"X: y\r\n" * 100_000,
        b'--b\r\nContent-Disposition: form-data; name="' + b"x" * (1 << 20) + b'"\r\n\r\n1\r\n--b--\r\n',
        b"--b\r\nContent-Disposition: form-data; name=params\r\n\r\n" + b"[" * (1 << 21) + b"\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=params\r\n"
        b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n--c--\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name*=utf-16''x; filename*=utf-7''..%2f..%2fx.nii.gz\r\n\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=params\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n"
        b"+AHs-\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=_charset_\r\n\r\nutf-7\r\n--b--\r\n",
        b"--b\r\n\r\n\r\n--b--\r\n",
        b"--b",
        b"",
        b"\x00" * 1000,
    ],
    ids=range(12),
)
def test_no_form_is_too_strange(attacked: Server, body: bytes) -> None:
    for method, path in (("POST", "/infer/vggunet"), ("PUT", "/session/"), ("PUT", "/datastore/label?image=axial")):
        answer = attacked.send(method, path, data=body, headers={"Content-Type": FORM}, timeout=60)
        assert 400 <= answer.status_code < 500, answer.text
        assert len(answer.content) < 3000


@pytest.mark.parametrize("body", [b"a=1&" * 250_000, b"params=" + b"x" * (1 << 21), b"&" * (1 << 20), b"=" * 1000])
def test_a_form_in_a_line_is_bounded_too(attacked: Server, body: bytes) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for method, path in (("PUT", "/session/"), ("POST", "/auth/token")):
        answer = attacked.send(method, path, data=body, headers=kind, timeout=60)
        assert 400 <= answer.status_code < 500 or body.strip(b"&") == b"", answer.text
        assert len(answer.content) < 3000


@pytest.mark.parametrize("target", ["/session/", "/datastore/image?image=new", "/datastore/label?image=axial"])
def test_an_upload_for_which_the_disk_has_no_room_is_refused_before_it_comes(attacked: Server, target: str) -> None:
    headers = [f"Content-Type: {FORM}", f"Content-Length: {TERABYTES}", "Connection: close"]
    said = exchanged(attacked, request_of(attacked, f"PUT {target}", *headers))
    assert said.startswith(b"HTTP/1.1 507"), said
    assert b"the server's disk has no room for this upload" in said


def test_nothing_stays_of_uploads_that_were_refused_or_broke_off(attacked: Server, root: Path) -> None:
    megabytes = os.urandom(3 << 20)
    gz = compressed_nifti_bytes((128, 128, 128))
    answers = [
        attacked.send("PUT", "/datastore/image?image=axial", files={"file": ("x.nii.gz", gz)}),
        attacked.send("PUT", "/datastore/label?image=axial", files={"label": ("x.nii.gz", gz)}),
        attacked.send("PUT", "/datastore/label?image=nobody", files={"label": ("x.nii.gz", gz)}),
        attacked.send("PUT", "/datastore/image?image=../x", files={"file": ("x.nii.gz", gz)}),
        attacked.send("PUT", "/session/", files={"files": ("x.py", gz)}),
        attacked.post("/infer/vggunet?output=image", files={"file": ("x.nii.gz", gzip.compress(megabytes))}),
        attacked.post("/infer/vggunet?image=axial&output=dicom_seg"),  # of a folder: refused before a mask is computed
    ]
    assert [answer.status_code for answer in answers] == [409, 422, 404, 422, 422, 422, 422]
    assert not [answer.text for answer in answers if str(root) in answer.text]
    body = PART % b"files" + megabytes
    head = request_of(attacked, "PUT /session/", f"Content-Type: {FORM}", f"Content-Length: {2 * len(body)}")
    with connected(attacked) as client:
        client.sendall(head + body)
    assert leaves_nothing(attacked)
    assert not list((attacked.app / "cache" / "sessions").glob("*"))
    assert {path.name for path in (root / "studies").glob("*.nii.gz")} == {"axial.nii.gz"}


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/ohif/assets", 404), ("/ohif/assets/", 404), ("/ohif/assets%2F", 404), ("/ohif/assets/images", 404),
        ("/ohif/assets%2Fimages", 404), ("/ohif/assets%00", 404), ("/ohif/%2e%2e", 404), ("/ohif/assets%5Cx", 404),
        ("/ohif/" + "x" * 300, 404), ("/ohif/" + "x/" * 30, 404), ("/ohif/x.js", 404), ("/ohif/" + "%c3%a9" * 60, 404),
        ("/ohif/assets/../index.html", 404), ("/ohif/assets/%2e%2e%2findex.html", 404), ("/ohif//index.html", 404),
        ("/ohif/viewer", 200), ("/ohif/monai-label?StudyInstanceUIDs=1.2", 200), ("/ohif/index.html", 200),
        ("/ohif/", 200), ("/static/ohif/index.html", 404), ("/favicon.ico/", 404),
    ],
)  # fmt: skip
def test_the_viewers_files_alone_are_given_out(attacked: Server, target: str, status: int) -> None:
    said = {
        method: exchanged(attacked, request_of(attacked, f"{method} {target}", "Connection: close"))
        for method in ("GET", "HEAD")
    }
    got = {method: int(answer.split()[1]) for method, answer in said.items()}
    assert got["GET"] == status, said["GET"][:100]
    # No viewer asks by HEAD. What has the form of a file's address is told which method it takes.
    assert got["HEAD"] in ({405} if status == 200 else {404, 405}), said["HEAD"][:100]


@pytest.mark.parametrize(
    "ranges", ["bytes=0-0,1-1," + "0-," * 5000 + "2-2", "bytes=0-0,0-0", "bytes=-1,-1", "lines=1-2"]
)
def test_many_ranges_do_not_make_a_long_answer_of_a_short_file(attacked: Server, ranges: str) -> None:
    whole = attacked.get("/datastore/image?image=axial")
    answer = attacked.get("/datastore/image?image=axial", headers={"Range": ranges})
    assert (answer.status_code, len(answer.content)) == (200, len(whole.content))
    part = attacked.get("/datastore/image?image=axial", headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, whole.content[:2])


def test_a_volume_that_promises_more_than_there_is_memory_for_is_refused(attacked: Server, root: Path) -> None:
    bomb = nifti_bomb(root / "bomb.nii.gz", (30_000, 30_000, 30_000), 1 << 24).read_bytes()
    nrrd = b"NRRD0004\ntype: double\ndimension: 3\nsizes: 99999 99999 99999\nencoding: gzip\n\n" + gzip.compress(b"")
    for name, content in (("x.nii.gz", bomb), ("x.nrrd", nrrd)):
        answers = [
            attacked.post("/infer/vggunet?output=image", files={"file": (name, content)}, timeout=60),
            attacked.send("PUT", "/datastore/label?image=axial", files={"label": (name, content)}, timeout=60),
        ]
        assert [answer.status_code for answer in answers] == [422, 422], [answer.text for answer in answers]
        assert all(len(answer.content) < 3000 for answer in answers)


def test_a_long_text_comes_back_short_and_printable(attacked: Server) -> None:
    long = "\x1b[31m\u202e" + "x" * 300_000
    segments = [[{"name": 1, long: 1}], [{"name": long, "idx": "1"}], [{"name": "a", "idx": long}], [long], long,
                [{"name": "a", "idx": 10**4000}] * 2, [{"name": f"n{n}", "idx": n} for n in range(5000)]]  # fmt: skip
    asked = [{"label_info": one} for one in segments] + [{long: 1}, {"device": long}, {"label": long}]
    for params in asked:
        answer = attacked.post("/infer/vggunet?image=axial", data={"params": json.dumps(params)})
        assert answer.status_code == 422, answer.text[:300]
        assert_short(answer.json()["detail"])
    paths = (f"/{long[:9000]}", f"/infer/vggunet?{long[:9000]}", f"/infer/vggunet?x={long[:9000]}")
    for answer in (*(attacked.post(path) for path in paths),
                   attacked.post("/scoring/uncertainty", data="{}", headers={"Content-Type": "x" * 9000}),
                   attacked.post("/scoring/uncertainty", json={"client_id": long}),
                   attacked.send("DELETE", "/train/", headers={"Origin": "http://" + "x" * 9000}),
                   attacked.send("PUT", "/session/", files={"files": (f"x.{long}", b"")})):  # fmt: skip
        assert 400 <= answer.status_code < 500
        assert_short(answer.json()["detail"])


def assert_short(detail: str) -> None:
    assert len(detail) < 600, detail
    assert detail.isprintable(), detail


def test_what_is_said_of_a_task_does_not_say_where_things_lie(attacked: Server, root: Path) -> None:
    assert attacked.post("/scoring/uncertainty").ok
    attacked.wait_for("scoring")
    for answer in (attacked.get("/scoring/"), attacked.get("/scoring/?all=true")):
        assert "DONE" in answer.text
        assert len(answer.text) > 300  # the last lines of its log among them
        for place in (root, REPOSITORY, Path.home()):
            assert str(place) not in answer.text, answer.text


def test_labels_that_come_at_once_for_one_study_are_all_kept(attacked: Server, root: Path, tmp_path: Path) -> None:
    files = []
    for number in range(6):
        label = label_array()
        label[number, 0, 0] = 1
        files.append(write_nifti(tmp_path / f"{number}.nii.gz", label, affine_of()))
    with ThreadPoolExecutor(6) as many:
        answers = list(many.map(lambda file: attacked.submit("axial", file), files))
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]
    history = root / "studies" / "label_history" / "axial"
    kept = [np.asarray(nib.load(file).dataobj) for file in sorted(history.glob("*.nii.gz"))]
    assert len(json.loads((history / "history.json").read_text())) == len(kept) == 6
    assert len({array.tobytes() for array in kept}) == 6


def test_a_label_is_not_written_through_a_link(attacked: Server, root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"somebody's file")
    place = root / "studies" / "labels" / "final" / "axial.nii.gz"
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    try:
        answer = attacked.submit("axial", root / "truth.nii.gz")
        assert (answer.status_code, "is a link" in answer.text) == (409, True), answer.text
        assert (tmp_path / "elsewhere").read_bytes() == b"somebody's file"
    finally:
        place.unlink()


def test_names_that_differ_in_case_are_two_and_a_session_of_nobody_is_none(attacked: Server, root: Path) -> None:
    assert attacked.infer("vggunet", "AXIAL").status_code == 404
    assert attacked.infer("VGGUNET", "axial").status_code == 404
    volume = {"files": ("x.nii.gz", compressed_nifti_bytes())}
    made = attacked.send("PUT", "/session/", files=volume).json()["session_id"]
    guesses = [made.upper(), made[:-1] + ("0" if made[-1] != "0" else "1"), made + "/", made + "%00", "." + made]
    for guess in guesses:
        assert attacked.get(f"/session/{guess}").status_code == 404, guess
    assert attacked.send("DELETE", f"/session/{made}").ok
    assert attacked.get(f"/session/{made}").status_code == 404
