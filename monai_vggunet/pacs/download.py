"""A study out of the archive: QIDO-RS says what there is, WADO-RS brings it, and what is missing is an error."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_vggunet.errors import OutputWriteError, PacsError, PacsUnavailableError
from monai_vggunet.pacs.dicomweb import DicomWebServer, is_transient

__all__ = ["NO_IMAGES", "download_study"]

# Modality of objects that are no images (PS3.3 C.7.3.1.1.1): what a whole study need not bring.
NO_IMAGES = {
    "ANN", "ASMT", "AU", "CTPROTOCOL", "DOC", "ECG", "EEG", "EMG", "EOG", "EPS", "FID", "HD", "KER", "KO", "LEN", "M3D",
    "OAM", "OSS", "PLAN", "POS", "PR", "REG", "RESP", "RTDOSE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN",
    "RTSTRUCT", "RWV", "SEG", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "VA", "XAPROTOCOL",
}  # fmt: skip
PAGE = 500  # entries asked for at once
MODALITY, DESCRIPTION, STUDY, SERIES, INSTANCE = "00080060", "0008103E", "0020000D", "0020000E", "00080018"
N_INSTANCES = "00201209"  # NumberOfSeriesRelatedInstances
AS_STORED = (("application/dicom", "*"),)  # whatever transfer syntax: nothing is decoded on the way

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Series:
    uid: str
    modality: str
    n_instances: int | None


def download_study(
    server: DicomWebServer,
    study_uid: str,
    folder: str | os.PathLike[str],
    series_uid: str | None = None,
    modality: str | None = None,
    show_progress: bool = True,
) -> int:
    """Bring a study's images, or one series, into one folder as the archive holds them; all or an error.

    A series comes as one stream, an instance at a time in memory. When it breaks, what is missing is asked for
    instance by instance.

    Args:
        server: where from.
        study_uid: StudyInstanceUID.
        folder: exists; files are named by a hash of their UIDs.
        series_uid: this series alone, whatever it holds.
        modality: series of this modality alone.
        show_progress: show a bar.

    Returns:
        How many instances came.

    Raises:
        PacsError: the study or series is unknown or holds no image, the server refuses, breaks or lacks instances.
        OutputWriteError: the folder cannot be written.
        Stopped: the run is being ended.
    """
    wanted = _wanted(_list_series(server, study_uid), study_uid, series_uid, modality)
    counts = [_count(server, study_uid, one) for one in wanted]
    _log.info("downloading %d instances of %d series", sum(counts), len(wanted))
    with tqdm(total=sum(counts), desc="downloading", unit="instance", disable=not show_progress) as bar:
        for one, count in zip(wanted, counts):
            _SeriesDownload(server, study_uid, one.uid, count, Path(folder), bar.update).run()
    return sum(counts)


class _SeriesDownload:
    """One series on its way: the instances that came, by UID."""

    def __init__(
        self, server: DicomWebServer, study: str, series: str, count: int, folder: Path, tick: Callable[[], Any]
    ) -> None:
        self.server, self.study, self.series, self.count = server, study, series, count
        self.folder, self.tick = folder, tick
        self.came: set[str] = set()

    def run(self) -> None:
        try:
            self.server.ask(self._stream, "send a series", lambda error: is_transient(error) and not self.came)
        except PacsUnavailableError as error:
            if not self.came:
                raise
            _log.info("%s: %d of %d instances came; asking for the rest", error, len(self.came), self.count)
        if len(self.came) < self.count:
            self._fetch_missing()
        if len(self.came) != self.count:
            raise PacsError(
                f"{self.server.host} sent {len(self.came)} of the {self.count} instances that it lists for series "
                f"{self.series}: a part of a series is not segmented. Ask who runs it, or wait until it is archived"
            )

    def _stream(self) -> None:
        for dataset in self.server.client.iter_series(self.study, self.series, media_types=AS_STORED):
            self._keep(dataset)

    def _fetch_missing(self) -> None:
        listed = _pages(
            self.server,
            lambda **page: self.server.client.search_for_instances(self.study, self.series, **page),
            "list the instances of a series",
            INSTANCE,
        )
        for uid in sorted(_text(entry, INSTANCE) for entry in listed):
            if uid in self.came:
                continue
            try:
                self._keep(
                    self.server.ask(
                        lambda uid=uid: self.server.client.retrieve_instance(  # type: ignore[misc]
                            self.study, self.series, uid, media_types=AS_STORED
                        ),
                        "send an instance",
                    )
                )
            except PacsError as error:
                if error.status not in (404, 410):  # listed and not there: told below, with how many are missing
                    raise

    def _keep(self, dataset: Any) -> None:
        """Write one instance; nothing of another patient, study or series may slip in."""
        self.server.retries.check()
        uid = str(dataset.get("SOPInstanceUID", ""))
        found = (str(dataset.get("StudyInstanceUID", "")), str(dataset.get("SeriesInstanceUID", "")))
        if found != (self.study, self.series) or not uid:
            raise PacsError(
                f"{self.server.host} sent an instance of another study or series than the one that was asked for "
                f"({self.series}): nothing of this study is segmented. Tell who runs it"
            )
        path = self.folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}.dcm"
        try:
            dataset.save_as(path)
        except OSError as error:
            raise OutputWriteError(
                f"a download cannot be written to {self.folder}: {error.strerror or error}. Free disk space, or name "
                "another folder for temporary files in TMPDIR"
            ) from error
        if uid not in self.came:
            self.came.add(uid)
            self.tick()


def _list_series(server: DicomWebServer, study_uid: str) -> list[_Series]:
    found = _pages(
        server,
        lambda **page: server.client.search_for_series(study_uid, fields=[MODALITY, N_INSTANCES], **page),
        "list the series of a study",
        SERIES,
    )
    if not found:
        raise PacsError(f"{server.host} knows no study {study_uid}: check the UID, and that you may see it")
    counts = [_text(entry, N_INSTANCES) for entry in found]
    return [
        _Series(_text(entry, SERIES), _text(entry, MODALITY), int(count) if count.isdigit() else None)
        for entry, count in zip(found, counts)
    ]


def _wanted(found: Iterable[_Series], study_uid: str, series_uid: str | None, modality: str | None) -> list[_Series]:
    listed = sorted(found, key=lambda series: series.uid)
    if series_uid is not None:
        wanted = [series for series in listed if series.uid == series_uid]
    else:
        wanted = [s for s in listed if s.modality not in NO_IMAGES and modality in (None, s.modality or modality)]
    if not wanted:
        asked = f"no series {series_uid}" if series_uid else f"no {modality or 'image'} series"
        there = ", ".join(f"{series.uid} ({series.modality or 'no modality'})" for series in listed)
        raise PacsError(f"study {study_uid} holds {asked}; it holds {there}")
    return wanted


def _count(server: DicomWebServer, study_uid: str, series: _Series) -> int:
    """Return how many instances a series has; a server that does not say is asked for the list of them."""
    if series.n_instances is not None:
        return series.n_instances
    return len(
        _pages(
            server,
            lambda **page: server.client.search_for_instances(study_uid, series.uid, **page),
            "list the instances of a series",
            INSTANCE,
        )
    )


def _pages(
    server: DicomWebServer, search: Callable[..., Sequence[Mapping[str, Any]]], what: str, key: str
) -> list[Mapping[str, Any]]:
    """Return all entries of a QIDO search, page by page; a server that ignores offsets does not keep us forever."""
    found: dict[str, Mapping[str, Any]] = {}

    def page(offset: int) -> dict[str, Mapping[str, Any]]:
        return {_uid(entry, key): entry for entry in search(limit=PAGE, offset=offset)}

    while True:
        before = len(found)
        found |= server.ask(partial(page, before), what)
        if len(found) == before:
            return list(found.values())


def _uid(entry: Mapping[str, Any], tag: str) -> str:
    uid = _text(entry, tag)
    if not uid:
        raise ValueError(f"an entry without {tag}")
    return uid


def _text(entry: Mapping[str, Any], tag: str) -> str:
    """Return an element's first value in the DICOM JSON model (PS3.18 F.2); empty without one."""
    values = entry.get(tag, {}).get("Value") or [""]
    return str(values[0])
