"""Results into a real archive by STOW-RS and C-STORE: taken as a whole, or an error that says why."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_phantoms import PATIENT_NAME, SEGMENTATION_CLASS
from faulty_proxy import Fault, FaultyProxy
from orthanc_server import ORTHANC_AET, PASSWORD, USER, Orthanc
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt

from monai_vggunet.errors import PacsAccessError, PacsStoreError
from monai_vggunet.pacs import Delivery, DicomWebServer, Retries, StorageScp, StowServer
from monai_vggunet.pacs.credentials import Credentials

pytestmark = pytest.mark.pacs

Connect = Callable[..., DicomWebServer]
QUICK = Retries(attempts=3, first_wait_sec=0.01)


def held_by(orthanc: Orthanc) -> dict[str, bytes]:
    """Return the archive's files by SOPInstanceUID."""
    files = [orthanc.request(f"/instances/{name}/file") for name in orthanc.get("/instances")]
    names = [orthanc.get(f"/instances/{name}/simplified-tags")["SOPInstanceUID"] for name in orthanc.get("/instances")]
    return dict(zip(names, files))


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path).SOPInstanceUID)


@pytest.fixture
def stow(proxy: FaultyProxy, connect: Connect) -> StowServer:
    return StowServer(connect(proxy.dicomweb))


def node(orthanc: Orthanc, **other: Any) -> StorageScp:
    options = {"port": orthanc.dicom_port, "aet": ORTHANC_AET, "timeout_sec": 10.0, "retries": QUICK, **other}
    return StorageScp("127.0.0.1", **options)


def test_stow_stores_the_file_as_it_is(orthanc: Orthanc, connect: Connect, result_file: Path) -> None:
    StowServer(connect(orthanc.dicomweb, Credentials(user=USER, password=PASSWORD))).store(result_file)
    assert held_by(orthanc) == {uid_of(result_file): result_file.read_bytes()}


