"""Requests held against the table: what is not exactly as it should be is refused, the rest is written anew."""

from __future__ import annotations

import gzip
import io
import json
import logging
from base64 import b64encode

import nibabel as nib
import numpy as np
import pytest
from nifti_bytes import compressed_nifti_bytes, nifti_bytes

from monai_vggunet.annotation.front.checks import checked_json, checked_query, checked_texts, find_route, written_path
from monai_vggunet.annotation.front.origin import require_own_origin
from monai_vggunet.annotation.front.redaction import redact_logs, redacted
from monai_vggunet.annotation.front.routes import SERVED, Form, Route
from monai_vggunet.annotation.front.token import holds_token
from monai_vggunet.annotation.front.uploads import safe_file_name
from monai_vggunet.annotation.front.values import Served
from monai_vggunet.errors import RequestRefusedError

HERE = Served(frozenset({"vggunet"}), frozenset({"liver"}), archive=True)
FOLDER = Served(frozenset({"vggunet"}), frozenset({"liver"}))
UID = "1.2.840.113619.2.5"


def promising(edge: int) -> bytes:
    """Return a header of a cube of bytes, and nothing of it."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((edge, edge, edge))
    return header.binaryblock + bytes(4)


NRRD = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1 1 1\nencoding: raw\n"


def route(method: str, path: str) -> Route:
    return next(one for one in SERVED if (one.method, one.path) == (method, path))


INFER = route("POST", "/infer/{model}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/info"),
        ("GET", "/INFO/"),
        ("GET", "//info/"),
        ("GET", "/info/x"),
        ("GET", "/info/\n"),
        ("GET", ""),
        ("POST", "/infer/a/b"),
        ("POST", "/infer/.."),
        ("POST", "/infer/.ssh"),
        ("GET", "/session/.."),
        ("GET", "/session/0"),
        ("GET", "/ohif/.."),
        ("GET", "/ohif/../x"),
        ("GET", "/ohif/a/b/c/d"),
        ("GET", "/ohif/a:b"),
        ("GET", "/proxy/dicom/wado/studies/../metadata"),
        ("GET", "/proxy/dicom/wado/studies/1.2?x/metadata"),
        ("GET", "/proxy/dicom/qido/instances"),
        ("GET", "/proxy/dicom/wado/http://evil.example/metadata"),
        ("GET", f"/proxy/dicom/wado/studies/{'1.' * 40}1/metadata"),
        ("GET", "/proxy/dicom/wado/studies/1..2/metadata"),
        ("GET", "/static/ohif/index.html"),
    ],
)
def test_a_path_that_is_not_served_is_not_found(method: str, path: str) -> None:
    with pytest.raises(RequestRefusedError, match=r"expected|is not served") as refusal:
        find_route(method, path, HERE)
    assert refusal.value.status == 404


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "PATCH", "TRACE", "get"])
def test_another_method_is_not_allowed_and_the_right_one_is_named(method: str) -> None:
    with pytest.raises(RequestRefusedError, match="expected GET") as refusal:
        find_route(method, "/info/", HERE)
    assert (refusal.value.status, refusal.value.headers) == (405, {"Allow": "GET"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_stored_in_a_pacs_or_deleted_from_it_by_way_of_the_proxy(method: str) -> None:
    for path in ("/proxy/dicom/wado/studies", "/proxy/dicom/qido/studies", f"/proxy/dicom/qido/studies/{UID}/series"):
        with pytest.raises(RequestRefusedError, match="is not served"):
            find_route(method, path, HERE)
    with pytest.raises(RequestRefusedError, match="is not served: DICOMweb is passed on to read"):
        find_route("POST", "/proxy/dicom/stow/studies", HERE)


def test_there_is_no_proxy_where_the_studies_are_a_folder() -> None:
    path = f"/proxy/dicom/wado/studies/{UID}/metadata"
    assert find_route("GET", path, HERE)[1] == {"study": UID}
    with pytest.raises(RequestRefusedError, match="is not served"):
        find_route("GET", path, FOLDER)


def test_a_path_is_written_anew_from_its_parts() -> None:
    found, parts = find_route("POST", "/infer/Läsion 1%2f", FOLDER)
    assert parts == {"model": "Läsion 1%2f"}  # decoded once: the percent sign is the name's own
    assert written_path(found, parts) == ("/infer/Läsion 1%2f", b"/infer/L%C3%A4sion%201%252f")


@pytest.mark.parametrize(
    ("query", "word"),
    [
        (b"image=a&image=b", "comes twice"),
        (b"image=a&%69mage=b", "comes twice"),
        (b"Image=a", "no parameter 'Image'"),
        (b"image=a&x=1", "no parameter 'x'"),
        (b"image=%ff", "cannot be read"),
        (b"image", "cannot be read"),
        (b"&&", "cannot be read"),
        (b"image=a;output=all&image=b", "comes twice"),
        (b"a=1&" * 30 + b"a=1", "cannot be read"),
    ],
)
def test_a_query_that_can_be_read_in_two_ways_is_refused(query: bytes, word: str) -> None:
    with pytest.raises(RequestRefusedError, match=word) as refusal:
        checked_query(INFER, query, HERE)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "query", [b"image=%2e%2e%2fx", b"image=..%5cx", b"image=%00", b"image=", b"image=%2Fetc%2Fpasswd"]
)
def test_a_path_in_a_query_names_nothing(query: bytes) -> None:
    with pytest.raises(RequestRefusedError, match="never a path") as refusal:
        checked_query(INFER, query, HERE)
    assert refusal.value.status == 404


def test_a_query_is_written_anew() -> None:
    assert checked_query(INFER, b"image=a+b%26c&output=json", HERE) == b"image=a%20b%26c&output=json"
    assert checked_query(route("GET", "/ohif/{file}"), b"anything=../x&anything", HERE) == b""
    with pytest.raises(RequestRefusedError, match="the query has no 'image'"):
        checked_query(route("GET", "/datastore/image"), b"", HERE)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "is no JSON"),
        ("[]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("", "is no JSON"),
        ('{"device": "cpu", "device": "/x"}', "comes twice"),
        ('{"roi": [NaN]}', "is no number"),
        ('{"roi": [1e999]}', "is no number"),
        ("[" * 100_000, "is no JSON"),
        ('{"roi": [' + "9" * 5000 + "]}", "is no JSON"),
        ('{"liver": [[1, 2]]}', "three voxel indices"),
        ('{"liver": [[1, 2, true]]}', "three voxel indices"),
        ('{"result_compress": 1}', "expected one of true, false"),
        ('{"label_info": [{"name": 1}]}', "label_info holds"),
    ],
)
def test_json_that_is_malformed_or_has_a_wrong_value_is_refused(text: str, word: str) -> None:
    assert isinstance(INFER.body, Form)
    with pytest.raises(ValueError, match=word):
        checked_json("params", text, INFER.body.texts["params"], HERE)  # type: ignore[arg-type]


def test_what_the_viewers_send_is_passed_on() -> None:
    assert isinstance(INFER.body, Form)
    slicer = {
        "liver": [], "background": [[3, 4, 5]], "label": "liver", "device": "cpu", "reset_state": True,
        "result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz",
    }  # fmt: skip
    ohif = {
        "background": [], "liver": [[1, 2, 3]], "device": ["cpu"], "result_extension": ".nrrd", "result_dtype": "uint8",
        "result_compress": False, "restore_label_idx": False,
    }  # fmt: skip
    for sent in (slicer, ohif):
        texts = checked_texts(INFER, INFER.body.texts, [("params", json.dumps(sent))], HERE)
        assert json.loads(texts["params"]) == sent


def test_what_slicer_sends_back_of_the_stock_apps_options_is_passed_on() -> None:
    offered = {
        "device": "NVIDIA A100-SXM4-80GB:1", "pretrained": True, "max_epochs": 50, "val_split": 0.2, "multi_gpu": True,
        "gpus": "all", "tracking": "None", "tracking_uri": "", "tracking_experiment_name": "", "run_id": "",
        "model_filename": "model.pt", "client_id": None,
    }  # fmt: skip
    body = route("POST", "/train/{model}").body
    assert body is not None
    body.check("the body", offered, HERE)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("sent", "kept", "content"),
    [
        ("C:\\Users\\Jane Doe\\x.NII.GZ", "upload.nii.gz", compressed_nifti_bytes()),
        ("/tmp/doe.nii", "upload.nii", nifti_bytes()),
        ("x.nii", "upload.nii", nifti_bytes(kind=nib.Nifti2Image, dtype=">i2")),
        ("../x.seg.nrrd", "upload.seg.nrrd", NRRD + b"\n\x00"),
        ("x.nrrd", "upload.nrrd", NRRD.replace(b"\n", b"\r\n") + b"\r\n\x00"),
    ],
)
def test_of_a_files_name_the_ending_alone_is_kept(sent: str, kept: str, content: bytes) -> None:
    file = io.BytesIO(content)
    assert safe_file_name(sent, file) == kept
    assert file.tell() == 0


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("main.py", b"", "expected one of"),
        ("x.nii.gz.py", b"\x1f\x8b", "ends with 'py'"),
        ("x.tar", b"", "expected one of"),
        (None, b"", "expected one of"),
        ("x.nii.gz", b"PK", "compressed NIfTI"),
        ("x.nii.gz", nifti_bytes(), "compressed NIfTI"),
        ("x.nii", b"\x1f\x8b\x08\x00", "does not begin as a NIfTI file"),
        ("x.nii", nifti_bytes()[:-10], "cannot hold"),
        ("x.nii.gz", gzip.compress(promising(30_000), mtime=0), "cannot hold"),
        ("x.nii.gz", gzip.compress(promising(700), mtime=0) + bytes(1 << 20), "blank, or made to fill memory"),
        ("x.nrrd", NRRD.replace(b"sizes: 1 1 1", b"sizes: 9 9 9") + b"\n\x00", "cannot hold"),
        ("x.nrrd", b"ObjectType = Image\nElementDataFile = /etc/passwd\n", "NRRD"),
        ("x.nrrd", NRRD, "has no end"),
        ("x.nrrd", NRRD + b"data file: /etc/passwd\n\n", "names other files"),
        ("x.nrrd", NRRD + b"Data File : LIST\n/etc/passwd\n\n", "names other files"),
        ("x.nrrd", NRRD + b"comment: x\rdatafile: ../x\n\n", "names other files"),
        ("x.nrrd", NRRD.replace(b"\n", b"\r\n") + b"datafile:x\r\n\r\n", "names other files"),
        (
            "x.nrrd",
            NRRD.replace(b"raw", b"gzip") + b"\n" + gzip.compress(bytes(1 << 24)),
            "inflates to more than the 1",
        ),
    ],
)
def test_what_is_no_volume_of_its_own_is_refused(name: str | None, content: bytes, word: str) -> None:
    with pytest.raises(RequestRefusedError, match=word):
        safe_file_name(name, io.BytesIO(content))


HOST = "127.0.0.1:8000"


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "http://evil.example")],
        [("origin", "null")],
        [("origin", "")],
        [("origin", "http://127.0.0.1:3000")],
        [("origin", "http://localhost:8000")],
        [("origin", "http://127.0.0.1:8000.evil.example")],
        [("origin", "http://[")],
        [("referer", "http://evil.example/x")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("origin", f"http://{HOST}"), ("origin", "http://evil.example")],
        [("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
    ],
)
def test_a_page_of_another_origin_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestRefusedError, match="page of another origin") as refusal:
        require_own_origin(headers, HOST)
    assert refusal.value.status == 403


def test_own_pages_and_programs_are_served() -> None:
    require_own_origin([], HOST)
    require_own_origin(
        [("origin", f"http://{HOST}"), ("referer", f"http://{HOST}/ohif/"), ("sec-fetch-site", "same-origin")], HOST
    )
    require_own_origin([("origin", "https://Label.Example")], "label.example")


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def test_the_token_comes_as_a_password_or_as_a_bearer_token() -> None:
    token = "a:b-c_d"
    for header in (basic(f"anyone:{token}"), basic(f":{token}"), f"Bearer {token}", f"bearer {token}"):
        assert holds_token(header, token), header
    for header in ("", "Bearer", "Bearer ", f"Bearer {token}x", f"Token {token}", basic(token), basic("x:"), "Basic %%",
                   basic(f"x:{token} "), "Basic " + b64encode(b"x:\xff").decode(), basic("x:é")):  # fmt: skip
        assert not holds_token(header, token), header


def test_user_and_password_of_a_url_are_left_out() -> None:
    text = "GET http://reader:p@ss:w/rd@pacs:8042/x failed, https://a@b/c; mail me@b.example"
    assert (
        redacted("see http://reader:s3cret@pacs:8042/x and mail@b.example")
        == "see http://***@pacs:8042/x and mail@b.example"
    )
    assert "p@ss" not in redacted(text)


def test_no_log_holds_the_password_of_a_url(caplog: pytest.LogCaptureFixture) -> None:
    former = logging.getLogRecordFactory()
    try:
        redact_logs()
        redact_logs()
        log = logging.getLogger("test")
        log.error("%s failed", "http://reader:s3cret@pacs/")
        try:
            raise OSError("http://reader:s3cret@pacs/ does not answer")
        except OSError:
            log.exception("no answer")
        log.error("%d", "no number http://reader:s3cret@pacs/")
    finally:
        logging.setLogRecordFactory(former)
    for record in caplog.records:
        text = logging.Formatter().format(record) if record.msg != "%d" else record.msg
        assert "s3cret" not in text
    assert "http://***@pacs/ failed" in caplog.text
    assert "http://***@pacs/ does not answer" in caplog.text
