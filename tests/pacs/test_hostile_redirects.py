"""Redirections, cookies and `.netrc`: nothing that is for one archive goes to another address."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from dicom_phantoms import SEGMENTATION_CLASS, write_series
from hostile_archive import HostileArchive, Request, answer, endless, head, trickle

from monai_vggunet.errors import PacsAccessError, PacsError, PacsStoreError
from monai_vggunet.pacs import DicomWebServer, Retries, StowServer, download_study
from monai_vggunet.pacs.archive_session import ArchiveSession
from monai_vggunet.pacs.credentials import Credentials

CT = "1.2.3.4.5.61"
SECRET = "tOp-SECRET-0815"
QUICK = Retries(attempts=2, first_wait_sec=0.01)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[HostileArchive]:
    with HostileArchive(series={CT: write_series(tmp_path / "ct", series_uid=CT)}) as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[HostileArchive]:
    """Another address: the same machine, another port."""
    with HostileArchive(answers={"": answer(b"[]")}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "came").mkdir()
    return tmp_path / "came"


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with credentials for every address of this machine, as a hospital's user may have it."""
    home = tmp_path / "home"
    home.mkdir()
    names = ("127.0.0.1", "localhost", "::1", "[::1]")
    lines = [f"machine {name} login someone password {SECRET}" for name in names]
    (home / ".netrc").write_text("\n".join([*lines, f"default login someone password {SECRET}\n"]))
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    return home / ".netrc"


def connect(archive: HostileArchive, token: str = "") -> DicomWebServer:
    return DicomWebServer(archive.dicomweb, Credentials(token=token), timeout_sec=5.0, retries=QUICK)


def bring(archive: HostileArchive, folder: Path, token: str = "") -> int:
    return download_study(connect(archive, token), archive.study, folder, show_progress=False)


def moved(location: str, status: str = "302 Found", **headers: str) -> bytes:
    return answer(b"", status=status, Location=location, **headers)


def test_requests_would_take_credentials_out_of_netrc(archive: HostileArchive, netrc: Path) -> None:
    """Or the tests below say nothing."""
    requests.get(archive.dicomweb, timeout=5)
    assert "authorization" in archive.seen[0].headers


@pytest.mark.parametrize("token", ["", "mine"])
def test_netrc_is_not_looked_at_even_on_redirections(
    archive: HostileArchive, folder: Path, netrc: Path, token: str
) -> None:
    archive.answers = {"/series?": lambda request: moved(request.path.replace("/series?", "/again/series?"))}
    archive.answers = {"/again/": answer(b"[]"), **archive.answers}
    with pytest.raises(PacsError, match="knows no study"):
        bring(archive, folder, token)
    assert len(archive.seen) == 2
    assert [request.headers.get("authorization") for request in archive.seen] == [
        f"Bearer {token}" if token else None
    ] * 2


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirection_within_the_archive_is_followed_with_its_credentials(
    archive: HostileArchive, folder: Path, status: str
) -> None:
    def once(request: Request) -> bytes:
        if request.path.startswith("/moved"):
            return archive.honest(Request("GET", request.path.removeprefix("/moved"), {}, b""))
        return moved(f"/moved{request.path}", status)

    archive.answers = {"": once}
    assert bring(archive, folder, SECRET) == 4
    assert {request.headers["authorization"] for request in archive.seen} == {f"Bearer {SECRET}"}


LOCATIONS = [
    "http://127.0.0.1:{other}/dicom-web/studies",
    "http://localhost:{port}/dicom-web/studies",
    "https://127.0.0.1:{port}/dicom-web/studies",
    "//127.0.0.1:{other}/dicom-web/studies",
    "//localhost:{port}/",
    "http://127.0.0.1/dicom-web/studies",
    "http://127.0.0.1:{port}@localhost:{other}/",
    "http://localhost:{other}\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@localhost:{other}/",
    "http://someone:else@127.0.0.1:{port}/dicom-web/studies",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "http://[::1]:{other}/",
    "http://127.1:{port}/",
    "http://2130706433:{other}/",
    "http://[",
    "http://127.0.0.1:99999999/",
    "javascript:alert(1)",
    "\t//localhost:{other}/x",
    "http:\\\\localhost:{other}\\x",
    "http://\x1b[2Jlocal\u202ehost:{other}/",
    "http://" + "a" * 5000 + "/",
]


@pytest.mark.parametrize("status", ["302 Found", "308 Permanent Redirect"])
@pytest.mark.parametrize("location", LOCATIONS)
def test_a_redirection_to_another_address_is_not_followed(
    archive: HostileArchive, elsewhere: HostileArchive, folder: Path, netrc: Path, location: str, status: str
) -> None:
    where = location.format(port=archive.port, other=elsewhere.port)
    where = where.encode().decode("latin-1")
    archive.answers = {"": moved(where, status)}
    with pytest.raises(PacsError) as refusal:
        bring(archive, folder, "mine")
    assert not elsewhere.seen
    told = str(refusal.value)
    assert told.isprintable()
    assert len(told) < 400
    assert "else" not in told.partition("address (")[2].partition(")")[0]


def test_where_it_should_go_is_said(archive: HostileArchive, elsewhere: HostileArchive, folder: Path) -> None:
    archive.answers = {"": moved(elsewhere.dicomweb)}
    with pytest.raises(
        PacsError, match=rf"redirects to another address \(http://127.0.0.1:{elsewhere.port}\).*give its URL"
    ):
        bring(archive, folder)
    assert len(archive.seen) == 1


