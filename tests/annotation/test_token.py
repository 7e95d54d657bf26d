"""A server that asks for a token: who has it not gets nothing, and 3D Slicer, browsers and programs can send it."""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from label_server import PYTHON, Server, running_server, tiny_model
from nifti_bytes import compressed_nifti_bytes
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.annotation.chosen_token import TOKEN_VARIABLE
from monai_vggunet.annotation.front.routes import CLOSED, SERVED

pytestmark = pytest.mark.label
TOKEN = "t0ken-of-the-tests"
MEGABYTE = 1 << 20
EXTENSION = PYTHON.parents[1] / "monailabel" / "plugins" / "slicer" / "MONAILabel"


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("token")
    write_nifti(root / "studies" / "axial.nii.gz", ct_array(label_array()), affine_of())
    return root / "studies"


@pytest.fixture(scope="module")
def guarded(studies: Path) -> Iterator[Server]:
    options = ("--token", TOKEN, "--max-upload-mb", "1", "--allow-host", "label.example")
    with running_server(studies, tiny_model(studies.parent / "model"), studies.parent, *options) as server:
        yield server


def test_without_the_token_nothing_is_answered_not_even_what_there_is(guarded: Server) -> None:
    served = [(route.method, route.path) for route in SERVED if not route.without_token]
    closed = [(method, one.path) for one in CLOSED for method in one.methods if method != "MOUNT"]
    for method, path in [*served, *closed, ("GET", "/nowhere"), ("OPTIONS", "/info/"), ("PATCH", "/info/")]:
        path = path.replace("{path:path}", "studies").replace("{", "").replace("}", "")
        answer = guarded.send(method, path, auth=None)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    wrong = [f"Bearer {TOKEN}x", "Bearer ", TOKEN, f"Token {TOKEN}"]
    wrong += [f"Basic {b64encode(pair).decode()}" for pair in (b"annotator:wrong", f"{TOKEN}:".encode())]
    for header in wrong:
        assert requests.get(f"{guarded.url}/info/", headers={"Authorization": header}, timeout=60).status_code == 401
    assert requests.get(f"{guarded.url}/info/", params={"token": TOKEN}, timeout=60).status_code == 401


def test_with_it_a_browser_and_a_program_get_in(guarded: Server) -> None:
    for auth in (("anyone", TOKEN), ("", TOKEN)):
        assert guarded.get("/info/", auth=auth).ok
        assert guarded.get("/ohif/", auth=auth).ok
    assert requests.get(f"{guarded.url}/info/", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).ok
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()  # as the documentation tells 3D Slicer's Python
    passwords.add_password(None, guarded.url, "annotator", TOKEN)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    with opener.open(f"{guarded.url}/datastore/image?image=axial", timeout=60) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{guarded.url}/datastore/image?image=axial", timeout=60)


def test_guesses_are_slowed_down_and_lock_nobody_out(guarded: Server) -> None:
    """From the same address, in a flood, by either way to send a token; whatever address the client says it has."""

    def guess(number: int) -> int:
        wrong = f"wrong-token-number-{number}"
        if number % 2:
            headers = {"X-Forwarded-For": f"10.0.0.{number}"}
            return guarded.get("/info/", auth=("annotator", wrong), headers=headers).status_code
        return guarded.post("/auth/token", auth=None, data={"username": "x", "password": wrong}).status_code

    with ThreadPoolExecutor(50) as many:
        guesses = [many.submit(guess, number) for number in range(100)]
        for _ in range(5):
            assert guarded.get("/info/", timeout=20).ok
        assert not all(one.done() for one in guesses)
    statuses = [one.result() for one in guesses]
    assert set(statuses) == {401, 429}
    assert guarded.get("/info/", timeout=20).ok
    assert "10.0.0." not in guarded.log.read_text()
    assert guarded.log.read_text().count("a wrong token came from 127.0.0.1") < 12


