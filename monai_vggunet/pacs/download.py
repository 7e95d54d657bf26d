"""Downloads a study: QIDO-RS lists its instances, WADO-RS sends them, and a missing one is an error."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_vggunet.errors import PacsError, PacsLimitError, PacsUnavailableError
from monai_vggunet.names import counted, listed
from monai_vggunet.pacs.arrival import ArrivedFile, disk, receive
from monai_vggunet.pacs.bounds import MOST_FRAMING_BYTES, MOST_LISTED, STUDY_PATIENCE
from monai_vggunet.pacs.dicomweb import DicomWebServer, is_transient
from monai_vggunet.pacs.listing import ListedSeries, list_instances, list_series
from monai_vggunet.pacs.retrieve import retrieve
from monai_vggunet.pacs.server_text import server_text
from monai_vggunet.privacy import clean_text, clean_uid
from monai_vggunet.short_uid import short_uid

__all__ = ["NO_IMAGES", "download_study"]

# Modalities of objects that are no images (PS3.3 C.7.3.1.1.1): left out when a whole study is downloaded.
NO_IMAGES = {
    "ANN", "ASMT", "AU", "CTPROTOCOL", "DOC", "ECG", "EEG", "EMG", "EOG", "EPS", "FID", "HD", "KER", "KO", "LEN", "M3D",
    "OAM", "OSS", "PLAN", "POS", "PR", "REG", "RESP", "RTDOSE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN",
    "RTSTRUCT", "RWV", "SEG", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "VA", "XAPROTOCOL",
}  # fmt: skip
GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)  # listed, but not there

_log = logging.getLogger(__name__)


def download_study(
    server: DicomWebServer,
    study_uid: str,
    folder: str | os.PathLike[str],
    series_uid: str | None = None,
    modality: str | None = None,
    show_progress: bool = True,
) -> int:
    """Download a study's images, or one series, into one folder, as the archive holds them; all of them, or an error.

    A series comes as one stream, straight onto the disk. If the stream breaks, the missing instances are requested one
    by one. Size and time of the download are bounded by what was listed (see `bounds`).

    Args:
        server: the service to read from.
        study_uid: StudyInstanceUID.
        folder: an existing folder; files are named by a hash of their UIDs.
        series_uid: download this series alone, whatever it holds.
        modality: download series of this modality alone.
        show_progress: show a bar.

    Returns:
        The number of instances.

    Raises:
        PacsLimitError: the download does not end, or is too slow.
        PacsError: the study or series is unknown or holds no image; or the server refuses, breaks off, or lacks
            instances.
        OutputWriteError: the folder cannot be written.
        Stopped: the run is being ended.
    """
    with server.patience(STUDY_PATIENCE):
        wanted = _wanted(list_series(server, study_uid), study_uid, series_uid, modality, server.host)
        counts = [_count(server, study_uid, one) for one in wanted]
        _log.info("downloading %s of %d series", counted(sum(counts), "instance"), len(wanted))
        with tqdm(total=sum(counts), desc="downloading", unit="instance", disable=not show_progress) as bar:
            for one, count in zip(wanted, counts):
                _SeriesDownload(server, study_uid, one.uid, count, Path(folder), bar.update).run()
    return sum(counts)


class _SeriesDownload:
    """One series that is being downloaded, with the instances that have come, by UID."""

    def __init__(
        self, server: DicomWebServer, study: str, series: str, count: int, folder: Path, tick: Callable[[], Any]
    ) -> None:
        self.server, self.study, self.series, self.count = server, study, series, count
        self.folder, self.tick = folder, tick
        self.path = f"studies/{study}/series/{series}"
        self.came: dict[str, ArrivedFile] = {}

    def run(self) -> None:
        most_bytes = self.count * self.server.most_object_bytes + MOST_FRAMING_BYTES
        try:
            self.server.ask(
                self._stream, "send a series", lambda error: is_transient(error) and not self.came, most_bytes
            )
        except PacsUnavailableError as error:
            if not self.came:
                raise
            _log.info("%s: %d of %d instances came; asking for the rest", error, len(self.came), self.count)
        if len(self.came) < self.count:
            self._fetch_missing()
        if len(self.came) != self.count:
            raise self._miscounted(
                len(self.came),
                "a part of a series is not segmented. Wait until the series is archived, or ask the PACS administrator",
            )

    def _stream(self) -> None:
        for number, pieces in enumerate(retrieve(self.server, self.path), 1):
            if number > self.count:
                raise self._miscounted(
                    number, "the rest is not read, and nothing segmented. Ask the PACS administrator"
                )
            self._keep(pieces)

    def _fetch_missing(self) -> None:
        there = list_instances(self.server, self.study, self.series, self.count)
        for uid in sorted(set(there) - set(self.came)):
            try:
                self.server.ask(
                    lambda uid=uid: self._fetch(uid),  # type: ignore[misc]
                    "send an instance",
                    most_bytes=self.server.most_object_bytes + MOST_FRAMING_BYTES,
                )
            except PacsError as error:
                if error.status not in GONE:  # the caller says how many are missing
                    raise

    def _fetch(self, uid: str) -> None:
        for number, pieces in enumerate(retrieve(self.server, f"{self.path}/instances/{uid}"), 1):
            if number > 1:
                raise self._another("several instances instead of one")
            self._keep(pieces, uid)

    def _keep(self, pieces: Iterator[bytes], wanted_uid: str | None = None) -> None:
        """Write one instance; nothing of another patient, study or series may slip in."""
        arriving = self.folder / "arriving"
        try:
            file = receive(pieces, arriving, self.server.host, self.server.most_object_bytes)
            self._check(file, wanted_uid)
            if file.instance_uid in self.came:
                return
            with disk(self.folder):
                os.replace(arriving, self.folder / f"{hashlib.sha256(file.instance_uid.encode()).hexdigest()[:32]}.dcm")
        finally:
            arriving.unlink(missing_ok=True)
        self.came[file.instance_uid] = file
        self.tick()

    def _check(self, file: ArrivedFile, wanted_uid: str | None) -> None:
        if (file.study_uid, file.series_uid) != (self.study, self.series) or not file.instance_uid:
            raise self._another("an instance of another study or series than the requested one")
        if wanted_uid is not None and file.instance_uid != wanted_uid:
            raise self._another("another instance than the requested one")
        first = next(iter(self.came.values()), file)
        if file.patient_hash != first.patient_hash:
            raise self._another("instances of more than one patient")
        same = self.came.get(file.instance_uid)
        if same and same.sha256 != file.sha256:
            raise self._another("an instance twice, with different content")

    def _another(self, what: str) -> PacsError:
        return PacsError(
            f"{self.server.host}, asked for series {short_uid(self.series)}, sent {what}: nothing of this study is "
            "segmented. Tell the PACS administrator"
        )

    def _miscounted(self, came: int, consequence: str) -> PacsError:
        all_listed = f"of the {self.count} instances that it lists for series {short_uid(self.series)}"
        return PacsError(f"{self.server.host} sent {came} {all_listed}: {consequence}")


def _wanted(
    found: Sequence[ListedSeries], study_uid: str, series_uid: str | None, modality: str | None, host: str
) -> list[ListedSeries]:
    if not found:
        raise PacsError(
            f"{host} knows no study {short_uid(study_uid)} (--study): check the UID, and that you may see the study"
        )
    if series_uid is not None:
        wanted = [series for series in found if series.uid == series_uid]
    else:
        wanted = [s for s in found if s.modality not in NO_IMAGES and modality in (None, s.modality or modality)]
    if not wanted:
        if series_uid:
            asked = f"no series {short_uid(series_uid)} (--series)"
        else:
            asked = f"no {modality} series (--modality)" if modality else "no image series"
        there = listed(
            f"{clean_uid(one.uid)} ({server_text(clean_text(one.modality)) or 'no modality'})" for one in found
        )
        raise PacsError(f"study {short_uid(study_uid)} holds {asked}; it holds {there}: ask for one of these")
    return wanted


def _count(server: DicomWebServer, study_uid: str, series: ListedSeries) -> int:
    """Return how many instances a series has; a server that does not state it is asked for the list of them."""
    count = series.n_instances
    if count is None:
        return len(list_instances(server, study_uid, series.uid))
    if count > MOST_LISTED:
        raise PacsLimitError(
            f"{server.host} lists {count} instances of series {short_uid(series.uid)}, expected at most {MOST_LISTED}: "
            "nothing of it is segmented. Ask the PACS administrator"
        )
    return count
