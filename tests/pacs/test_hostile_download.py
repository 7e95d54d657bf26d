"""Instances of an archive that is hostile or broken: what was listed and asked for, within bounds, or an error."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from pathlib import Path

import pydicom
import pytest
from dicom_phantoms import PATIENT_ID, stored_values, write_series
from hostile_archive import (
    BOUNDARY,
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
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_vggunet.errors import OutputWriteError, PacsError, PacsLimitError
from monai_vggunet.pacs import DicomWebServer, Retries, download_study

CT = "1.2.3.4.5.61"
SERIES, INSTANCE = f"/series/{CT} ", "/instances/"
QUICK = Retries(attempts=2, first_wait_sec=0.01)
KIND = {"Content_Type": MULTIPART}
PART = f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
MOST = 1 << 20  # bytes of one instance, in these tests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "came").mkdir()
    return tmp_path / "came"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[HostileArchive]:
    with HostileArchive(series={CT: write_series(tmp_path / "ct", series_uid=CT)}) as running:
        yield running


@pytest.fixture
def files(archive: HostileArchive) -> list[bytes]:
    return [path.read_bytes() for path in archive.series[CT]]


def bring(archive: HostileArchive, folder: Path, timeout_sec: float = 5.0) -> int:
    """Download; whatever happens, only whole instances lie there."""
    server = DicomWebServer(archive.dicomweb, timeout_sec=timeout_sec, retries=QUICK, most_object_bytes=MOST)
    try:
        return download_study(server, archive.study, folder, show_progress=False)
    finally:
        for path in folder.iterdir():
            assert path.suffix == ".dcm"
            assert path.read_bytes() in [file.read_bytes() for file in archive.series[CT]]


def changed(file: bytes, **elements: str) -> bytes:
    dataset = pydicom.dcmread(BytesIO(file))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def whole(parts: Iterable[bytes]) -> bytes:
    return answer(multipart(parts), KIND["Content_Type"])


ENDLESS: dict[str, tuple[Callable[[bytes], Answer], str]] = {
    "a part": (
        lambda file: endless(b"\0" * 1000, head(**KIND) + PART + file),
        "an instance of more than 1048576 bytes",
    ),
    "a part in chunks": (
        lambda file: chain([head(Transfer_Encoding="chunked", **KIND)], chunked(endless(b"\0" * 9999, PART + file))),
        "an instance of more than 1048576 bytes",
    ),
    "a part that is packed": (
        lambda file: chain([head(Content_Encoding="gzip", **KIND)], packed(endless(b"\0" * 9999, PART + file))),
        "an instance of more than 1048576 bytes",
    ),
    "an instance that is no part": (
        lambda file: endless(b"\0" * 1000, head(Content_Type="application/dicom") + file),
        "an instance of more than 1048576 bytes",
    ),
    "the same part": (lambda file: endless(PART + file, head(**KIND)), "sent 5 of the 4 instances that it lists"),
    "empty parts": (lambda file: endless(PART, head(**KIND)), "something that is no readable DICOM"),
    "a part's head": (
        lambda file: endless(b"X: y\r\n", head(**KIND) + f"--{BOUNDARY}\r\n".encode()),
        "bytes of a multipart answer without an instance: stopped",
    ),
    "what stands before the first part": (
        lambda file: endless(b"x" * 99, head(**KIND)),
        "bytes of a multipart answer without an instance: stopped",
    ),
    "another boundary": (
        lambda file: endless(PART.replace(b"boundary", b"other") + file, head(**KIND)),
        "bytes of a multipart answer without an instance: stopped",
    ),
}


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    return (packer.compress(piece) for piece in pieces)


@pytest.mark.parametrize("attack", ENDLESS)
def test_an_answer_without_end_is_stopped(
    archive: HostileArchive, folder: Path, files: list[bytes], attack: str
) -> None:
    said, message = ENDLESS[attack]
    archive.answers = {SERIES: lambda _: said(files[0])}
    with pytest.raises(PacsError, match=message):
        bring(archive, folder)
    assert len(list(folder.iterdir())) <= 1


def test_what_follows_the_last_part_is_not_waited_for(
    archive: HostileArchive, folder: Path, files: list[bytes]
) -> None:
    archive.answers = {SERIES: lambda _: endless(b"x", head(**KIND) + multipart(files))}
    assert bring(archive, folder) == 4


SLOW: dict[str, Callable[[bytes], Answer]] = {
    "a part": lambda file: trickle(b"\0", head(**KIND) + PART + file),
    "a part's head": lambda file: trickle(b"X", head(**KIND) + f"--{BOUNDARY}\r\n".encode()),
    "a part in chunks of one byte": lambda file: chain(
        [head(Transfer_Encoding="chunked", **KIND)], chunked(trickle(b"\0", PART + file))
    ),
    "a part that is packed": lambda file: chain(
        [head(Content_Encoding="gzip", **KIND)], packed_at_once(trickle(b"\0" * 50, PART + file))
    ),
}


def packed_at_once(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    return (packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces)


@pytest.mark.parametrize("attack", SLOW)
def test_an_answer_that_trickles_is_stopped(
    archive: HostileArchive, folder: Path, files: list[bytes], attack: str
) -> None:
    archive.answers = {SERIES: lambda _: SLOW[attack](files[0])}
    with pytest.raises(PacsLimitError, match="is too slow"):
        bring(archive, folder, timeout_sec=0.3)


def test_instances_that_each_just_keep_the_pace_exhaust_the_studys_patience(
    archive: HostileArchive, folder: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is too slow by itself, but all of them together are."""
    monkeypatch.setattr("monai_vggunet.pacs.download.STUDY_PATIENCE", 5)
    broken = head(**KIND) + PART + files[0] + PART
    uids = [f"1.2.{n}" for n in range(1000)]

    def slowly(_: object) -> Iterator[bytes]:
        archive.over.wait(0.2)
        yield answer(b"", status="404 Not Found")

    archive.answers = {
        "/series?": qido([series_entry(CT, 1000)]),
        INSTANCE: slowly,
        "/instances?": lambda request: qido([instance_entry(uid) for uid in uids][request.offset :]),
        SERIES: broken,
    }
    with pytest.raises(PacsLimitError, match=r"is too slow: .* after 1\.5 s"):
        bring(archive, folder, timeout_sec=0.3)
    assert len(archive.seen) < 40


