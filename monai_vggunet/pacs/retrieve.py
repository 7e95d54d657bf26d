"""WADO-RS (PS3.18 10.4): DICOM instances as the archive holds them, each streamed as it comes.

`dicomweb-client` keeps three copies of an instance in memory before its size can be checked.
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

    To be called within `server.ask`, whose `most_bytes` is for all of them together.

    Args:
        server: the service to ask.
        path: below the service's URL, such as `studies/1.2/series/3.4`.

    Raises:
        requests.RequestException: the server refuses or breaks off.
        PacsError: the answer exceeds a limit.
        ValueError: the answer is no DICOM.
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
        elif kind in ("multipart/related", "application/dicom"):  # some servers send a single instance as it is
            yield chunks
        else:
            raise ValueError("neither multipart nor DICOM")
