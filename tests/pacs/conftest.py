"""A real Orthanc for the tests of this folder, and a proxy in front of it that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dicom_phantoms import SEGMENTATION_CLASS, write_series
from faulty_proxy import FaultyProxy
from orthanc_server import PASSWORD, USER, Orthanc, why_no_orthanc

from monai_vggunet.pacs import DicomWebServer, Retries
from monai_vggunet.pacs.access import Credentials

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
