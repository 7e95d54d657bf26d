"""Annotation on an archive that is hostile: nothing goes elsewhere, and no file is named by what it says."""

from __future__ import annotations

import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_series
from hostile_archive import MULTIPART, HostileArchive, Request, answer, chunked, endless, head, multipart, qido, trickle
from label_server import PYTHON, Server, leaves_nothing, running_server, tiny_model
from monai.transforms import LoadImage
from phantoms import ct_array, label_array, write_nifti

from monai_vggunet.annotation.segimage import label_to_seg
from monai_vggunet.data import DicomSeriesReader
from monai_vggunet.outputs import Classes

pytestmark = pytest.mark.label
STUDY, CT, MOVED, ENDLESS, PAGE = "1.2.3.4.5", "1.2.3.4.100", "1.2.3.4.200", "1.2.3.4.300", "1.2.3.4.400"
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*", "Set-Cookie": "a=b"}
SECRET = "tOp-SECRET-0815"
JSON = "application/dicom+json"
# What the archive answers to the viewer, by the study that is asked for.
SILENT, SLOW, HUGE, HUGE_GZIP, GZIP_OF_ANOTHER, BROKEN, CUT = (f"1.9.{n}" for n in range(21, 28))
SVG, FORBIDDEN, LOST, EMPTY, CHATTY, ELSEWHERE = (f"1.9.{n}" for n in range(31, 37))
SERIES_TAG, SEG = "0020000E", "1.2.3.4.900"
# Each is said to be of the same series: one without instances, one without references, one that is no DICOM.
HOLLOW, BARE, TORN = (f"1.2.3.4.{n}" for n in range(901, 904))
NO_UIDS = [
    (STUDY, uid) for uid in ("..", "../../x", "", "1." * 32 + "1", "1..2", ".1", "1.2\n", "\u0661.\u0662", 7, None)
]
NO_UIDS += [("..", "1.2.3"), (None, "1.2.3"), ("1.2/../..", "1.2.3")]
SILENCE_SEC, MOST_OBJECT_MB = 1, 4  # of the server under test


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
        if "Modality=SEG" in request.path:
            return qido([*(entry(uid, study) for study, uid in NO_UIDS), {}, *map(entry, (HOLLOW, BARE, TORN, SEG))])
        if "Modality=CT" in request.path:
            strange = [entry(uid) for _, uid in NO_UIDS if uid != "1.2.3"]
            return qido([*strange, {SERIES_TAG: None}, *map(entry, (CT, MOVED, ENDLESS))])
        entries = [entry(uid) for uid in (CT, MOVED, ENDLESS, HOLLOW, TORN, SEG) if uid in request.path]
        return qido(entries)

    gzipped = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, zeros = (gzipped.compress(bytes(1 << 20)) + gzipped.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    elsewhere_url = f"http://localhost:{elsewhere.port}/dicom-web"  # another host, of which .netrc knows
    loud = {"Link": "<x>; rel=preload", "Clear_Site_Data": "*", "Refresh": "0; url=/x", "Service_Worker_Allowed": "/"}
    seg = label_as_seg(folder, folder / "ct")
    header = {"00081115": {"vr": "SQ", "Value": [{SERIES_TAG: {"vr": "UI", "Value": [CT]}}]}}
    answers = {
        "/dicom-web/series?": search,
        f"{BARE}/metadata": qido([{}]),
        **{f"{uid}/metadata": qido([header]) for uid in (HOLLOW, TORN, SEG)},
        HOLLOW: answer(multipart([]), MULTIPART),
        TORN: answer(multipart([b"no DICOM"]), MULTIPART),
        SEG: answer(multipart([seg.read_bytes()]), MULTIPART),
        SILENT: stalled(head(Content_Type=JSON, Content_Length=100) + b"["),
        SLOW: lambda _: trickle(b" ", head(Content_Type=JSON) + b"[", pause_sec=0.2),
        HUGE: lambda _: endless(b"[" * 1000, head(Content_Type=JSON)),
        HUGE_GZIP: lambda _: endless(zeros, head(Content_Type=JSON, Content_Encoding="gzip") + first),
        GZIP_OF_ANOTHER: answer(b"x", JSON, Content_Encoding="br"),
        BROKEN: head(Content_Type=JSON, Content_Length=100) + b"[",
        CUT: b"".join([head(Content_Type=JSON, Transfer_Encoding="chunked"), *chunked([b"[", b"]"])][:2]),
        SVG: answer(b"<svg onload='run()'/>", "image/svg+xml"),
        FORBIDDEN: answer(b"<script>run()</script>", "text/html", "401 No", WWW_Authenticate='Basic realm="x"'),
        LOST: answer(b"<script>run()</script>", "text/html", "404 No"),
        EMPTY: answer(b"", JSON, "204 No Content"),
        CHATTY: answer(b"[]", JSON, Location="http://evil.example/", **OPEN_TO_ALL, **loud),
        ELSEWHERE: answer(b"", status="302 Go", Location=f"{elsewhere_url}/studies/{ELSEWHERE}/metadata"),
        MOVED: answer(b"", status="307 Go", Location=f"{elsewhere.dicomweb}/studies/{STUDY}/series/{MOVED}"),
        PAGE: answer(b"<script>run()</script>", "text/html", **OPEN_TO_ALL),
        ENDLESS: lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        CT: answer(multipart([file.read_bytes() for file in files]), MULTIPART),
    }
    with HostileArchive(answers=answers) as running:
        yield running


def stalled(start: bytes) -> Callable[[Request], Iterator[bytes]]:
    """Answer a beginning, and then nothing for longer than the server waits."""

    def pieces(_: Request) -> Iterator[bytes]:
        yield start
        time.sleep(4 * SILENCE_SEC)

    return pieces


def label_as_seg(folder: Path, series: Path) -> Path:
    affine = np.asarray(LoadImage(reader=DicomSeriesReader())(series).affine)
    label = write_nifti(folder / "label.nii.gz", label_array(), affine)
    label_to_seg(label, series, folder / "seg.dcm", Classes(("background", "liver", "spleen")))
    return folder / "seg.dcm"


def entry(uid: Any, study: Any = STUDY) -> dict:
    values = {"00080060": ("CS", "CT"), "0020000D": ("UI", study), SERIES_TAG: ("UI", uid), "00100020": ("LO", "1")}
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in values.items()}


