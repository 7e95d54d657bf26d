"""Studies out of a real archive: whole, or an error that says why."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, stored_values, write_object, write_series
from faulty_proxy import Fault, FaultyProxy
from orthanc_server import PASSWORD, USER, Orthanc, why_no_orthanc
from pydicom.uid import JPEG2000Lossless

from monai_vggunet.errors import OutputWriteError, PacsAccessError, PacsError, PacsUnavailableError
from monai_vggunet.pacs import DicomWebServer, Retries, Stopped, download_study
from monai_vggunet.pacs.credentials import Credentials
from monai_vggunet.pacs.retrieve import retrieve

pytestmark = pytest.mark.pacs

STUDY = "1.2.3.4.5"
CT, MR = "1.2.3.4.5.61", "1.2.3.4.5.62"
Connect = Callable[..., DicomWebServer]


@pytest.fixture
def study(orthanc: Orthanc, tmp_path: Path) -> dict[str, bytes]:
    """A CT (JPEG 2000), an MR and a report lie in the archive; the images' files by UID."""
    files = write_series(tmp_path / "ct", stored_values(4, 32, 32), series_uid=CT, transfer_syntax=JPEG2000Lossless)
    mr = {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}
    files += write_series(tmp_path / "mr", stored_values(6), series_uid=MR, **mr)
    write_object(tmp_path / "report", "1.2.840.10008.5.1.4.1.1.88.11", "SR")
    orthanc.upload([*files, tmp_path / "report"])
    return {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID: file.read_bytes() for file in files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "came").mkdir()
    return tmp_path / "came"


def bring(server: DicomWebServer, folder: Path, **choice: str) -> int:
    return download_study(server, STUDY, folder, show_progress=False, **choice)


def came(folder: Path) -> set[bytes]:
    return {file.read_bytes() for file in folder.iterdir()}


def test_only_loopback_reaches_the_test_server(orthanc: Orthanc) -> None:
    ports = [f"{int(url.rpartition(':')[2]):04X}" for url in (orthanc.root, f":{orthanc.dicom_port}")]
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    listening = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    addresses = {address for address, port in listening if port in ports}
    assert addresses
    if orthanc.isolated:
        assert addresses == {"0100007F"}  # 127.0.0.1
    configuration = json.loads((orthanc.folder / "orthanc.json").read_text())
    assert (configuration["RemoteAccessAllowed"], configuration["DicomCheckModalityHost"]) == (False, True)


