"""The studies' DICOMweb server, as this one reaches it: with its credentials, within bounds, and nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

import requests
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from monai_vggunet.annotation.front.room import full_disk_as_refusal
from monai_vggunet.annotation.printable import printable
from monai_vggunet.errors import PacsError, refusal_behind
from monai_vggunet.names import shortened
from monai_vggunet.pacs.archive_session import ArchiveSession
from monai_vggunet.pacs.bounds import MOST_LISTING_BYTES, most_object_bytes
from monai_vggunet.pacs.credentials import Credentials
from monai_vggunet.pacs.http_status import named_status

__all__ = [
    "UNREACHABLE",
    "UNREACHABLE_ERRORS",
    "archive_client",
    "open_archive",
    "read_archive",
    "word_of",
]

TIMEOUT_SEC = 20.0  # its longest silence: this server answers nothing else while it fetches a study
ATTEMPTS, FIRST_WAIT_MS = 3, 200
MOST_SERIES_BYTES = 1 << 32  # of one answer: a series comes as a whole
UNREACHABLE = 502  # RFC 9110
UNREACHABLE_ERRORS = (requests.RequestException, PacsError)
FIRST_ERROR, FIRST_SERVER_ERROR = 400, 500
ACCESS_STATUSES = (401, 403, 407)  # it refuses this server, not the one who asks
CHUNK_BYTES = 1 << 16
MOST_IN_MEMORY = 1 << 22  # bytes of an answer on its way; a frame of a CT has an eighth of it
# What DICOMweb answers with (PS3.18 8.7.3). Anything else, such as a page with a script, would be shown as ours.
OPAQUE = "application/octet-stream"
MEDIA_TYPES = ("application/dicom", "application/dicom+json", "application/json", "multipart/related", OPAQUE)
IMAGES, NO_IMAGE = "image/", "image/svg"
# Whatever it holds, a browser saves it where the viewer does not ask for it.
DOWNLOAD = {"Content-Disposition": "attachment"}


def open_archive(timeout_sec: float = TIMEOUT_SEC) -> ArchiveSession:
    """Return a session with the DICOMweb server of the studies.

    Args:
        timeout_sec: its longest silence.
    """
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    credentials = Credentials(user=user, password=password) if user and password else Credentials()
    session = ArchiveSession(settings.MONAI_LABEL_STUDIES, credentials, timeout_sec)
    session.most_bytes = MOST_SERIES_BYTES
    return session


def archive_client() -> DICOMwebClientX:
    """Return MONAI Label's client for the DICOMweb server of the studies, on a session of ours."""
    client = DICOMwebClientX(
        url=settings.MONAI_LABEL_STUDIES.rstrip("/"),
        session=open_archive(),
        qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
        wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
        stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        timeout=TIMEOUT_SEC,
    )
    # The server answers one request at a time: five attempts, the default, would block it for half a minute.
    client.set_http_retry_params(max_attempts=ATTEMPTS, wait_exponential_multiplier=FIRST_WAIT_MS)
    return client


def read_archive(resource: str) -> Response:
    """Return the answer to the viewer's question for a resource of the DICOMweb server.

    MONAI Label would follow the server wherever it sends it, and pass on whatever it says as of our own origin. Of its
    answer the content and the type of the content are passed on, once it is there as a whole: what breaks off, falls
    silent or does not end is answered by status 502 and the reason.

    Args:
        resource: `qido/` or `wado/` and the resource's path, as the table of routes allows it.

    Raises:
        RequestRefusedError: 507, there is no room for it on the disk.
    """
    service, _, path = resource.partition("/")
    by_wado = service == "wado" or path.endswith("/metadata")  # some viewers ask QIDO-RS for it
    prefix = settings.MONAI_LABEL_WADO_PREFIX if by_wado else settings.MONAI_LABEL_QIDO_PREFIX
    url = "/".join(part for part in (settings.MONAI_LABEL_STUDIES.rstrip("/"), prefix, path) if part)
    timeout_sec = settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT
    content = cast(BinaryIO, tempfile.SpooledTemporaryFile(MOST_IN_MEMORY))  # noqa: SIM115 - closed once sent
    try:
        with full_disk_as_refusal(), open_archive(timeout_sec) as session:
            session.most_bytes = most_object_bytes() if by_wado else MOST_LISTING_BYTES
            with session.get(url, stream=True, timeout=timeout_sec) as answer:
                problem = _problem_with(answer)
                if problem is not None:
                    content.close()
                    return problem
                for chunk in answer.iter_content(CHUNK_BYTES):
                    content.write(chunk)
    except UNREACHABLE_ERRORS as error:
        content.close()
        return _refusal(f"the DICOMweb server gave no answer: {word_of(error)}", UNREACHABLE)
    except BaseException:
        content.close()
        raise
    headers = {"Content-Type": answer.headers.get("Content-Type", OPAQUE), "Content-Length": str(content.tell())}
    content.seek(0)
    return StreamingResponse(
        _pieces(content), answer.status_code, headers | DOWNLOAD, background=BackgroundTask(content.close)
    )


def word_of(error: Exception) -> str:
    """Say what went wrong without the request's address, which may hold a secret."""
    refusal = refusal_behind(error)
    if refusal is not None:
        return str(refusal)
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"status {response.status_code}"


def _problem_with(answer: requests.Response) -> JSONResponse | None:
    """Return what the viewer gets in place of an answer that is none of DICOMweb's; nothing of its body."""
    status = answer.status_code
    if status in ACCESS_STATUSES:
        text = "set MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD, and start this server again"
        return _refusal(f"the DICOMweb server refuses this server access ({named_status(status)}): {text}", UNREACHABLE)
    if status >= FIRST_ERROR:
        passed = status if status < FIRST_SERVER_ERROR else UNREACHABLE
        return _refusal(f"the DICOMweb server answered {named_status(status)}", passed)
    given = answer.headers.get("Content-Type", OPAQUE)
    if not _is_harmless(given):
        text = f"the DICOMweb server answered with {shortened(given)}, which is none of DICOMweb's types"
        return _refusal(text, UNREACHABLE)
    return None


def _refusal(text: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": printable(text)}, status)


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    while piece := content.read(CHUNK_BYTES):
        yield piece


def _is_harmless(content_type: str) -> bool:
    media_type = content_type.split(";")[0].strip().lower()
    return media_type in MEDIA_TYPES or (media_type.startswith(IMAGES) and not media_type.startswith(NO_IMAGE))
