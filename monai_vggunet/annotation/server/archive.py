"""The studies' DICOMweb server, as this one reaches it: with its credentials, within bounds, and nowhere else."""

from __future__ import annotations

import requests
from monailabel.config import settings
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from monai_vggunet.errors import PacsError, refusal_behind
from monai_vggunet.pacs.access import Credentials
from monai_vggunet.pacs.archive_session import ArchiveSession

__all__ = ["TIMEOUT_SEC", "UNREACHABLE", "UNREACHABLE_ERRORS", "open_archive", "read_archive", "word_of"]

TIMEOUT_SEC = 20.0  # its longest silence: this server answers nothing else while it fetches a study
MOST_SERIES_BYTES = 1 << 32  # of one answer: a series comes as a whole
UNREACHABLE = 502  # RFC 9110
UNREACHABLE_ERRORS = (requests.RequestException, PacsError)
CHUNK_BYTES = 1 << 16
# What DICOMweb answers with (PS3.18 8.7.3). Anything else, such as a page with a script, would be shown as ours.
OPAQUE = "application/octet-stream"
MEDIA_TYPES = ("application/dicom", "application/dicom+json", "application/json", "multipart/related", OPAQUE)
IMAGES, NO_IMAGE = "image/", "image/svg"


def open_archive() -> ArchiveSession:
    """Return a session with the DICOMweb server of the studies."""
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    credentials = Credentials(user=user, password=password) if user and password else Credentials()
    session = ArchiveSession(settings.MONAI_LABEL_STUDIES, credentials, TIMEOUT_SEC)
    session.most_bytes = MOST_SERIES_BYTES
    return session


def read_archive(resource: str) -> Response:
    """Return the answer to the viewer's question for a resource of the DICOMweb server.

    MONAI Label would follow the server wherever it sends it, and pass on whatever it says as of our own origin.

    Args:
        resource: `qido/` or `wado/` and the resource's path, as the table of routes allows it.
    """
    service, _, path = resource.partition("/")
    by_wado = service == "wado" or path.endswith("/metadata")  # some viewers ask QIDO-RS for it
    prefix = settings.MONAI_LABEL_WADO_PREFIX if by_wado else settings.MONAI_LABEL_QIDO_PREFIX
    url = "/".join(part for part in (settings.MONAI_LABEL_STUDIES.rstrip("/"), prefix, path) if part)
    session = open_archive()
    try:
        answer = session.get(url, stream=True, timeout=TIMEOUT_SEC)
    except UNREACHABLE_ERRORS as error:
        session.close()
        return JSONResponse({"detail": f"the DICOMweb server gave no answer: {word_of(error)}"}, UNREACHABLE)
    given = answer.headers.get("Content-Type", OPAQUE)
    headers = {"Content-Type": given if _is_harmless(given) else OPAQUE}
    return StreamingResponse(
        answer.iter_content(CHUNK_BYTES), answer.status_code, headers, background=BackgroundTask(session.close)
    )


def word_of(error: Exception) -> str:
    """Say what went wrong without the request's address, which may hold a secret."""
    refusal = refusal_behind(error)
    if refusal is not None:
        return str(refusal)
    response = getattr(error, "response", None)
    return type(error).__name__ if response is None else f"status {response.status_code}"


def _is_harmless(content_type: str) -> bool:
    media_type = content_type.split(";")[0].strip().lower()
    return media_type in MEDIA_TYPES or (media_type.startswith(IMAGES) and not media_type.startswith(NO_IMAGE))
