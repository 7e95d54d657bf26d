"""Archives that are hostile or broken when a result is stored: stored, or an error that says so, in bounded time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_phantoms import SEGMENTATION_CLASS, stored_values, write_series
from hostile_archive import HostileArchive, answer, chunked, endless, head, instance_entry, qido, trickle
from hostile_node import HostileNode, Peer, item

from monai_vggunet.errors import PacsStoreError
from monai_vggunet.pacs import DicomWebServer, Retries, StorageScp, StowServer

QUICK = Retries(attempts=2, first_wait_sec=0.01)
EVIL = "\x1b[31mDoe^Jane\x07\u202e"
JSON = {"Content_Type": "application/dicom+json"}
FAILED, STORED = "00081198", "00081199"
HANG_SEC = 30  # far beyond any limit that is tested


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return write_series(tmp_path / "result", SOPClassUID=SEGMENTATION_CLASS, Modality="SEG")[0]


@pytest.fixture
def uid(result: Path) -> str:
    return str(pydicom.dcmread(result).SOPInstanceUID)


@pytest.fixture
def archive() -> Iterator[HostileArchive]:
    """It holds nothing, whatever it says."""
    with HostileArchive(answers={"GET ": qido([])}) as running:
        yield running


def stow(archive: HostileArchive, path: Path, timeout_sec: float = 5.0) -> None:
    StowServer(DicomWebServer(archive.dicomweb, timeout_sec=timeout_sec, retries=QUICK)).store(path)


def refused(match: str) -> Any:
    return pytest.raises(PacsStoreError, match=match)


def stow_answer(**sequences: list[dict[str, Any]]) -> bytes:
    names = {"failed": FAILED, "stored": STORED}
    model = {names[name]: {"vr": "SQ", "Value": items} for name, items in sequences.items()}
    return answer(json.dumps(model).encode())


def said_of(uid: Any, reason: Any = None) -> dict[str, Any]:
    said = {"00081155": {"vr": "UI", "Value": [uid]}}
    return said if reason is None else {**said, "00081197": {"vr": "US", "Value": [reason]}}


def test_an_honest_archive_stores_it(result: Path) -> None:
    with HostileArchive() as archive:
        stow(archive, result)
        assert [request.method for request in archive.seen] == ["POST"]


@pytest.mark.parametrize(
    "said",
    [
        lambda: endless(b'{"x": 1},', head(**JSON) + b"["),
        lambda: endless(b"<a>", head(Content_Type="application/dicom+xml")),
        lambda: chunked_endless(),
        lambda: endless(b" ", head("409 Conflict", **JSON)),
    ],
)
def test_an_answer_without_end_is_stopped(archive: HostileArchive, result: Path, said: Callable[[], Any]) -> None:
    archive.answers = {"POST": lambda _: said()}
    with refused("sent more than 1048576 bytes in one answer: stopped"):
        stow(archive, result)
    assert len(archive.seen) == 1


def chunked_endless() -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked", **JSON)
    yield from chunked(endless(b" "))


def test_an_answer_that_trickles_is_stopped(archive: HostileArchive, result: Path) -> None:
    archive.answers = {"POST": lambda _: trickle(b" ", head(**JSON))}
    with refused("is too slow"):
        stow(archive, result, timeout_sec=0.3)
    assert len(archive.seen) == 1


def test_a_server_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    """More than the buffers of two sockets hold; nobody accepts the connection."""
    large = write_series(tmp_path / "large", stored_values(1, 4000, 4000), SOPClassUID=SEGMENTATION_CLASS)[0]
    with (
        HostileNode(lambda peer: peer.pause()) as silent,
        refused(r"asked to store a result, failed or broke \(tried 2"),
    ):
        server = DicomWebServer(f"http://127.0.0.1:{silent.port}", timeout_sec=0.3, retries=QUICK)
        StowServer(server).store(large)


def test_a_server_that_reads_byte_by_byte_is_given_up(tmp_path: Path) -> None:
    large = write_series(tmp_path / "large", stored_values(1, 4000, 4000), SOPClassUID=SEGMENTATION_CLASS)[0]

    def sip(peer: Peer) -> None:
        while not peer.over.is_set():
            peer.connection.recv(8000)
            peer.pause(0.2)

    with HostileNode(sip) as sipping, refused("is too slow|failed or broke"):
        server = DicomWebServer(f"http://127.0.0.1:{sipping.port}", timeout_sec=0.5, retries=QUICK)
        StowServer(server).store(large)


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 200_000,
        b'{"00081198": {"vr": "LO", "Value": ["abc"]}}',
        b'{"00081198": {"vr": "SQ", "Value": [5]}}',
        b'{"00081198": {"vr": "SQ"}}',
        b'{"00081198": 5, "00081199": null}',
        b'{"00081199": {"vr": "SQ", "BulkDataURI": "http://127.0.0.1:9/"}}',
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [{"a": [1]}]}}]}}',
        b"9" * 100_000,
        b'"\\u001b[2J"',
    ],
)
def test_an_answer_that_is_not_dicoms_model_says_nothing(archive: HostileArchive, result: Path, said: bytes) -> None:
    archive.answers = {"POST": answer(said), **archive.answers}
    with refused("accepted the result without a report, but does not hold it"):
        stow(archive, result)


XML = "<NativeDicomModel>{}</NativeDicomModel>"
ATTRIBUTE = '<DicomAttribute keyword="{}" tag="00081190" vr="LO"><Value number="1">x</Value></DicomAttribute>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "said",
    [
        XML.format(ATTRIBUTE.format("get")),
        XML.format(ATTRIBUTE.format("_dict")),
        XML.format(ATTRIBUTE.format("FailedSOPSequence")),
        f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>' + XML.format(ATTRIBUTE.replace(">x<", ">&l11;<").format("a")),
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + XML.format(ATTRIBUTE.replace(">x<", ">&e;<")),
        "<a>" * 100_000,
    ],
)
def test_xml_that_wants_more_than_to_be_read_says_nothing(archive: HostileArchive, result: Path, said: str) -> None:
    archive.answers = {"POST": answer(said.encode(), "application/dicom+xml"), **archive.answers}
    with refused("accepted the result without a report, but does not hold it"):
        stow(archive, result)


def test_success_of_another_object_is_none(archive: HostileArchive, result: Path) -> None:
    archive.answers = {"POST": stow_answer(stored=[said_of("1.2.9")]), **archive.answers}
    with refused("accepted the result without a report, but does not hold it"):
        stow(archive, result)


def test_another_object_found_is_none(archive: HostileArchive, result: Path) -> None:
    """A server that ignores what is searched for."""
    archive.answers = {"POST": answer(b"{}"), "GET ": qido([instance_entry("1.2.9"), {}])}
    with refused("does not hold it|cannot be read"):
        stow(archive, result)


def test_an_object_that_is_found_was_stored(archive: HostileArchive, result: Path, uid: str) -> None:
    archive.answers = {"POST": answer(b"{}"), "GET ": qido([instance_entry("1.2.9"), instance_entry(uid)])}
    stow(archive, result)


@pytest.mark.parametrize("other", ["stored", "failed"])
def test_a_failure_counts_whatever_else_is_said(archive: HostileArchive, result: Path, uid: str, other: str) -> None:
    said = {"stored": [said_of(uid)], "failed": [said_of("1.2.9", 0x0110), said_of(uid, 0xA701)]}
    archive.answers = {"POST": stow_answer(**(said if other == "stored" else {"failed": said["failed"]}))}
    with refused(r"did not store it: out of resources \(0xA701\)"):
        stow(archive, result)


@pytest.mark.parametrize("reason", [10**30, -1, "x\x1b[2J", [1, 2], None, 65536])
def test_a_reason_that_is_no_number_of_dicoms_is_not_repeated(
    archive: HostileArchive, result: Path, uid: str, reason: Any
) -> None:
    archive.answers = {"POST": stow_answer(failed=[{**said_of(uid, 0), "00081197": {"vr": "US", "Value": [reason]}}])}
    archive.answers["GET "] = qido([])
    with refused("with a reason that DICOM does not know|does not hold it") as refusal:
        stow(archive, result)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("status", ["400 Bad", "409 Conflict", "500 Error"])
def test_what_a_refusal_says_is_not_repeated(
    archive: HostileArchive, result: Path, status: str, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level("DEBUG")
    comment = {"00000902": {"vr": "LO", "Value": [EVIL]}, "00081190": {"vr": "UR", "Value": [EVIL]}}
    archive.answers = {"POST": answer(json.dumps({**comment, **said_of(EVIL)}).encode(), status=f"{status} Doe^Jane")}
    with refused(f"answered {status[:3]}") as refusal:
        stow(archive, result)
    told = str(refusal.value) + caplog.text + "".join(capfd.readouterr())
    assert "Doe" not in told
    assert "\x1b" not in told


def node(behave: Callable[[Peer], object], path: Path, timeout_sec: float = 0.4, attempts: int = 1) -> HostileNode:
    """Store to a node that behaves like this; never wait for it beyond all limits."""
    outcome: list[BaseException | None] = []

    def store(port: int) -> None:
        retries = Retries(attempts, 0.01)
        try:
            StorageScp("127.0.0.1", port, "NODE", timeout_sec=timeout_sec, retries=retries).store(path)
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    with HostileNode(behave) as hostile:
        storing = threading.Thread(target=store, args=(hostile.port,), daemon=True)
        storing.start()
        storing.join(HANG_SEC)
        assert not storing.is_alive(), "it waits for ever"
    if outcome[0] is not None:
        raise outcome[0]
    return hostile


def accepted(then: Callable[[Peer], object]) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        peer.accept()
        then(peer)

    return behave


def asked(**said: Any) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        peer.accept()
        peer.read_object()
        peer.answer(**said)
        peer.pause()

    return behave


def sending(data: bytes, pause_sec: float | None = None) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        peer.send(data)
        if pause_sec is None:
            peer.pause()
        else:
            peer.repeat(b"x" if pause_sec else b"x" * 65536, pause_sec)

    return behave


BROKEN = "broke the connection, or did not answer within|check that it is running and reachable"
ENDLESS = "sends an endless answer: stopped"
NODES: dict[str, tuple[Callable[[Peer], object], str]] = {
    "says nothing": (lambda peer: peer.pause(), BROKEN),
    "closes at once": (lambda peer: None, BROKEN),
    "stops within a PDU's head": (sending(b"\x02\0\0"), BROKEN),
    "stops within a PDU": (sending(b"\x02\0\0\0\x10\0abc"), BROKEN),
    "sends a PDU byte by byte": (sending(b"\x02\0\x7f\xff\xff\xff", 0.02), BROKEN),
    "sends a PDU of 4 GiB": (sending(b"\x02\0\xff\xff\xff\xff", 0.0), ENDLESS),
    "is a web server": (sending(b"HTTP/1.1 400 Bad Request\r\n\r\n"), BROKEN),
    "accepts, then says nothing": (accepted(lambda peer: peer.pause()), BROKEN),
    "accepts, then closes": (accepted(lambda peer: None), BROKEN),
    "accepts, then stops within a PDU": (accepted(sending(b"\x04\0\0\0\x10\0abc")), BROKEN),
    "accepts, then sends a PDU byte by byte": (accepted(sending(b"\x04\0\x7f\xff\xff\xff", 0.02)), BROKEN),
    "accepts, then sends a PDU of 4 GiB": (accepted(sending(b"\x04\0\xff\xff\xff\xff", 0.0)), ENDLESS),
    "accepts, then sends fragments": (
        accepted(lambda peer: peer.repeat(b"\x04\0\0\0\x40\x06\0\0\x40\x02\x01\x01" + b"\0" * 0x4000)),
        ENDLESS,
    ),
    "accepts, then sends small fragments": (
        accepted(lambda peer: peer.repeat(b"\x04\0\0\0\0\x06\0\0\0\x02\x01\x01", 0.02)),
        BROKEN,
    ),
    "accepts, then releases": (accepted(sending(b"\x05\0\0\0\0\x04\0\0\0\0")), BROKEN),
    "accepts, then aborts": (accepted(sending(b"\x07\0\0\0\0\x04\0\0\0\0")), BROKEN),
    "accepts, then asks for an association": (accepted(sending(b"\x01\0\0\0\0\x44" + b"\0" * 68)), BROKEN),
    "rejects for a reason that there is not": (sending(b"\x03\0\0\0\0\x04\0\x09\x09\x99"), BROKEN),
    "rejects from a source that there is not": (sending(b"\x03\0\0\0\0\x04\0\x01\x07\x99"), BROKEN),
    "accepts in another way than was offered": (
        lambda peer: peer.accept(item(0x21, b"\x01\0\0\0" + item(0x40, b"1.2.840.10008.1.2.4.50"))),
        BROKEN,
    ),
    "accepts what was not offered": (
        lambda peer: (peer.accept(item(0x21, b"\x07\0\0\0" + item(0x40, b"1.2.840.10008.1.2.1"))), peer.pause()),
        "does not accept DICOM SEG",
    ),
    "accepts nothing": (lambda peer: (peer.accept(b""), peer.pause()), "does not accept DICOM SEG"),
    "does not say who it is": (lambda peer: (peer.accept(user=b""), peer.pause()), BROKEN),
    "takes one byte at a time": (
        lambda peer: (peer.accept(user=item(0x51, b"\0\0\0\x01") + item(0x52, b"1.2.3")), peer.pause()),
        BROKEN,
    ),
    "answers to what nobody asked": (asked(message=77), "answered something other than the request"),
    "answers to a C-ECHO": (asked(command=0x8030), "answered something other than the request|" + BROKEN),
    "asks for a C-ECHO": (asked(command=0x0030), "answered something other than the request|" + BROKEN),
    "answers of another object": (asked(uid="1.2.9"), "answered something other than the request"),
    "answers in no words of DICOM's": (asked(command=0x7777), BROKEN),
    "says no status": (asked(status=None), BROKEN),
    "says an empty status": (asked(status=b""), BROKEN),
    "says a status of its own": (asked(status=b"\x77\x77"), r"did not store it: failure \(0x7777\)"),
    "comments on it": (asked(status=b"\x01\xc0", comment=EVIL.encode() * 300), r"cannot be understood \(0xC001\)"),
}


@pytest.mark.parametrize("attack", NODES)
def test_a_node_that_behaves_badly_is_given_up(
    result: Path, attack: str, capfd: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    behave, message = NODES[attack]
    with refused(message) as refusal:
        node(behave, result)
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("monai_vggunet"))
    warned = "".join(str(warning.message) for warning in recwarn)
    told = str(refusal.value) + ours + warned + "".join(capfd.readouterr())
    assert "Doe" not in told
    assert "\x1b" not in told
    assert "run_reactor" not in told, "a thread of pynetdicom printed why it died"


def test_a_node_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    large = write_series(tmp_path / "large", stored_values(1, 4000, 4000), SOPClassUID=SEGMENTATION_CLASS)[0]
    with refused(BROKEN):
        node(accepted(lambda peer: peer.pause()), large)


def test_titles_that_steer_a_terminal_are_not_shown(result: Path, capfd: Any) -> None:
    def behave(peer: Peer) -> None:
        peer.accept(called=b"\x1b[2JDoe^Jane", calling=b"\xff\xfe\x1b[2J")
        peer.pause()

    with refused(BROKEN) as refusal:
        node(behave, result)
    told = str(refusal.value) + "".join(capfd.readouterr())
    assert "Doe" not in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("status", "named"), [(b"\0\0", True), (b"\0\0", False), (b"\x07\xb0", True), (b"\x11\x01", True)]
)
def test_a_node_that_answers_rightly_is_believed(result: Path, uid: str, status: bytes, named: bool) -> None:
    """Also with a warning, without naming the object, and if it never lets the association end."""
    node(asked(status=status, uid=uid if named else ""), result)


def test_a_node_that_floods_is_not_tried_again(result: Path) -> None:
    came = []

    def flood(peer: Peer) -> None:
        came.append(peer)
        sending(b"\x02\0\xff\xff\xff\xff", 0.0)(peer)

    with refused(ENDLESS):
        node(flood, result, attempts=3)
    assert len(came) == 1


def test_a_node_may_take_a_large_object_slowly(tmp_path: Path) -> None:
    """Longer than the longest silence, which begins before anything is sent."""
    large = write_series(tmp_path / "large", stored_values(1, 700, 700), SOPClassUID=SEGMENTATION_CLASS)[0]

    def slowly(peer: Peer) -> None:
        peer.accept()
        peer.read_object(pause_sec=0.02)
        peer.answer()
        peer.pause()

    node(slowly, large)