@pytest.fixture(scope="module")
def server(folder: Path, archive: HostileArchive) -> Iterator[Server]:
    """Its user has credentials for this machine in `.netrc`."""
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    hosts = "".join(f"machine {host} login someone password {SECRET}\n" for host in ("127.0.0.1", "localhost"))
    (folder / ".netrc").write_text(hosts)
    (folder / ".netrc").chmod(0o600)
    (folder / "work").mkdir()
    model = tiny_model(folder / "model")
    settings = {"MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT": str(SILENCE_SEC), "HOME": str(folder)}
    settings |= {"MONAI_VGGUNET_DICOMWEB_MAX_OBJECT_MB": str(MOST_OBJECT_MB)}
    with running_server(archive.dicomweb, model, folder / "work", **settings) as running:
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
    assert "redirects to another address" in reply.text
    assert not elsewhere.seen


def test_an_answer_without_end_is_stopped(server: Server) -> None:
    reply = server.infer("vggunet", ENDLESS)
    assert reply.status_code == 502
    assert "HTTP headers or chunk sizes without content" in reply.text


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
    for path in (f"wado/studies/{STUDY}/series/{PAGE}/metadata", f"wado/studies/{SVG}/metadata"):
        reply = server.get(f"/proxy/dicom/{path}")
        assert (reply.status_code, reply.headers["content-type"]) == (502, "application/json")
        assert "which is none of DICOMweb's types" in reply.json()["detail"]
        assert "run()" not in reply.text
        assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("study", "word"),
    [
        (SILENT, "gave no answer"),
        (SLOW, "is too slow"),
        (HUGE, "in one answer: stopped"),
        (HUGE_GZIP, "in one answer: stopped"),
        (GZIP_OF_ANOTHER, "compressed its answer in a way that was not asked for"),
        (BROKEN, "gave no answer"),
        (CUT, "gave no answer"),
        (FORBIDDEN, "set MONAI_LABEL_DICOMWEB_USERNAME"),
        (ELSEWHERE, "redirects to another address"),
    ],
)
def test_the_viewer_hears_what_is_wrong_with_the_archive(
    server: Server, elsewhere: HostileArchive, study: str, word: str
) -> None:
    """Whole or not at all: an answer that breaks off is not begun."""
    for path in (f"wado/studies/{study}/metadata", f"qido/studies/{study}/series"):
        reply = server.get(f"/proxy/dicom/{path}", timeout=30)
        assert (reply.status_code, reply.headers["content-type"]) == (502, "application/json"), reply.text
        assert word in reply.json()["detail"]
        assert len(reply.content) < 1000
        assert "www-authenticate" not in reply.headers  # a browser would ask for this server's token again
    assert not elsewhere.seen


