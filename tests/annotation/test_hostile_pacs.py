"""Annotation on an archive that is hostile: nothing goes elsewhere, and no file is named by what it says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_series
from hostile_archive import MULTIPART, HostileArchive, Request, answer, endless, multipart, qido
from label_server import PYTHON, Server, running_server, tiny_model
from phantoms import ct_array, label_array

pytestmark = pytest.mark.label
STUDY, CT, MOVED, ENDLESS, PAGE = "1.2.3.4.5", "1.2.3.4.100", "1.2.3.4.200", "1.2.3.4.300", "1.2.3.4.400"
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*", "Set-Cookie": "a=b"}
SECRET = "tOp-SECRET-0815"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[HostileArchive]:
    with HostileArchive() as running:
        yield running


@pytest.fixture(scope="module")
def archive(folder: Path, elsewhere: HostileArchive) -> Iterator[HostileArchive]:
    files = write_series(folder / "ct", np.ascontiguousarray(ct_array(label_array()).T), series_uid=CT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is no UID
        climbing = pydicom.dcmread(files[0])
        climbing.SOPInstanceUID = climbing.file_meta.MediaStorageSOPInstanceUID = "../../../climbed"
        climbing.save_as(files[0])

    def search(request: Request) -> bytes:
        entries = [entry(uid) for uid in (CT, MOVED, ENDLESS) if uid in request.path or "Modality=CT" in request.path]
        return qido(entries)

    answers = {
        "/dicom-web/series?": search,
        MOVED: answer(b"", status="307 Go", Location=f"{elsewhere.dicomweb}/studies/{STUDY}/series/{MOVED}"),
        PAGE: answer(b"<script>run()</script>", "text/html", **OPEN_TO_ALL),
        ENDLESS: lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        CT: answer(multipart([file.read_bytes() for file in files]), MULTIPART),
    }
    with HostileArchive(answers=answers) as running:
        yield running


def entry(uid: str) -> dict:
    values = {"00080060": ("CS", "CT"), "0020000D": ("UI", STUDY), "0020000E": ("UI", uid), "00100020": ("LO", "1")}
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}


@pytest.fixture(scope="module")
def server(folder: Path, archive: HostileArchive) -> Iterator[Server]:
    """Its user has credentials for this machine in `.netrc`."""
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    (folder / ".netrc").write_text(f"machine 127.0.0.1 login someone password {SECRET}\n")
    (folder / ".netrc").chmod(0o600)
    (folder / "work").mkdir()
    model = tiny_model(folder / "model")
    with running_server(archive.dicomweb, model, folder / "work", HOME=str(folder)) as running:
        yield running


def test_a_file_is_not_named_by_the_archive(server: Server, folder: Path) -> None:
    reply = server.infer("vggunet", CT, result_extension=".nii.gz")
    assert reply.status_code == 200, reply.text
    assert not list(folder.rglob("*climbed*"))


def test_a_series_is_not_fetched_from_another_address(
    server: Server, archive: HostileArchive, elsewhere: HostileArchive
) -> None:
    reply = server.infer("vggunet", MOVED)
    assert reply.status_code == 502
    assert "sends us on to another address" in reply.text
    assert not elsewhere.seen


def test_an_answer_without_end_is_stopped(server: Server) -> None:
    reply = server.infer("vggunet", ENDLESS)
    assert reply.status_code == 502
    assert "HTTP heads or chunk sizes without content" in reply.text


@pytest.mark.parametrize("uid", [MOVED, ENDLESS])
def test_the_viewer_is_not_led_elsewhere_and_does_not_wait_for_ever(
    server: Server, elsewhere: HostileArchive, uid: str
) -> None:
    for service in ("wado", "qido"):
        reply = server.get(f"/proxy/dicom/{service}/studies/{STUDY}/series/{uid}/metadata")
        assert reply.status_code == 502
        assert "the DICOMweb server gave no answer" in reply.json()["detail"]
    assert not elsewhere.seen


def test_a_page_of_the_archives_is_not_shown_as_one_of_the_servers(server: Server) -> None:
    reply = server.get(f"/proxy/dicom/wado/studies/{STUDY}/series/{PAGE}/metadata")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert not {name.title() for name in reply.headers} & set(OPEN_TO_ALL)


def test_netrc_is_not_looked_at(server: Server, archive: HostileArchive) -> None:
    assert archive.seen
    assert not any("authorization" in request.headers for request in archive.seen)