def test_storing_again_is_no_error(orthanc: Orthanc, stow: StowServer, result_file: Path) -> None:
    for _ in range(2):
        stow.store(result_file)
        node(orthanc).store(result_file)
    assert len(held_by(orthanc)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_stow_with_wrong_credentials_is_refused(
    proxy: FaultyProxy, stow: StowServer, result_file: Path, status: int
) -> None:
    proxy.faults = [Fault("POST", status=status)]
    with pytest.raises(PacsAccessError, match=rf"asked to store a result, refused access \({status}"):
        stow.store(result_file)
    assert len(proxy.seen) == 1


def test_stow_to_a_busy_server_is_tried_again(
    orthanc: Orthanc, proxy: FaultyProxy, stow: StowServer, result_file: Path
) -> None:
    proxy.faults = [Fault("POST", status=503, times=2)]
    stow.store(result_file)
    assert uid_of(result_file) in held_by(orthanc)


def failed(uid: str, reason: int) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(
    ("reason", "words"), [(0x0110, "processing failure"), (0xA700, "out of resources"), (0x0124, "not authorized")]
)
def test_stow_that_lists_it_as_failed_is_an_error(
    proxy: FaultyProxy, stow: StowServer, result_file: Path, status: int, reason: int, words: str
) -> None:
    proxy.faults = [Fault("POST", status=status, body=failed(uid_of(result_file), reason))]
    with pytest.raises(PacsStoreError, match=rf"did not store it: {words} \(0x{reason:04X}\)"):
        stow.store(result_file)


def test_stow_of_what_is_there_already_is_no_error(proxy: FaultyProxy, stow: StowServer, result_file: Path) -> None:
    """The answer to a first attempt may be lost on the way."""
    proxy.faults = [Fault("POST", status=409, body=failed(uid_of(result_file), 0x0111))]
    stow.store(result_file)


@pytest.mark.parametrize("status", [400, 409, 500])
def test_stow_that_is_refused_without_a_list_is_an_error(
    proxy: FaultyProxy, stow: StowServer, result_file: Path, status: int
) -> None:
    proxy.faults = [Fault("POST", status=status, body=PATIENT_NAME.encode())]
    with pytest.raises(PacsStoreError, match=f"answered {status}") as refusal:
        stow.store(result_file)
    assert PATIENT_NAME not in str(refusal.value)


@pytest.mark.parametrize("word", [b"{}", b"", b"<html>", b"[1]", b'{"00081199": 7}'])
def test_stow_that_says_nothing_is_looked_after(
    orthanc: Orthanc, proxy: FaultyProxy, stow: StowServer, result_file: Path, word: bytes
) -> None:
    proxy.faults = [Fault("POST", edit=lambda _: word, times=1)]
    stow.store(result_file)  # it is there
    orthanc.clear()
    proxy.faults = [Fault("POST", body=word)]
    with pytest.raises(PacsStoreError, match="accepted the result without a report, but does not hold it"):
        stow.store(result_file)


def test_stow_to_a_server_that_hangs_is_given_up(proxy: FaultyProxy, connect: Connect, result_file: Path) -> None:
    proxy.faults = [Fault("POST", silence=True)]
    with pytest.raises(PacsStoreError, match=r"did not answer within 0\.2 s.*tried 3 times"):
        StowServer(connect(proxy.dicomweb, timeout_sec=0.2)).store(result_file)


def test_stow_of_another_study_is_told_by_the_real_server(
    orthanc: Orthanc, stow: StowServer, result_file: Path
) -> None:
    own = stow.server.client.store_instances
    stow.server.client.store_instances = lambda datasets: own(datasets, study_instance_uid="9.9")  # type: ignore
    with pytest.raises(PacsStoreError, match=r"processing failure \(0x0110\)"):
        stow.store(result_file)


@pytest.mark.parametrize("target", ["stow", "node"])
def test_a_file_that_is_gone_is_said(orthanc: Orthanc, stow: StowServer, tmp_path: Path, target: str) -> None:
    with pytest.raises(PacsStoreError, match="cannot be read, so it is not stored"):
        (stow if target == "stow" else node(orthanc)).store(tmp_path / "seg.dcm")


def test_c_store_stores_it(orthanc: Orthanc, result_file: Path) -> None:
    node(orthanc).store(result_file)
    held = pydicom.dcmread(BytesIO(held_by(orthanc)[uid_of(result_file)]))
    assert held == pydicom.dcmread(result_file)


def test_c_store_from_a_title_that_the_archive_does_not_know_is_refused(orthanc: Orthanc, result_file: Path) -> None:
    with pytest.raises(PacsStoreError, match=r"check that it knows STRANGER \(--calling-aet\)"):
        node(orthanc, calling_aet="STRANGER").store(result_file)
    with pytest.raises(PacsStoreError, match=r"rejects MONAI_VGGUNET as OTHER .*--calling-aet"):
        node(orthanc, aet="OTHER").store(result_file)
    assert not held_by(orthanc)


def test_c_store_to_nobody_is_an_error(result_file: Path) -> None:
    with pytest.raises(PacsStoreError, match=r"no connection to 127\.0\.0\.1:9:NOBODY"):
        StorageScp("127.0.0.1", 9, "NOBODY", retries=QUICK).store(result_file)


@contextmanager
def archive_that_answers(statuses: list[int | None], classes: tuple[str, ...] = (SEGMENTATION_CLASS,)) -> Iterator[int]:
    """Run a C-STORE receiver on loopback that answers one status after the other; None breaks the connection."""

    def answer(event: Any) -> int:
        status = statuses.pop(0)
        if status is None:
            event.assoc.abort()
            return 0xC000
        return status

    entity = AE("ARCHIVE")
    for name in classes:
        entity.add_supported_context(name, [ExplicitVRLittleEndian])
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def sent_to(port: int, path: Path, timeout_sec: float = 10.0) -> None:
    StorageScp("127.0.0.1", port, "ARCHIVE", timeout_sec=timeout_sec, retries=QUICK).store(path)


@pytest.mark.parametrize("statuses", [[0x0000], [0xB007], [0x0111], [0xA700, 0xA700, 0], [None, 0]])
def test_c_store_that_is_taken_at_last(result_file: Path, statuses: list[int | None]) -> None:
    with archive_that_answers(statuses) as port:
        sent_to(port, result_file)
    assert not statuses


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ([0xA900, 0], "object does not match its class"),
        ([0xC001, 0], "cannot be understood"),
        ([0x0124, 0], "not authorized"),
        ([0xA700] * 3 + [0], "out of resources"),
        ([None] * 3 + [0], "broke the connection"),
    ],
)
def test_c_store_that_is_not_taken_is_an_error(result_file: Path, statuses: list[int | None], message: str) -> None:
    with archive_that_answers(statuses) as port, pytest.raises(PacsStoreError, match=message):
        sent_to(port, result_file)
    assert statuses == [0], "asked again only where it may pass"


