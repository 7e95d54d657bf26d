"""A run's dealings with the archive: where studies come from, where results go, and how both are stopped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from monai_vggunet.pacs.bounds import most_object_bytes
from monai_vggunet.pacs.credentials import credentials_from_environment
from monai_vggunet.pacs.delivery import Delivery
from monai_vggunet.pacs.dicomweb import DicomWebServer
from monai_vggunet.pacs.retries import Retries
from monai_vggunet.pacs.store import CALLING_AET
from monai_vggunet.pacs.targets import READING, store_targets

__all__ = ["PacsSession", "open_pacs"]


@dataclass(frozen=True)
class PacsSession:
    """The archive's part in a run.

    Attributes:
        server: where studies come from; None if they come from folders.
        delivery: stores results; None if nothing is to be stored.
        stop: when set, downloads and stores are given up.
    """

    server: DicomWebServer | None
    delivery: Delivery | None
    stop: threading.Event


def open_pacs(
    dicomweb: str = "",
    store: Sequence[str] | None = None,
    calling_aet: str = CALLING_AET,
    timeout_sec: float = 60.0,
    allow_plain_http: bool = False,
) -> PacsSession:
    """Return the session that the options of `segment` describe; nothing is sent yet.

    Args:
        dicomweb: URL of the service to read from; if empty, nothing is read.
        store: targets, see `store_targets`; None for the service that is read from, an empty list for no target.
        calling_aet: our own title for C-STORE.
        timeout_sec: longest silence of a server.
        allow_plain_http: see `check_url`.

    Raises:
        ConfigurationError: a URL, target or credentials that cannot be used, or the extra is not installed.
    """
    patience = Retries()
    server = None
    if dicomweb:
        secrets = credentials_from_environment(READING)
        server = DicomWebServer(dicomweb, secrets, timeout_sec, patience, allow_plain_http, most_object_bytes())
    words = ([dicomweb] if dicomweb else []) if store is None else store
    targets = store_targets(words, dicomweb, calling_aet, timeout_sec, allow_plain_http, patience)
    return PacsSession(server, Delivery(targets) if targets else None, patience.stop)