def test_instances_are_not_fetched_from_another_address(
    archive: HostileArchive, elsewhere: HostileArchive, folder: Path
) -> None:
    archive.answers = {f"/series/{CT} ": moved(f"{elsewhere.dicomweb}/studies/{archive.study}/series/{CT}")}
    with pytest.raises(PacsError, match="redirects to another address"):
        bring(archive, folder)
    assert not elsewhere.seen


def test_a_redirection_in_circles_ends(archive: HostileArchive, folder: Path) -> None:
    archive.answers = {"": lambda request: moved(request.path + "x")}
    with pytest.raises(PacsError, match="redirects in circles"):
        bring(archive, folder)
    assert len(archive.seen) == 6


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return write_series(tmp_path / "result", SOPClassUID=SEGMENTATION_CLASS, Modality="SEG")[0]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_an_object_is_not_stored_at_another_address(
    archive: HostileArchive, elsewhere: HostileArchive, result: Path, netrc: Path, status: str
) -> None:
    archive.answers = {"POST": moved(f"{elsewhere.dicomweb}/studies", status)}
    with pytest.raises(PacsStoreError, match=r"redirects to another address|the result is not stored"):
        StowServer(connect(archive, "mine")).store(result)
    assert not elsewhere.seen
    assert len(archive.seen) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other"])
def test_an_object_does_not_become_a_search(archive: HostileArchive, result: Path, status: str) -> None:
    """As `requests` would have it, after the browsers."""
    archive.answers = {"POST": moved("/dicom-web/other/studies", status)}
    with pytest.raises(PacsStoreError, match=rf"answered {status[:3]} .* the result is not stored"):
        StowServer(connect(archive)).store(result)
    assert [request.method for request in archive.seen] == ["POST"]


@pytest.mark.parametrize("status", ["307 Temporary", "308 Permanent"])
def test_an_object_is_sent_again_within_the_archive(archive: HostileArchive, result: Path, status: str) -> None:
    archive.answers = {"POST /dicom-web/studies": moved("/dicom-web/other/studies", status)}
    StowServer(connect(archive, "mine")).store(result)
    first, second = archive.seen
    assert first.body == second.body
    assert result.read_bytes() in second.body
    assert second.headers["authorization"] == "Bearer mine"


def test_cookies_are_not_kept(archive: HostileArchive, elsewhere: HostileArchive, folder: Path) -> None:
    cookie = f"id={SECRET}; Path=/; Domain=127.0.0.1"
    archive.answers = {
        "/again/": answer(b"[]"),
        "": lambda r: moved(r.path.replace("/series?", "/again/series?"), Set_Cookie=cookie),
    }
    with pytest.raises(PacsError, match="knows no study"):
        bring(archive, folder)
    assert len(archive.seen) == 2
    assert not any("cookie" in request.headers for request in archive.seen)


def test_a_session_asks_no_other_address(elsewhere: HostileArchive) -> None:
    """Whatever an answer names (BulkDataURI, RetrieveURL, Link): the session itself is bound."""
    session = ArchiveSession("http://127.0.0.1:9/dicom-web", Credentials(token="mine"), 5.0)
    with pytest.raises(PacsError, match="redirects to another address"):
        session.get(elsewhere.dicomweb, timeout=5)
    assert not elsewhere.seen


def test_proxies_and_certificates_come_from_the_environment(
    elsewhere: HostileArchive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{elsewhere.port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.devnull)
    server = DicomWebServer("http://pacs.example/dw", timeout_sec=5.0, retries=QUICK)
    with pytest.raises(PacsError, match="knows no study"):
        download_study(server, "1.2.3", folder, show_progress=False)
    assert elsewhere.seen[0].path.startswith("http://pacs.example/dw/studies/1.2.3/series?")
    settings = server.session.merge_environment_settings("https://pacs.example/dw", {}, None, None, None)
    assert settings["verify"] == os.devnull


def test_an_answer_through_a_proxy_is_bounded_as_well(
    elsewhere: HostileArchive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{elsewhere.port}")
    monkeypatch.setenv("no_proxy", "")
    elsewhere.answers = {"": lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n")}
    with pytest.raises(PacsError, match="HTTP headers or chunk sizes without content"):
        download_study(DicomWebServer("http://pacs.example/dw", retries=QUICK), "1.2.3", folder, show_progress=False)


@pytest.fixture
def encryption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A hospital's own certificate, as a user names it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pacs"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_encrypted_answers_are_bounded_as_well(
    archive: HostileArchive, folder: Path, result: Path, encryption: ssl.SSLContext
) -> None:
    archive.encryption = encryption
    assert bring(archive, folder, SECRET) == 4
    StowServer(connect(archive)).store(result)
    server = DicomWebServer(archive.dicomweb, timeout_sec=0.4, retries=QUICK)
    for said, message in (
        (lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n"), "HTTP headers or chunk sizes without content"),
        (lambda _: trickle(b" ", head()), "is too slow"),
        (moved(archive.dicomweb.replace("https", "http")), "redirects to another address"),
    ):
        archive.answers = {"": said}
        with pytest.raises(PacsError, match=message):
            download_study(server, archive.study, folder, show_progress=False)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    archive: HostileArchive, folder: Path, encryption: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.encryption = encryption
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(PacsError, match="certificate or protocol is not accepted"):
        bring(archive, folder, SECRET)
    assert not archive.seen


def test_wrong_credentials_are_not_sent_twice(archive: HostileArchive, folder: Path, netrc: Path) -> None:
    archive.answers = {
        "": answer(b"", status="401 Unauthorized", WWW_Authenticate="Basic realm=x, Negotiate, Digest y=z")
    }
    with pytest.raises(PacsAccessError, match="refused access"):
        bring(archive, folder)
    assert len(archive.seen) == 1
    assert "authorization" not in archive.seen[0].headers