def test_c_store_to_an_archive_that_takes_no_seg_is_an_error(result_file: Path) -> None:
    refused = pytest.raises(PacsStoreError, match="does not accept DICOM SEG")
    with archive_that_answers([0], ("1.2.840.10008.5.1.4.1.1.2",)) as port, refused:
        sent_to(port, result_file)


def test_c_store_to_a_port_that_says_nothing_is_given_up(result_file: Path) -> None:
    given_up = pytest.raises(PacsStoreError, match="check that it is running and reachable")
    with socket.create_server(("127.0.0.1", 0)) as silent, given_up:
        sent_to(silent.getsockname()[1], result_file, timeout_sec=0.2)


class Target:
    """A target that fails as told."""

    how = "STOW-RS"

    def __init__(self, name: str, *problems: str) -> None:
        self.name, self.problems, self.times = name, list(problems), 0

    def store(self, path: Path) -> None:
        self.times += 1
        if self.problems:
            raise PacsStoreError(self.problems.pop(0))


@pytest.fixture
def case(tmp_path: Path, result_file: Path) -> Path:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "seg.dcm").write_bytes(result_file.read_bytes())
    (folder / "record.json").write_text('{"status": "done", "case": "case"}')
    return folder


def test_the_record_says_where_a_result_was_stored_and_where_not(case: Path) -> None:
    good, bad = Target("https://pacs"), Target("node:104:AET", "the node is full")
    seg = (case / "seg.dcm").read_bytes()
    problem = Delivery([good, bad])(case)
    assert problem == f"not stored: the node is full. The result lies in {case / 'seg.dcm'}"
    record = json.loads((case / "record.json").read_text())
    assert record["status"] == "done"
    assert [(entry["to"], entry["status"], entry.get("error")) for entry in record["stored"]] == [
        ("https://pacs", "stored", None),
        ("node:104:AET", "failed", "the node is full"),
    ]
    assert record["stored"][0]["sop_instance_uid"] == uid_of(case / "seg.dcm")
    assert (case / "seg.dcm").read_bytes() == seg


def test_what_is_stored_is_not_stored_again_and_what_failed_is(case: Path) -> None:
    good, bad = Target("https://pacs"), Target("node:104:AET", "the node is full")
    deliver = Delivery([good, bad])
    assert deliver(case)
    assert not deliver(case)
    assert not deliver(case)
    assert (good.times, bad.times) == (1, 2)
    record = json.loads((case / "record.json").read_text())
    assert [entry["status"] for entry in record["stored"]] == ["stored", "stored"]


def test_another_result_is_stored_anew(case: Path) -> None:
    target = Target("https://pacs")
    deliver = Delivery([target])
    deliver(case)
    other = pydicom.dcmread(case / "seg.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.999"
    other.save_as(case / "seg.dcm")
    deliver(case)
    assert target.times == 2


def test_a_case_without_a_result_is_said(case: Path) -> None:
    (case / "seg.dcm").unlink()
    assert "nothing to store" in Delivery([Target("https://pacs")])(case)
