"""Credentials from the environment alone, and where they are not sent."""

from __future__ import annotations

import builtins
import logging
from typing import Any

import pytest
import requests

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.pacs import DicomWebServer, StorageScp, StowServer, open_pacs, store_targets
from monai_vggunet.pacs.credentials import Credentials, check_url, credentials_from_environment
from monai_vggunet.pacs.targets import READING, STORING

SECRET = "tOp-SECRET-0815"


def test_credentials_come_from_the_environment_and_are_not_shown() -> None:
    token = credentials_from_environment("X", {"X_TOKEN": f" {SECRET}\n"})
    basic = credentials_from_environment("X", {"X_USER": "me", "X_PASSWORD": SECRET})
    assert (token.token, basic.user, basic.password) == (SECRET, "me", SECRET)
    assert SECRET not in f"{token!r} {basic!r} {token} {basic}"
    assert not credentials_from_environment("X", {"Y_TOKEN": SECRET}).given


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"X_TOKEN": SECRET, "X_USER": "me"}, "are both set"),
        ({"X_USER": "me"}, "X_PASSWORD is not set"),
        ({"X_PASSWORD": SECRET}, "X_USER is not set"),
        ({"X_TOKEN": f"Bearer {SECRET}"}, "set it without 'Bearer'"),
        ({"X_TOKEN": f"{SECRET}\r\nX-Evil: 1"}, "characters that no token has"),
        ({"X_USER": "me:too", "X_PASSWORD": SECRET}, "holds a colon"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_and_not_repeated(environment: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refusal:
        credentials_from_environment("X", environment)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "url", [f"https://me:{SECRET}@pacs/dw", f"https://{SECRET}@pacs/dw", f"https://pacs?t={SECRET}"]
)
def test_credentials_in_the_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="everybody on this machine can read a command line") as refusal:
        check_url(url, has_credentials=False)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("url", ["ftp://pacs", "pacs", "http://", "http://pacs:port/x", "", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no DICOMweb URL"):
        check_url(url, has_credentials=False)


def test_credentials_go_unencrypted_to_this_machine_alone(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("http://localhost:8042/dicom-web/", "http://127.0.0.1:8042/dicom-web", "http://[::1]/dicom-web"):
        assert check_url(url, has_credentials=True) == url.rstrip("/")
    assert not caplog.records
    with pytest.raises(ConfigurationError, match="show the credentials to anyone on the way"):
        check_url("http://pacs.example/dicom-web", has_credentials=True)
    with pytest.raises(ConfigurationError, match="pass --allow-plain-http"):
        check_url("http://127.0.0.1.example/dicom-web", has_credentials=True)
    assert check_url("https://pacs.example", has_credentials=True)
    assert not caplog.records
    check_url("http://pacs.example", has_credentials=True, allow_plain_http=True)
    check_url("http://pacs.example", has_credentials=False)
    assert caplog.text.count("images travel unencrypted") == 2


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials(token="abc"), "Bearer abc"),
        (Credentials(user="ä", password="€"), "Basic w6Q64oKs"),
        (Credentials(), None),
    ],
)
def test_requests_are_signed_and_no_netrc_is_looked_at(
    credentials: Credentials, header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.sessions.get_netrc_auth", lambda _: ("someone", "else"))
    server = DicomWebServer("https://pacs.example/dw", credentials)
    session = server.client._session
    prepared = session.prepare_request(requests.Request("GET", "https://pacs.example/dw", {"Host": "pacs"}))
    assert prepared.headers.get("Authorization") == header
    assert "Host" not in prepared.headers, "left to the connection, which knows the port"


def test_a_redirection_to_another_host_takes_no_credentials_along() -> None:
    session = DicomWebServer("https://pacs.example/dw", Credentials(token="abc")).client._session
    first = session.prepare_request(requests.Request("GET", "https://pacs.example/dw"))
    answer = requests.Response()
    answer.request = first
    onward = first.copy()
    onward.url = "https://elsewhere.example/dw"
    session.rebuild_auth(onward, answer)
    assert "Authorization" not in onward.headers


def test_store_names_urls_and_nodes() -> None:
    targets = store_targets(
        ["127.0.0.1:4242:ORTHANC", "[::1]:104:MY PACS", "https://pacs.example/dw"], calling_aet="ME"
    )
    nodes = [target for target in targets if isinstance(target, StorageScp)]
    assert [(n.host, n.port, n.aet, n.calling_aet) for n in nodes] == [
        ("127.0.0.1", 4242, "ORTHANC", "ME"),
        ("::1", 104, "MY PACS", "ME"),
    ]
    assert isinstance(targets[2], StowServer)
    assert targets[2].name == "https://pacs.example/dw"


@pytest.mark.parametrize(
    ("words", "title", "message"),
    [
        (["pacs"], "ME", "expects HOST:PORT:AET or a DICOMweb URL"),
        (["pacs:99999:AET"], "ME", "expects HOST:PORT:AET"),
        (["pacs:104:A_TITLE_THAT_IS_TOO_LONG"], "ME", "is no application entity title"),
        (["pacs:104:AET"], "", "--calling-aet: '' is no application entity title"),
        (["https://a.example", "https://b.example"], "ME", "names 2 DICOMweb servers"),
        ([f"https://me:{SECRET}@pacs/dw"], "ME", "holds credentials"),
        ([f"me:{SECRET}@pacs:104"], "ME", "got something else"),
    ],
)
def test_targets_that_are_none_are_refused(words: list[str], title: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refusal:
        store_targets(words, calling_aet=title)
    assert SECRET not in str(refusal.value)


def test_each_server_gets_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{READING}_TOKEN", "reading")
    monkeypatch.setenv(f"{STORING}_TOKEN", "storing")
    home = "https://pacs.example/dicom-web"
    session = open_pacs(home, [home, "https://pacs.example:443/other", "https://research.example/dw"])
    assert session.server is not None
    assert session.delivery is not None
    tokens = [target.server.client._session.auth.token for target in session.delivery.targets]
    assert tokens == ["reading", "reading", "storing"]
    assert session.server.client._session.auth.token == "reading"


def test_results_go_back_unless_told_otherwise() -> None:
    assert [t.name for t in open_pacs("https://pacs.example/dw/").delivery.targets] == ["https://pacs.example/dw"]  # type: ignore[union-attr]
    assert open_pacs("https://pacs.example/dw", []).delivery is None
    assert open_pacs().delivery is None


@pytest.mark.parametrize("missing", ["dicomweb_client", "pynetdicom"])
def test_without_the_extra_the_error_says_how_to_install_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(name)
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r'pip install "monai-vggunet\[dicomweb\]"'):
        store_targets(["https://pacs.example" if missing == "dicomweb_client" else "pacs:104:AET"])


def test_the_log_is_not_told_of_credentials(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "dicomweb_client", "urllib3"):  # the command line silences them, in an earlier test maybe
        caplog.set_level(logging.DEBUG, logger=name)
    server = DicomWebServer("http://127.0.0.1:9/dw", Credentials(token=SECRET), timeout_sec=0.5)
    with pytest.raises(requests.ConnectionError):
        server.client.search_for_series("1.2.3")
    assert "1.2.3" in caplog.text
    assert SECRET not in caplog.text
