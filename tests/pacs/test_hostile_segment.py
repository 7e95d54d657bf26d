"""The command line against an archive that is hostile: said, recorded, bounded, and the other studies go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dicom_phantoms import stored_values, write_series
from hostile_archive import (
    BOUNDARY,
    MULTIPART,
    Answer,
    HostileArchive,
    Request,
    answer,
    endless,
    head,
    qido,
    series_entry,
    trickle,
)
from typer.testing import Result

CT = "1.2.3.4.5.61"
BAD = "1.2.3.4.666"  # the study that is attacked
EVIL = "\x1b]0;owned\x07\n2026 INFO forged\u202e"
PART = f"--{BOUNDARY}\r\n\r\n".encode()
JSON = {"Content_Type": "application/dicom+json"}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileArchive]:
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_MAX_OBJECT_MB", "5")
    files = write_series(tmp_path / "ct", stored_values(4, 20, 17), series_uid=CT)
    with HostileArchive(series={CT: files}) as running:
        yield running


def record_of(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def test_an_honest_study_is_segmented_and_stored(
    archive: HostileArchive, run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--dicomweb", archive.dicomweb, "--study", archive.study)
    assert result.exit_code == 0, result.output
    assert record_of(tmp_path / "out" / archive.study)["stored"][0]["status"] == "stored"
    assert archive.seen[-1].method == "POST"


LISTED = qido([series_entry("1.2.3", 3)])


def pages(request: Request) -> bytes:
    return qido([series_entry(f"1.2.{request.offset + n}", 1) for n in range(500)])


ATTACKS: dict[str, tuple[dict[str, Callable[[Request], Answer]], str]] = {
    "pages without end": ({"/series?": pages}, "lists more than 2000"),
    "json without end": (
        {"/series?": lambda _: endless(b"[1],", head(**JSON) + b"[")},
        "sent more than 16777216 bytes",
    ),
    "json that trickles": ({"/series?": lambda _: trickle(b" ", head(**JSON))}, "is too slow"),
    "another address": (
        {"/series?": lambda _: answer(b"", status="302 Found", Location="http://localhost:9/")},
        "redirects to another address (http://localhost:9)",
    ),
    "an escape sequence": (
        {"/series?": lambda request: qido([series_entry("1.2", 1, "SR"), series_entry(EVIL, 1, EVIL)])},
        "which is no DICOM UID",
    ),
    "an instance without end": (
        {"/series?": lambda _: LISTED, "/series/": lambda _: endless(b"\0" * 999, head(Content_Type=MULTIPART) + PART)},
        "an instance of more than 5000000 bytes: stopped",
    ),
    "an instance that trickles": (
        {"/series?": lambda _: LISTED, "/series/": lambda _: trickle(b"\0", head(Content_Type=MULTIPART) + PART)},
        "is too slow",
    ),
    "deep json": ({"/series?": lambda _: answer(b"[" * 99_999)}, "gave an answer that cannot be read"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_study_is_recorded_and_the_next_one_segmented(
    archive: HostileArchive, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    monkeypatch.setattr("monai_vggunet.pacs.listing.MOST_LISTED", 2000)
    answers, message = ATTACKS[attack]
    archive.answers = {f"/studies/{BAD}{where}": said for where, said in answers.items()}
    words = ("--dicomweb", archive.dicomweb, "--study", BAD, "--study", archive.study, "--no-store")
    result = run(*words, "--pacs-timeout", "0.5")
    assert result.exit_code == 1
    assert "1 of 2 cases done" in result.output
    error = record_of(tmp_path / "out" / BAD)["error"]
    assert message in error
    assert error.isprintable()
    assert message.split("(")[0] in " ".join(result.output.split())
    assert not {"\x1b", "\x07", "\u202e"} & set(result.output)
    assert record_of(tmp_path / "out" / archive.study)["status"] == "done"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lambda _: endless(b" ", head(**JSON)), "sent more than 1048576 bytes"),
        (lambda _: answer(b"", status="307 Go", Location="http://localhost:9/"), "redirects to another address"),
        (lambda _: answer(EVIL.encode(), status="500 Doe^Jane"), "answered 500 Internal Server Error"),
    ],
)
def test_a_result_that_a_hostile_archive_does_not_take_stays(
    archive: HostileArchive,
    run: Callable[..., Result],
    tmp_path: Path,
    said: Callable[[Request], Answer],
    message: str,
) -> None:
    archive.answers = {"POST": said}
    result = run("--dicomweb", archive.dicomweb, "--study", archive.study)
    assert result.exit_code == 1
    folder = tmp_path / "out" / archive.study
    (stored,) = record_of(folder)["stored"]
    assert message in stored["error"]
    assert stored["error"].isprintable()
    assert (folder / "seg.dcm").is_file()


@pytest.mark.parametrize("word", ["0", "-1", "4 GB", "1e3", "٣"])
def test_a_limit_that_is_no_number_is_wrong_usage(
    archive: HostileArchive, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_MAX_OBJECT_MB", word)
    result = run("--dicomweb", archive.dicomweb, "--study", archive.study)
    assert "expected whole megabytes" in str(result.exception) + result.output
    assert not archive.seen
