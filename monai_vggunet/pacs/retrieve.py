"""WADO-RS (PS3.18 10.4): DICOM instances as the archive holds them, each as it comes.

`dicomweb-client` keeps an instance in memory three times over before anybody can say that it is too large.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

from monai_vggunet.pacs.bounds import READ_AT_ONCE
from monai_vggunet.pacs.dicomweb import DicomWebServer
from monai_vggunet.pacs.multipart import MultipartBody

__all__ = ["retrieve"]

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # nothing is decoded on the way
LONGEST_BOUNDARY = 200  # characters; RFC 2046 allows 70


def retrieve(server: DicomWebServer, path: str) -> Iterator[Iterator[bytes]]:
    """Ask for instances, and return their files one after the other, each in pieces.

    To be called within `server.ask`, with `most_bytes` for all of them.

    Args:
        server: where from.
        path: below the service's URL, as `studies/1.2/series/3.4`.

    Raises:
        requests.RequestException: the server refuses or breaks off.
        PacsError: what comes is more than is taken.
        ValueError: what comes is no DICOM.
    """
    with server.session.get(
        f"{server.url}/{path}", headers={"Accept": AS_STORED}, stream=True, timeout=server.timeouts_sec
    ) as response:
        response.raise_for_status()
        head = Message()
        head["Content-Type"] = response.headers.get("Content-Type", "")
        kind, boundary = head.get_content_type(), str(head.get_boundary() or "")
        chunks = response.iter_content(READ_AT_ONCE)
        if kind == "multipart/related" and 0 < len(boundary) <= LONGEST_BOUNDARY:
            yield from MultipartBody(chunks, boundary, server.host)
        elif kind in ("multipart/related", "application/dicom"):  # some servers send one instance just as it is
            yield chunks
        else:
            raise ValueError("neither multipart nor DICOM")