def test_a_page_of_another_origin_does_not_use_the_token_a_browser_keeps(guarded: Server) -> None:
    answer = guarded.send("DELETE", "/train/", headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_it_answers_to_the_name_it_was_given(guarded: Server) -> None:
    assert guarded.get("/info/", headers={"Host": "label.example"}).ok
    assert guarded.get("/info/", headers={"Host": "evil.example"}).status_code == 400


def test_slicer_logs_in_and_works(guarded: Server, studies: Path, tmp_path: Path) -> None:
    """As the extension's own logic does it: a new client for each step, with what its dialog got to know."""
    spec = importlib.util.spec_from_file_location("slicer_client", EXTENSION / "MONAILabelLib" / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stranger: Any = module.MONAILabelClient(guarded.url, str(tmp_path), "user-xyz")
    assert stranger.auth_enabled()
    with pytest.raises(module.MONAILabelClientException):
        stranger.auth_token("user-xyz", "wrong")
    assert not stranger.auth_valid_token()
    token = stranger.auth_token("user-xyz", TOKEN)

    def client() -> Any:
        made = module.MONAILabelClient(guarded.url, str(tmp_path), "user-xyz")
        made.update_auth(token)
        assert made.auth_valid_token()
        return made

    assert "vggunet" in client().info()["models"]
    assert client().next_sample("first", {})["id"] == "axial"
    assert "axial" in client().datastore()["objects"]
    file, said = client().infer("vggunet", "axial", {"result_extension": ".nrrd", "result_dtype": "uint8"})
    assert Path(file).is_file()
    assert "liver" in said["label_names"]
    session = client().create_session(str(studies / "axial.nii.gz"))["session_id"]
    assert client().get_session(session)
    client().remove_session(session)
    label = write_nifti(tmp_path / "label.nii.gz", label_array(), affine_of())
    segments = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
    client().save_label("axial", str(label), params={"label_info": segments})
    assert Path(client().download_label("axial", "final")).is_file()
    assert not client().train_status(check_if_running=True)


def test_an_upload_is_taken_up_to_its_limit_alone(guarded: Server, studies: Path) -> None:
    auth = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.nii.gz"\r\n\r\n'
    head += compressed_nifti_bytes()
    whole = head + b"\0" * MEGABYTE + b"\r\n--b--\r\n"
    chunks = (whole[start : start + 65536] for start in range(0, len(whole), 65536))
    for path in ("/session/", "/datastore/image?image=new", "/datastore/label?image=axial"):
        assert requests.put(guarded.url + path, data=whole, headers=auth, timeout=60).status_code == 413
    assert requests.put(f"{guarded.url}/session/", data=chunks, headers=auth, timeout=60).status_code == 413
    less = head + b"\0" * (MEGABYTE - 1000) + b"\r\n--b--\r\n"
    made = requests.put(f"{guarded.url}/session/", data=less, headers=auth, timeout=60)
    assert made.status_code == 200, made.text
    assert guarded.send("DELETE", f"/session/{made.json()['session_id']}").ok


def test_neither_a_log_nor_a_process_that_is_started_gets_to_know_it(guarded: Server) -> None:
    assert guarded.post("/scoring/uncertainty").ok
    started = []
    for _ in range(400):
        server = psutil.Process(guarded.process.pid)
        # One that is just being started has the server's own command line for a moment.
        started = [one for one in server.children(recursive=True) if one.cmdline() not in ([], server.cmdline())]
        if started or guarded.get("/scoring/").json()["status"] == "DONE":
            break
    assert started, "the scoring was never seen to run"
    for process in started:
        assert TOKEN not in " ".join(process.cmdline())
        assert not process.environ().get(TOKEN_VARIABLE)
    assert guarded.send("DELETE", "/scoring/").ok
    logs = [guarded.log, *(guarded.app / "logs").iterdir()]
    assert "a wrong token came from 127.0.0.1" in guarded.log.read_text()
    for log in logs:
        assert TOKEN not in log.read_text()
