"""A real Orthanc for the tests of this folder, and a proxy in front of it that misbehaves on demand."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dicom_phantoms import (
    BIRTH_DATE,
    PATIENT_ID,
    PATIENT_NAME,
    SEGMENTATION_CLASS,
    oblique,
    stored_values,
    write_object,
    write_series,
)
from faulty_proxy import FaultyProxy
from orthanc_server import PASSWORD, USER, Orthanc, why_no_orthanc
from tiny_model import write_tiny_model
from typer.testing import CliRunner, Result

from monai_vggunet.cli.main import app
from monai_vggunet.pacs import DicomWebServer, Retries
from monai_vggunet.pacs.credentials import Credentials

CT = "1.2.3.4.5.61"
TOKEN = "tOp-SECRET-0815"
QUICK = Retries(attempts=3, first_wait_sec=0.01)


@pytest.fixture(scope="session")
def running_orthanc() -> Iterator[Orthanc]:
    """One server for all tests; skipped where none can be had."""
    reason = why_no_orthanc()
    if reason:
        pytest.skip(reason)
    server = Orthanc()
    yield server
    server.stop()


@pytest.fixture
def orthanc(running_orthanc: Orthanc) -> Orthanc:
    """The server, empty."""
    running_orthanc.clear()
    return running_orthanc


@pytest.fixture
def proxy(orthanc: Orthanc) -> Iterator[FaultyProxy]:
    """A proxy that signs for everybody."""
    with FaultyProxy(orthanc.root, USER, PASSWORD) as running:
        yield running


@pytest.fixture
def connect() -> Callable[..., DicomWebServer]:
    """Return a client of a URL, quick to give up."""

    def connected(url: str, credentials: Credentials | None = None, timeout_sec: float = 10.0) -> DicomWebServer:
        return DicomWebServer(url, credentials, timeout_sec, QUICK)

    return connected


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    """An object that the archive takes for a DICOM SEG, in the phantoms' study."""
    slices = write_series(tmp_path / "result", SOPClassUID=SEGMENTATION_CLASS, Modality="SEG")
    return slices[0]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def study(orthanc: Orthanc, tmp_path: Path) -> Path:
    """An oblique CT and a report lie in the archive, and the CT in the folder returned."""
    files = write_series(tmp_path / "ct", stored_values(4, 20, 17), orientation=oblique(), series_uid=CT)
    write_object(tmp_path / "report", "1.2.840.10008.5.1.4.1.1.88.11", "SR")
    orthanc.upload([*files, tmp_path / "report"])
    return tmp_path / "ct"


@pytest.fixture
def _quick_and_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short waits, temporary files where the test sees them, and a password that must not be seen."""
    monkeypatch.setattr("monai_vggunet.pacs.session.Retries", functools.partial(Retries, 3, 0.01))
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_USER", USER)
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_PASSWORD", PASSWORD)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def run(
    _quick_and_private: None, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Result]]:
    """Run `segment` into `OUT`; whatever happens, secrets are not told and no image stays behind."""
    told = []
    caplog.set_level(logging.INFO)

    def segment(*words: str, out: str = "out") -> Result:
        result = CliRunner().invoke(app, ["segment", "-o", str(tmp_path / out), "--model", str(model), *words])
        told.append(result.output + repr(result.exception) + caplog.text)
        return result

    yield segment
    told += [path.read_text() for path in tmp_path.glob("out*/**/record.json")]
    for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE, PASSWORD, TOKEN):
        assert not any(secret in text for text in told)
    assert not list((tmp_path / "temporary").iterdir())