def test_a_study_comes_as_it_was_stored_without_what_is_no_image(
    orthanc: Orthanc, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    server = connect(orthanc.dicomweb, Credentials(user=USER, password=PASSWORD))
    assert bring(server, folder) == len(study) == 10
    assert came(folder) == set(study.values())


@pytest.mark.parametrize(("choice", "series"), [({"series_uid": CT}, CT), ({"modality": "MR"}, MR)])
def test_one_series_or_modality_comes_alone(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect, choice: dict, series: str
) -> None:
    bring(connect(proxy.dicomweb), folder, **choice)
    assert {pydicom.dcmread(file).SeriesInstanceUID for file in folder.iterdir()} == {series}
    assert not any(other in path for _, path in proxy.seen for other in {CT, MR} - {series})


def test_a_token_is_sent_and_a_wrong_one_refused(
    orthanc: Orthanc, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    with FaultyProxy(orthanc.root, USER, PASSWORD, token="right") as proxy:
        assert bring(connect(proxy.dicomweb, Credentials(token="right")), folder) == 10
        for wrong in (Credentials(token="wrong"), Credentials()):
            proxy.seen.clear()
            with pytest.raises(PacsAccessError, match=r"refused access \(401 Unauthorized\).*_TOKEN") as refusal:
                bring(connect(proxy.dicomweb, wrong), folder)
            assert len(proxy.seen) == 1, "what is refused is not asked again"
            assert "wrong" not in str(refusal.value)


def test_a_wrong_password_is_refused(orthanc: Orthanc, folder: Path, connect: Connect) -> None:
    with pytest.raises(PacsAccessError, match="401"):
        bring(connect(orthanc.dicomweb, Credentials(user=USER, password="guess")), folder)


def test_an_unknown_study_series_or_modality_is_named(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    server = connect(proxy.dicomweb)
    with pytest.raises(PacsError, match=r"knows no study 9\.9\.9"):
        download_study(server, "9.9.9", folder, show_progress=False)
    with pytest.raises(PacsError, match=r"holds no series 9\.9 \(--series\); it holds 1.*\(CT\), 1.*\(MR\), 1.*\(SR\)"):
        bring(server, folder, series_uid="9.9")
    with pytest.raises(PacsError, match="holds no PT series"):
        bring(server, folder, modality="PT")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_twice_is_asked_again(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect, status: int
) -> None:
    proxy.faults = [Fault(where="/series?", times=2, status=status), Fault(where=f"/series/{CT}", times=2, status=503)]
    assert bring(connect(proxy.dicomweb), folder) == 10
    assert came(folder) == set(study.values())


@pytest.mark.parametrize("status", [400, 404, 409])
def test_other_refusals_are_not_asked_again(proxy: FaultyProxy, folder: Path, connect: Connect, status: int) -> None:
    proxy.faults = [Fault(status=status, body=PATIENT_NAME.encode())]
    with pytest.raises(PacsError, match=f"answered {status}") as refusal:
        bring(connect(proxy.dicomweb), folder)
    assert len(proxy.seen) == 1
    assert PATIENT_NAME not in str(refusal.value)


def test_a_server_that_stays_broken_is_given_up(proxy: FaultyProxy, folder: Path, connect: Connect) -> None:
    proxy.faults = [Fault(status=500)]
    with pytest.raises(PacsUnavailableError, match=r"500 Internal Server Error.*\(tried 3 times\)"):
        bring(connect(proxy.dicomweb), folder)
    assert len(proxy.seen) == 3


def test_a_server_that_hangs_is_given_up(proxy: FaultyProxy, folder: Path, connect: Connect) -> None:
    proxy.faults = [Fault(silence=True)]
    with pytest.raises(PacsUnavailableError, match=r"did not answer within 0\.3 s"):
        bring(connect(proxy.dicomweb, timeout_sec=0.3), folder)


def test_nobody_listening_is_said(folder: Path, connect: Connect) -> None:
    with pytest.raises(PacsUnavailableError, match=r"the connection to 127\.0\.0\.1, .*, failed or broke"):
        bring(connect("http://127.0.0.1:9/dicom-web"), folder)


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b'{"a": 1}', b'[{"0020000E": 5}]', b"3"])
def test_an_answer_that_is_no_dicomweb_is_an_error(
    proxy: FaultyProxy, folder: Path, connect: Connect, body: bytes
) -> None:
    proxy.faults = [Fault(body=body)]
    with pytest.raises(PacsError, match=r"the URL is that of the DICOMweb service|check its URL"):
        bring(connect(proxy.dicomweb), folder)


@pytest.mark.parametrize("cut_at", [100, 2500, 6000])
def test_a_stream_that_breaks_is_completed_instance_by_instance(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect, cut_at: int
) -> None:
    """Orthanc states no length: a connection that ends early looks like an answer that is over."""
    proxy.faults = [Fault(where=f"/series/{MR}", cut_at=cut_at, times=1)]
    assert bring(connect(proxy.dicomweb), folder) == 10
    assert came(folder) == set(study.values())
    fetched = {path for _, path in proxy.seen if f"{MR}/instances/" in path}
    assert bool(fetched) == (cut_at > 1500), "with nothing there, the stream is asked for again"
    assert len(fetched) < 6


def test_a_server_that_dies_half_way_is_an_error(
    folder: Path, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why_no_orthanc():
        pytest.skip(why_no_orthanc())
    dying = Orthanc()
    try:
        dying.upload(write_series(tmp_path / "large", stored_values(40, 512, 512)))  # more than a socket's buffers hold
        server = connect(dying.dicomweb, Credentials(user=USER, password=PASSWORD))

        def killed_on_the_way(*asked: Any) -> Iterator[Iterator[bytes]]:
            for number, pieces in enumerate(retrieve(*asked)):
                if number == 1:
                    dying.kill()
                yield pieces

        monkeypatch.setattr("monai_vggunet.pacs.download.retrieve", killed_on_the_way)
        with pytest.raises(PacsUnavailableError, match="asked to list the instances of a series, failed or broke"):
            bring(server, folder)
    finally:
        dying.stop()
    assert 0 < len(list(folder.iterdir())) < 40


def test_a_part_of_a_series_is_an_error(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    """The archive lists six instances and gives five."""

    def without_the_second(body: bytes) -> bytes:
        boundary = body[: body.index(b"\r\n")]
        parts = body.split(boundary)
        return boundary.join(parts[:2] + parts[3:])

    proxy.faults = [
        Fault(where=f"/series/{MR}/instances/", status=404),
        Fault(where=f"/series/{MR}", edit=without_the_second, times=1),
    ]
    with pytest.raises(PacsError, match=rf"sent 5 of the 6 instances that it lists for series …{MR[-8:]}"):
        bring(connect(proxy.dicomweb), folder)


def test_a_series_that_grows_meanwhile_is_an_error(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    proxy.faults = [Fault(where="/series?", edit=lambda body: body.replace(b"\t6\n", b"\t5\n"), times=1)]
    with pytest.raises(PacsError, match="sent 6 of the 5 instances"):
        bring(connect(proxy.dicomweb), folder)


def test_an_instance_of_another_study_is_refused(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    proxy.faults = [Fault(where=f"/series/{CT}", edit=lambda body: body.replace(b"1.2.3.4.5\0", b"1.2.3.4.6\0"))]
    with pytest.raises(PacsError, match="an instance of another study or series"):
        bring(connect(proxy.dicomweb), folder)


def test_an_archive_that_does_not_count_is_asked_for_its_list(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    proxy.faults = [Fault(where="/series?", edit=lambda body: body.replace(b"00201209", b"00201299"))]
    assert bring(connect(proxy.dicomweb), folder) == 10


def test_a_search_that_ignores_offsets_ends(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    server = connect(proxy.dicomweb)
    search = server.client.search_for_series
    server.client.search_for_series = lambda study, offset=0, **rest: search(study, **rest)  # type: ignore[assignment]
    assert bring(server, folder) == 10


def test_a_full_disk_is_said(proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect) -> None:
    folder.rmdir()
    with pytest.raises(OutputWriteError, match="TMPDIR"):
        bring(connect(proxy.dicomweb), folder)


def test_a_run_that_is_ended_stops_waiting(proxy: FaultyProxy, folder: Path) -> None:
    proxy.faults = [Fault(status=503)]
    server = DicomWebServer(proxy.dicomweb, retries=Retries(attempts=4, first_wait_sec=60.0))
    threading.Timer(0.2, server.retries.stop.set).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        bring(server, folder)
    assert time.monotonic() - started < 10


def test_nothing_of_the_patient_is_logged(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    proxy.faults = [Fault(where=f"/series/{MR}", cut_at=2500, times=1)]
    bring(connect(proxy.dicomweb), folder)
    assert "asking for the rest" in caplog.text
    for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE):
        assert secret not in caplog.text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("monai_vggunet")]
    assert ours
    assert not any(STUDY in message for message in ours)


def test_pixels_are_what_was_stored(
    proxy: FaultyProxy, study: dict[str, bytes], folder: Path, connect: Connect
) -> None:
    bring(connect(proxy.dicomweb), folder, series_uid=CT)
    files = list(folder.iterdir())
    assert len(files) == 4
    for file in files:
        own = pydicom.dcmread(file)
        np.testing.assert_array_equal(own.pixel_array, pydicom.dcmread(BytesIO(study[own.SOPInstanceUID])).pixel_array)