def test_a_slow_line_is_no_slow_archive(archive: HostileArchive, folder: Path, files: list[bytes]) -> None:
    """What comes fast enough may take longer than an answer's allowance."""
    body = multipart([*files[:3], files[3] + b"\0" * 150_000])
    archive.series[CT][3].write_bytes(files[3] + b"\0" * 150_000)

    def slowly(_: object) -> Iterator[bytes]:
        yield head(**KIND)
        for start in range(0, len(body), 8_000):
            archive.over.wait(0.05)  # 160 kB a second
            yield body[start : start + 8_000]

    archive.answers = {SERIES: slowly}
    assert bring(archive, folder, timeout_sec=0.2) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"StudyInstanceUID": "1.2.9"}, "an instance of another study or series"),
        ({"SeriesInstanceUID": "1.2.9"}, "an instance of another study or series"),
        ({"SeriesInstanceUID": "../../../tmp/x"}, "an instance of another study or series"),
        ({"SOPInstanceUID": ""}, "an instance of another study or series"),
        ({"PatientID": "somebody else"}, "instances of more than one patient"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_instance_of_something_else_is_refused(
    archive: HostileArchive, folder: Path, files: list[bytes], change: dict[str, str], message: str
) -> None:
    archive.answers = {SERIES: whole([*files[:3], changed(files[3], **change)])}
    with pytest.raises(PacsError, match=message) as refusal:
        bring(archive, folder)
    assert PATIENT_ID not in str(refusal.value)
    assert "somebody" not in str(refusal.value)


def test_more_instances_than_listed_are_not_read(archive: HostileArchive, folder: Path, files: list[bytes]) -> None:
    archive.answers = {SERIES: whole([*files, changed(files[3], SOPInstanceUID="1.2.9")])}
    with pytest.raises(PacsError, match=r"sent 5 of the 4 instances that it lists.*the rest is not read"):
        bring(archive, folder)


def test_the_same_instance_twice_takes_the_place_of_none(
    archive: HostileArchive, folder: Path, files: list[bytes]
) -> None:
    archive.answers = {INSTANCE: archive.honest, SERIES: whole([files[0], files[0], files[1], files[2]])}
    assert bring(archive, folder) == 4
    assert sum(INSTANCE in request.path for request in archive.seen) == 1


def test_an_instance_twice_with_different_content_is_refused(
    archive: HostileArchive, folder: Path, files: list[bytes]
) -> None:
    archive.answers = {SERIES: whole([files[0], changed(files[0], SeriesDescription="other"), *files[1:3]])}
    with pytest.raises(PacsError, match="an instance twice, with different content"):
        bring(archive, folder)


@pytest.mark.parametrize("several", [False, True])
def test_another_instance_than_the_one_asked_for_is_refused(
    archive: HostileArchive, folder: Path, files: list[bytes], several: bool
) -> None:
    other = changed(files[0], SOPInstanceUID="1.2.9")
    archive.answers = {
        INSTANCE: (lambda request: whole([archive.honest(request).split(PART)[1].rpartition(b"\r\n--")[0], other]))
        if several
        else whole([other]),
        SERIES: whole(files[:1]),
    }
    with pytest.raises(PacsError, match="several instances instead of one" if several else "another instance than"):
        bring(archive, folder)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_instance_named_like_a_path_stays_in_the_folder(
    archive: HostileArchive, folder: Path, files: list[bytes], tmp_path: Path
) -> None:
    """Also where the archive calls it so in its list: files are named by a hash."""
    climbing = changed(files[3], SOPInstanceUID="../../climbed")
    archive.series[CT][3].write_bytes(climbing)
    archive.answers = {SERIES: whole([*files[:3], climbing])}
    assert bring(archive, folder) == 4
    assert len(list(folder.iterdir())) == 4
    assert not list(tmp_path.rglob("climbed*"))


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 132, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 500, b"<html>" * 99]
)
def test_a_part_that_is_no_dicom_is_said(archive: HostileArchive, folder: Path, body: bytes) -> None:
    archive.answers = {SERIES: whole([body])}
    with pytest.raises(PacsError, match=r"something that is no readable DICOM|an instance of another study or series"):
        bring(archive, folder)


