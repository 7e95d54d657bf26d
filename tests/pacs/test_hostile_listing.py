"""Searches of an archive that is hostile or broken: bounded by entries, pages, bytes and time."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from dicom_phantoms import write_series
from hostile_archive import (
    MULTIPART,
    Answer,
    HostileArchive,
    Request,
    answer,
    chunked,
    endless,
    head,
    instance_entry,
    multipart,
    qido,
    series_entry,
    trickle,
)

from monai_vggunet.errors import PacsAccessError, PacsError, PacsLimitError, PacsUnavailableError
from monai_vggunet.pacs import DicomWebServer, Retries, download_study

CT = "1.2.3.4.5.61"
QUICK = Retries(attempts=3, first_wait_sec=0.01)
JSON = {"Content_Type": "application/dicom+json"}
LISTING, INSTANCES = "/series?", "/instances?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "came").mkdir()
    return tmp_path / "came"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[HostileArchive]:
    with HostileArchive(series={CT: write_series(tmp_path / "ct", series_uid=CT)}) as running:
        yield running


def bring(archive: HostileArchive, folder: Path, timeout_sec: float = 5.0, retries: Retries = QUICK) -> int:
    server = DicomWebServer(archive.dicomweb, timeout_sec=timeout_sec, retries=retries)
    return download_study(server, archive.study, folder, show_progress=False)


def test_an_honest_archive_is_taken_at_its_word(archive: HostileArchive, folder: Path) -> None:
    assert bring(archive, folder) == 4
    assert {file.read_bytes() for file in folder.iterdir()} == {file.read_bytes() for file in archive.series[CT]}


def new_series(request: Request, number: int = 500) -> bytes:
    return qido([series_entry(f"1.2.{request.offset + n}", 1) for n in range(number)])


def new_instances(request: Request) -> bytes:
    return qido([instance_entry(f"1.2.{request.offset + n}") for n in range(500)])


def test_pages_without_end_are_stopped(archive: HostileArchive, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.pacs.listing.MOST_LISTED", 2000)
    archive.answers = {LISTING: new_series}
    with pytest.raises(PacsLimitError, match="asked to list the series of a study, lists more than 2000: stopped"):
        bring(archive, folder)
    assert len(archive.seen) == 5


def test_pages_of_one_entry_each_are_stopped(
    archive: HostileArchive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_vggunet.pacs.listing.MOST_PAGES", 30)
    archive.answers = {LISTING: lambda request: new_series(request, 1)}
    with pytest.raises(PacsLimitError, match=r"sends page after page.*stopped after 30"):
        bring(archive, folder)
    assert len(archive.seen) == 30


def test_instances_without_end_are_bounded_by_what_the_series_is_said_to_hold(
    archive: HostileArchive, folder: Path
) -> None:
    one = multipart([archive.series[CT][0].read_bytes()]).rpartition(b"--")[0]
    archive.answers = {INSTANCES: new_instances, f"/series/{CT} ": head(Content_Type=MULTIPART) + one}
    with pytest.raises(PacsLimitError, match="asked to list the instances of a series, lists more than 4"):
        bring(archive, folder)


@pytest.mark.parametrize("n_instances", [10**8, "99999999"])
def test_a_series_of_a_hundred_million_instances_is_refused(
    archive: HostileArchive, folder: Path, n_instances: Any
) -> None:
    archive.answers = {LISTING: qido([series_entry(CT, n_instances)])}
    with pytest.raises(PacsLimitError, match="expected at most 100000"):
        bring(archive, folder)


@pytest.mark.parametrize("n_instances", ["²", "-4", "4.5", "9" * 5000, None, "", True])
def test_a_count_that_is_none_is_not_relied_on(archive: HostileArchive, folder: Path, n_instances: Any) -> None:
    archive.answers = {LISTING: lambda request: qido([series_entry(CT, n_instances)][request.offset :])}
    assert bring(archive, folder) == 4


def test_the_same_page_again_and_again_is_the_end(archive: HostileArchive, folder: Path) -> None:
    archive.answers = {LISTING: qido([series_entry(CT, 4)])}
    assert bring(archive, folder) == 4
    assert sum(LISTING in request.path for request in archive.seen) == 2


def test_series_of_another_study_are_refused(archive: HostileArchive, folder: Path) -> None:
    other = series_entry(CT, 4, **{"0020000D": {"vr": "UI", "Value": ["1.2.9"]}})
    archive.answers = {LISTING: qido([other])}
    with pytest.raises(PacsError, match="lists series of another study"):
        bring(archive, folder)


@pytest.mark.parametrize(
    "uid",
    [
        "../../../etc/passwd",
        "..",
        "1/2",
        "1.2\n\x1b[2J",
        "1.2@evil",
        "%2e%2e",
        "1" * 65,
        "\u202e1.2",
        {"a": 1},
        ["x"],
        5.5,
    ],
)
def test_what_is_no_uid_becomes_neither_a_path_nor_a_message(archive: HostileArchive, folder: Path, uid: Any) -> None:
    archive.answers = {LISTING: qido([series_entry(uid, 4)])}
    with pytest.raises(PacsError, match=r"is no DICOM UID|cannot be read \(TypeError\)") as refusal:
        bring(archive, folder)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
    assert all(request.path.startswith("/dicom-web/studies/1.2.3.4.5/series?") for request in archive.seen)


def test_what_the_archive_says_is_shown_printable_and_shortened(archive: HostileArchive, folder: Path) -> None:
    evil = "\x1b]0;owned\x07\n2026 INFO forged\u202e\u2066" + "A" * 10_000
    archive.answers = {LISTING: qido([series_entry(f"1.2.{n}", 4, evil) for n in range(400)])}
    server = DicomWebServer(archive.dicomweb, retries=QUICK)
    with pytest.raises(PacsError, match=r"holds no series 9\.9 \(--series\); it holds .* and 390 more") as refusal:
        download_study(server, archive.study, folder, series_uid="9.9", show_progress=False)
    assert str(refusal.value).isprintable()
    assert "1.2.0 (" in str(refusal.value)
    assert "forged" not in str(refusal.value)
    assert len(str(refusal.value)) < 1500


ENTRY = json.dumps(series_entry("1.2.3", 4)).encode()


def bomb(repeated: bytes = b" ") -> Iterator[bytes]:
    """Return a gzip stream of many gigabytes."""
    packer = zlib.compressobj(9, wbits=31)
    block = repeated * (1 << 20)
    while True:
        yield packer.compress(block)


ENDLESS: dict[str, tuple[Callable[[], Answer], str]] = {
    "json": (
        lambda: endless(ENTRY + b",", head(**JSON) + b"["),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "json in chunks": (
        lambda: chain([head(Transfer_Encoding="chunked", **JSON)], chunked(endless(ENTRY + b","))),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "json said to be 10 GB": (
        lambda: endless(b" ", head(Content_Length=10**10, **JSON)),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "gzip": (
        lambda: chain([head(Content_Encoding="gzip", **JSON)], bomb()),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "gzip in chunks": (
        lambda: chain([head(Content_Encoding="GZIP", Transfer_Encoding="chunked", **JSON)], chunked(bomb())),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "an error's text": (
        lambda: endless(b"no ", head("404 Not Found")),
        "sent more than 16777216 bytes in one answer: stopped",
    ),
    "a header": (lambda: endless(b"a", b"HTTP/1.1 200 OK\r\nX: "), "does not answer as a web server does"),
    "headers": (lambda: endless(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n"), "does not answer as a web server does"),
    "the status line": (lambda: endless(b"a"), "does not answer as a web server does"),
    "100 Continue": (
        lambda: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "bytes of HTTP headers or chunk sizes without content",
    ),
    "a chunk's size": (
        lambda: endless(b"0", head(Transfer_Encoding="chunked", **JSON)),
        "bytes of HTTP headers or chunk sizes without content|failed or broke",  # urllib3 has a limit as well
    ),
    "trailers": (
        lambda: endless(b"X: y\r\n", head(Transfer_Encoding="chunked", **JSON) + b"2\r\n[]\r\n0\r\n"),
        "bytes of HTTP headers or chunk sizes without content",
    ),
}


@pytest.mark.parametrize("attack", ENDLESS)
def test_an_answer_without_end_is_stopped(archive: HostileArchive, folder: Path, attack: str) -> None:
    said, message = ENDLESS[attack]
    archive.answers = {LISTING: lambda _: said()}
    with pytest.raises(PacsError, match=message):
        bring(archive, folder)


SLOW: dict[str, Callable[[], Answer]] = {
    "status line": lambda: trickle(b"H"),
    "headers": lambda: trickle(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n"),
    "100 Continue": lambda: trickle(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "json": lambda: trickle(b" ", head(**JSON)),
    "json of a stated length": lambda: trickle(b" ", head(Content_Length=5000, **JSON)),
    "chunks of one byte": lambda: chain([head(Transfer_Encoding="chunked", **JSON)], chunked(trickle(b" "))),
    "chunk sizes": lambda: trickle(b"0", head(Transfer_Encoding="chunked", **JSON)),
    "chunks of one byte with much around them": lambda: chain(
        [head(Transfer_Encoding="chunked", **JSON)], chunked(trickle(b" "), b";" + b"x" * 8000)
    ),
    "gzip": lambda: chain([head(Content_Encoding="gzip", **JSON)], trickle(gzip_of_nothing())),
}


def gzip_of_nothing() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b" " * 64) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("attack", SLOW)
def test_an_answer_that_trickles_is_stopped_and_not_asked_for_again(
    archive: HostileArchive, folder: Path, attack: str
) -> None:
    archive.answers = {LISTING: lambda _: SLOW[attack]()}
    with pytest.raises(PacsLimitError, match=r"127\.0\.0\.1 is too slow: \d+ bytes in .* raise --pacs-timeout"):
        bring(archive, folder, timeout_sec=0.3)
    assert len(archive.seen) == 1


def test_a_run_that_is_ended_does_not_wait_for_the_rest(archive: HostileArchive, folder: Path) -> None:
    from monai_vggunet.pacs import Stopped

    retries = Retries(attempts=1)

    def stop_and_trickle(_: Request) -> Answer:
        retries.stop.set()
        return trickle(b" ", head(**JSON))

    archive.answers = {LISTING: stop_and_trickle}
    with pytest.raises(Stopped):
        bring(archive, folder, timeout_sec=30, retries=retries)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 200_000 + b"]" * 200_000, "RecursionError"),
        (b'[{"0020000E": ' * 50_000, "RecursionError|JSONDecodeError"),
        (b'[{"0020000E": {"Value": [' + b"9" * 1_000_000 + b"]}}]", "ValueError"),
        (b"<html>" * 1000, "JSONDecodeError"),
        (b"\xff\xfe\x00[", "JSONDecodeError|UnicodeDecodeError"),
        (b'"' + b"a" * 1000 + b'"', "AttributeError"),
        (b"[[[]]]", "AttributeError"),
        (b'[{"0020000E": {"Value": {"a": 1}}}]', "KeyError"),
        (b'[{"0020000E": null}]', "AttributeError"),
    ],
)
def test_json_that_cannot_be_read_is_said(archive: HostileArchive, folder: Path, body: bytes, kind: str) -> None:
    archive.answers = {LISTING: answer(body)}
    with pytest.raises(PacsError, match=rf"\(({kind})\).*(the URL is that of the DICOMweb service|check its URL)"):
        bring(archive, folder)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip,deflate,gzip,gzip", "x\x1b[2J"])
def test_compression_that_was_not_asked_for_is_refused(archive: HostileArchive, folder: Path, encoding: str) -> None:
    archive.answers = {LISTING: answer(b"[]", Content_Encoding=encoding)}
    with pytest.raises(PacsLimitError, match="compressed its answer in a way that was not asked for") as refusal:
        bring(archive, folder)
    assert str(refusal.value).isprintable()
    assert archive.seen[0].headers["accept-encoding"] == "gzip, deflate"


def test_compression_that_was_asked_for_is_undone(archive: HostileArchive, folder: Path) -> None:
    body = gzip.compress(json.dumps([series_entry(CT, 4)]).encode())
    archive.answers = {LISTING: answer(body, Content_Encoding="gzip")}
    assert bring(archive, folder) == 4


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("204 No Content", "knows no study"),
        ("103 Early Hints", "answered 103 Early Hints, which is no answer"),
        ("101 Switching Protocols", "answered 101 Switching Protocols"),
        ("304 Not Modified", "answered 304 Not Modified"),
        ("302 Found", "answered 302 Found"),  # without saying where
        ("299 \x1b[2J", "cannot be asked|cannot be read"),
        ("666 \x1b[2J\x07 Doe^Jane", "answered 666, which is no answer"),
        ("404 Doe^Jane", "asked to .*, answered 404 Not Found"),
    ],
)
def test_a_status_is_told_by_its_number_and_the_standards_name(
    archive: HostileArchive, folder: Path, status: str, message: str
) -> None:
    archive.answers = {LISTING: answer(b"" if status.startswith("204") else b"{", status=status)}
    with pytest.raises(PacsError, match=message) as refusal:
        bring(archive, folder)
    assert str(refusal.value).isprintable()
    assert "Doe" not in str(refusal.value)


def test_what_a_refusal_says_of_itself_is_not_repeated(
    archive: HostileArchive, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secrets = {"WWW_Authenticate": 'Basic realm="\x1b[31mDoe^Jane"', "Warning": '299 x "Doe^Jane \x1b[2J"'}
    archive.answers = {LISTING: answer(b"Doe^Jane", status="401 Doe^Jane", **secrets)}
    with pytest.raises(PacsAccessError, match=r"refused access \(401 Unauthorized\)") as refusal:
        bring(archive, folder)
    assert "Doe" not in str(refusal.value) + caplog.text
    assert "\x1b" not in caplog.text


def test_warnings_and_headers_that_are_none_do_not_reach_the_log(
    archive: HostileArchive, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    body = json.dumps([series_entry(CT, 4)]).encode()
    bad = b"Warning: 299 pacs: Doe^Jane\x1b[2J\r\n\x1b[2JDoe^Jane no header\r\nX: y\r\n\r\n"
    archive.answers = {LISTING: b"HTTP/1.1 200 OK\r\n" + bad + body}
    assert bring(archive, folder) == 4
    assert "127.0.0.1 warns (299)" in caplog.text
    assert "Doe" not in caplog.text
    assert "\x1b" not in caplog.text


def test_a_server_that_wants_a_pause_of_a_year_gets_ours(archive: HostileArchive, folder: Path) -> None:
    archive.answers = {LISTING: answer(b"", status="503 Busy", Retry_After=31_536_000)}
    with pytest.raises(PacsUnavailableError, match=r"503 Service Unavailable.*\(tried 3 times\)"):
        bring(archive, folder)


def test_what_does_not_speak_http_is_said(archive: HostileArchive, folder: Path) -> None:
    archive.answers = {LISTING: b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"}  # A-ABORT: the port of a DICOM node
    with pytest.raises(PacsError, match=r"does not answer as a web server does.*check its URL and port"):
        bring(archive, folder)
    assert len(archive.seen) == 1


WITHIN_MEMORY = """
import resource, sys
from pathlib import Path
from monai_vggunet.errors import PacsLimitError
from monai_vggunet.pacs import DicomWebServer, Retries, download_study
import pydicom, requests
from dicomweb_client import DICOMwebClient
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    download_study(DicomWebServer(sys.argv[1], retries=Retries(1)), "1.2.3.4.5", sys.argv[2], show_progress=False)
except PacsLimitError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, error)
"""


def memory_taken(archive: HostileArchive, folder: Path) -> int:
    """Download in a process of its own; return the MiB it took more than before."""
    words = [sys.executable, "-c", WITHIN_MEMORY, archive.dicomweb, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    mebibytes, _, error = done.stdout.partition(" ")
    assert "stopped" in error, done.stdout + done.stderr
    return int(mebibytes)


@pytest.mark.parametrize("attack", ["gzip", "gzip in chunks", "json said to be 10 GB", "100 Continue"])
def test_an_answer_without_end_takes_little_memory(archive: HostileArchive, folder: Path, attack: str) -> None:
    archive.answers = {LISTING: lambda _: ENDLESS[attack][0]()}
    assert memory_taken(archive, folder) < 150


def test_offsets_are_asked_for(archive: HostileArchive, folder: Path) -> None:
    """The hostile archive reads them from the request: it must not pass because it always sees 0."""
    numbers = count()
    archive.answers = {
        LISTING: lambda request: qido([series_entry(f"1.{next(numbers)}", 0)] if request.offset < 3 else [])
    }
    with pytest.raises(PacsError):
        bring(archive, folder)
    assert [request.offset for request in archive.seen if LISTING in request.path] == [0, 1, 2, 3]