def test_an_object_that_does_not_end_is_stopped_where_objects_are_as_large_as_that(server: Server) -> None:
    reply = server.get(f"/proxy/dicom/wado/studies/{HUGE}/series/1.2/instances/1.2/frames/1", timeout=30)
    assert (reply.status_code, f"more than {MOST_OBJECT_MB}000000 bytes" in reply.json()["detail"]) == (502, True)


def test_of_an_archives_answer_content_and_type_alone_are_passed_on(server: Server) -> None:
    reply = server.get(f"/proxy/dicom/wado/studies/{CHATTY}/metadata")
    assert (reply.status_code, reply.json(), reply.headers["content-type"]) == (200, [], JSON)
    known = {"date", "server", "content-type", "content-length", "content-disposition", "content-security-policy",
             "cross-origin-resource-policy", "referrer-policy", "x-content-type-options", "cache-control"}  # fmt: skip
    assert {name.lower() for name in reply.headers} <= known
    assert (reply.headers["content-disposition"], reply.headers["cache-control"]) == ("attachment", "no-store")
    assert server.get(f"/proxy/dicom/wado/studies/{EMPTY}/metadata").status_code == 204
    lost = server.get(f"/proxy/dicom/wado/studies/{LOST}/metadata")
    assert (lost.status_code, lost.json()) == (404, {"detail": "the DICOMweb server answered 404 Not Found"})


def test_an_archive_that_falls_silent_keeps_nobody_else_waiting(server: Server) -> None:
    with ThreadPoolExecutor(20) as many:
        path = f"/proxy/dicom/wado/studies/{SILENT}/metadata"
        waiting = [many.submit(server.get, path, timeout=60) for _ in range(20)]
        assert server.get("/info/", timeout=20).ok
        assert server.get("/ohif/", timeout=20).ok
        assert not all(one.done() for one in waiting)
        assert {one.result().status_code for one in waiting} == {502}
    assert leaves_nothing(server)


def test_one_malformed_uid_is_left_out_and_the_others_are_learned_from(server: Server, folder: Path) -> None:
    assert server.get("/datastore/").json()["total"] == 3
    cases = server.get("/datastore/?output=train", timeout=120)
    assert cases.status_code == 200, cases.text
    assert [Path(case["image"]).name for case in cases.json()] == [f"{CT}.nii.gz"]
    np.testing.assert_array_equal(np.asarray(nib.load(cases.json()[0]["label"]).dataobj), label_array())
    log = server.log.read_text()
    assert "series of the DICOMweb server are left out: what names them is no UID" in log
    assert f"the DICOM SEG {BARE} is left out" in log
    for uid in (HOLLOW, TORN):
        assert f"the DICOM SEG {uid} is passed over" in log
    stores = {path.name for path in (server.app / "cache" / "dicom").iterdir()}
    assert len(stores) == 1
    kept = {path.name for path in (server.app / "cache" / "dicom" / stores.pop()).iterdir()}
    assert kept <= {CT, f"{CT}.nii.gz", "labels", "label_history", "datastore_v2.json", ".lock"}, kept


def test_netrc_is_not_looked_at(server: Server, archive: HostileArchive) -> None:
    assert archive.seen
    assert not any("authorization" in request.headers for request in archive.seen)


@pytest.mark.slow
def test_monai_labels_own_app_is_led_nowhere_either(
    archive: HostileArchive, elsewhere: HostileArchive, folder: Path
) -> None:
    work, upload = folder / "stock", {"file": ("x.nii.gz", b"\x1f\x8b")}
    settings = {"HOME": str(folder), "MONAI_LABEL_SESSION_PATH": str(work / "sessions")}
    with running_server(archive.dicomweb, tiny_model(work / "model"), work, "--stock", **settings) as stock:
        assert stock.get("/datastore/").json()["total"] == 3
        reply = stock.infer("vggunet", CT, result_extension=".nii.gz")
        assert reply.status_code == 200, reply.text
        assert stock.infer("vggunet", MOVED).status_code == 502
        for uid in ("..", "1..2"):
            assert stock.infer("vggunet", uid).status_code == 404
        assert stock.get("/datastore/?output=train", timeout=120).status_code == 200
        assert stock.send("PUT", "/datastore/image?image=x", files=upload).status_code == 422
    assert not list(folder.rglob("*climbed*"))
    assert not elsewhere.seen
    assert not any("authorization" in request.headers for request in archive.seen)