@pytest.mark.parametrize(
    "kind", ["text/html", "", "multipart/form-data; boundary=x", "application/dicom+json", "\x1b[2J"]
)
def test_an_answer_of_another_kind_is_said(archive: HostileArchive, folder: Path, kind: str) -> None:
    archive.answers = {SERIES: answer(b"hello", kind)}
    with pytest.raises(PacsError, match="the URL is that of the DICOMweb service") as refusal:
        bring(archive, folder)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("boundary", ["", "x" * 5000, '"unfinished', "\xff\xfe"])
def test_a_boundary_that_is_none_is_said(
    archive: HostileArchive, folder: Path, files: list[bytes], boundary: str
) -> None:
    archive.answers = {SERIES: answer(multipart(files), f"multipart/related; boundary={boundary}")}
    with pytest.raises(PacsError, match=r"no readable DICOM|failed or broke|without an instance"):
        bring(archive, folder)


def deflated(file: bytes, n_bytes: int) -> bytes:
    """Return an instance as a deflated file (PS3.5 A.5), with so many zeros behind it."""
    dataset = pydicom.dcmread(BytesIO(file))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.PixelData = b"\0" * n_bytes
    stream = BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def test_a_deflated_instance_is_not_inflated(
    archive: HostileArchive, folder: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes as it is; reading it is the reader's matter, which knows how much memory there is."""
    bomb = deflated(files[0], 40 << 20)
    assert len(bomb) < MOST
    archive.series[CT][0].write_bytes(bomb)
    monkeypatch.setattr(zlib, "decompress", lambda *_, **__: pytest.fail("inflated as a whole"))
    archive.answers = {SERIES: whole([bomb, *files[1:]])}
    assert bring(archive, folder) == 4


def test_a_deflated_instance_that_is_damaged_is_said(archive: HostileArchive, folder: Path, files: list[bytes]) -> None:
    archive.answers = {SERIES: whole([deflated(files[0], 5)[:450], *files[1:]])}
    with pytest.raises(PacsError, match=r"something that is no readable DICOM|another study"):
        bring(archive, folder)


def test_a_header_that_would_fill_the_memory_is_refused(
    archive: HostileArchive, folder: Path, files: list[bytes]
) -> None:
    """Empty items cost eight bytes in the file, and a hundred times as many in memory."""
    at = files[0].index(b"\x08\x00\x16\x00UI")  # SOPClassUID
    items = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 120_000
    archive.answers = {SERIES: whole([files[0][:at] + items + b"\xfe\xff\xdd\xe0\0\0\0\0" + files[0][at:]])}
    with pytest.raises(PacsError, match=r"no readable DICOM \(TooLargeError\)"):
        bring(archive, folder)


def test_a_disk_that_gets_full_is_left_some_room(
    archive: HostileArchive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(total=1 << 40, free=200 << 20))
    with pytest.raises(OutputWriteError, match=r"only 200 MiB are left on the disk.*TMPDIR"):
        bring(archive, folder)
    assert not list(folder.iterdir())


def test_silence_after_some_instances_leaves_them_and_the_rest_is_asked_for(
    archive: HostileArchive, folder: Path, tmp_path: Path
) -> None:
    archive.series[CT] = write_series(tmp_path / "larger", stored_values(3, 200, 250), series_uid=CT)
    whole_answer = archive.honest(Request("GET", f"/dicom-web/studies/{archive.study}/series/{CT}", {}, b""))

    def silent(_: object) -> Iterator[bytes]:
        yield whole_answer[: len(whole_answer) * 5 // 6]
        archive.over.wait(10)

    archive.answers = {INSTANCE: archive.honest, "/instances?": archive.honest, SERIES: silent}
    assert bring(archive, folder, timeout_sec=0.5) == 3
    assert sum(INSTANCE in request.path for request in archive.seen) < 3
