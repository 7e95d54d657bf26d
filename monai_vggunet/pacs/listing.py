"""What an archive lists (QIDO-RS, PS3.18 10.6): the series of a study, and the instances of a series."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from monai_vggunet.errors import PacsError, PacsLimitError
from monai_vggunet.pacs.bounds import MOST_LISTED, MOST_PAGES
from monai_vggunet.pacs.dicomweb import DicomWebServer
from monai_vggunet.pacs.server_text import server_text
from monai_vggunet.privacy import clean_uid
from monai_vggunet.uid_forms import is_archive_uid

__all__ = ["ListedSeries", "list_instances", "list_series"]

PAGE = 500  # entries asked for at once
MODALITY, STUDY, SERIES, INSTANCE = "00080060", "0020000D", "0020000E", "00080018"
N_INSTANCES = "00201209"  # NumberOfSeriesRelatedInstances
COUNT = re.compile(r"[0-9]{1,9}")

Entry = Mapping[str, Any]
Listed = TypeVar("Listed")


@dataclass(frozen=True)
class ListedSeries:
    """A series as the archive lists it.

    Attributes:
        uid: SeriesInstanceUID.
        modality: as the archive states it; empty if it does not.
        n_instances: None where the archive does not count them.
    """

    uid: str
    modality: str
    n_instances: int | None


def list_series(server: DicomWebServer, study_uid: str) -> list[ListedSeries]:
    """Return the series of a study, ordered by UID; none if the study is unknown.

    Raises:
        PacsError: see `DicomWebServer.ask`; or an entry belongs to another study, or is no series.
        PacsLimitError: the list does not end.
    """

    def read(entry: Entry) -> ListedSeries:
        if _text(entry, STUDY) not in ("", study_uid):
            raise PacsError(
                f"{server.host} lists series of another study than the one that was asked for: nothing is segmented. "
                "Tell the PACS administrator"
            )
        uid, count = _uid(server, entry, SERIES), _text(entry, N_INSTANCES)
        return ListedSeries(uid, _text(entry, MODALITY), int(count) if COUNT.fullmatch(count) else None)

    def search(offset: int) -> Sequence[Entry]:
        fields = [MODALITY, N_INSTANCES]
        return server.client.search_for_series(study_uid, fields=fields, limit=PAGE, offset=offset)

    found = _pages(server, search, read, lambda series: series.uid, "list the series of a study", MOST_LISTED)
    return sorted(found, key=lambda series: series.uid)


def list_instances(server: DicomWebServer, study_uid: str, series_uid: str, most: int = MOST_LISTED) -> list[str]:
    """Return the SOPInstanceUIDs of a series.

    Args:
        server: the service to ask.
        study_uid, series_uid: of the series.
        most: how many there may be.

    Raises:
        PacsError: see `DicomWebServer.ask`; or an entry is no instance.
        PacsLimitError: more are listed than there may be.
    """

    def search(offset: int) -> Sequence[Entry]:
        return server.client.search_for_instances(study_uid, series_uid, limit=PAGE, offset=offset)

    return _pages(server, search, partial(_uid, server, tag=INSTANCE), str, "list the instances of a series", most)


def _pages(
    server: DicomWebServer,
    search: Callable[[int], Sequence[Entry]],
    read: Callable[[Entry], Listed],
    name: Callable[[Listed], str],
    what: str,
    most: int,
) -> list[Listed]:
    """Return everything that a search finds, page by page; a server that ignores offsets ends it too."""
    found: dict[str, Listed] = {}

    def page() -> list[Listed]:
        return [read(entry) for entry in search(len(found))]

    for _ in range(MOST_PAGES):
        before = len(found)
        found |= {name(one): one for one in server.ask(page, what)}
        if len(found) > most:
            raise PacsLimitError(
                f"{server.host}, asked to {what}, lists more than {most}: stopped, nothing of it is segmented. Ask the "
                "PACS administrator"
            )
        if len(found) == before:
            return list(found.values())
    raise PacsLimitError(
        f"{server.host}, asked to {what}, sends page after page: stopped after {MOST_PAGES}. Ask the PACS administrator"
    )


def _uid(server: DicomWebServer, entry: Entry, tag: str) -> str:
    uid = _text(entry, tag)
    if not is_archive_uid(uid):
        raise PacsError(
            f"{server.host} lists something under {server_text(clean_uid(uid))!r}, which is no DICOM UID: check that "
            "the URL is that of the DICOMweb service"
        )
    return uid


def _text(entry: Entry, tag: str) -> str:
    """Return an element's first value in the DICOM JSON model (PS3.18 F.2); empty without one."""
    value = (entry.get(tag, {}).get("Value") or [""])[0]
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise TypeError(f"{tag} holds something else than a text or a number")
    return str(value)
