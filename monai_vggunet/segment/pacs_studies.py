"""Studies of a PACS from start to end: one is downloaded while another is segmented, and no download stays."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monai_vggunet.case_record import DONE, CaseRecord
from monai_vggunet.errors import ConfigurationError, DatasetError, VGGUNetError, as_refusal
from monai_vggunet.layout import RECORD
from monai_vggunet.pacs import DicomWebServer, download_study
from monai_vggunet.privacy import quoted, shown_case
from monai_vggunet.segment.alike_failures import told_in_tens
from monai_vggunet.segment.archive import CaseResult, failed_case, segment
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.short_uid import short_uid
from monai_vggunet.stopping import at_forced_end
from monai_vggunet.uid_forms import is_uid

__all__ = ["check_uid", "segment_studies"]

_log = logging.getLogger(__name__)


def segment_studies(
    server: DicomWebServer,
    study_uids: Sequence[str],
    output_dir: str | os.PathLike[str],
    segmenter: Segmenter,
    series_uid: str | None = None,
    modality: str | None = None,
    show_progress: bool = True,
    **options: Any,
) -> list[CaseResult]:
    """Download, segment and remove each study; one that fails is recorded, and the others go on.

    Until it is segmented, a study lies in a folder that only this user may enter, within the system's folder for
    temporary files (`TMPDIR`). At most two studies lie there. Results go to `OUT/<UID>/...`, where the UID is that of
    the study or of the requested series.

    Args:
        server: where studies come from; its `retries.stop` ends a download from outside.
        study_uids: StudyInstanceUIDs.
        output_dir: OUT.
        segmenter: the model; it chooses the series as it does in a folder.
        series_uid: download this series alone.
        modality: download series of this modality alone.
        show_progress: show bars.
        options: of `segment`. Even with `resume` a study is downloaded, because its content decides.

    Raises:
        ConfigurationError: a text that is no UID, or one series with several studies.
    """
    if series_uid is not None and len(study_uids) > 1:
        raise ConfigurationError(
            f"series {short_uid(series_uid)} (--series) lies in one study; got {len(study_uids)} (--study): name its "
            "study alone"
        )
    for uid in (*study_uids, *([series_uid] if series_uid else [])):
        check_uid(uid)
    studies = list(dict.fromkeys(study_uids))
    results = []
    with (
        _temporary_folder() as root,
        ThreadPoolExecutor(1, "download") as downloader,
        _stopping(server.retries.stop),
        told_in_tens(_log, logging.getLogger(segment.__module__)),
    ):
        bring = _Bring(server, Path(root), series_uid, modality, show_progress)
        coming = downloader.submit(bring, studies[0]) if studies else None
        for number, uid in enumerate(studies):
            name, here = series_uid or uid, coming
            # One thread: the next study waits until this one is here, and is downloaded while this one is computed.
            coming = downloader.submit(bring, studies[number + 1]) if number + 1 < len(studies) else None
            try:
                assert here is not None
                folder = here.result()
            except BaseException as error:
                results.append(_not_brought(name, Path(output_dir) / name, as_refusal(name, error)))
                continue
            try:
                results += segment([folder], output_dir, segmenter, show_progress, **options)
            except BaseException as error:
                results.append(failed_case(name, Path(output_dir) / name, as_refusal(name, error)))
            shutil.rmtree(folder.parent, ignore_errors=True)  # anything left is removed with the whole folder
    return results


def check_uid(uid: str) -> str:
    """Return a UID unchanged. It becomes part of a URL and the name of a folder.

    Raises:
        ConfigurationError: the text is no UID.
    """
    if not is_uid(uid, fewest_components=2):
        raise ConfigurationError(
            f"{quoted(uid)} (--study or --series) is no DICOM UID; expected digits and dots, at most 64 characters (a "
            "SeriesNumber chooses a series in a folder, not in a PACS)"
        )
    return uid


@dataclass(frozen=True)
class _Bring:
    """Downloads a study into `ROOT/<number>/<name>`: the folder's name becomes the case's."""

    server: DicomWebServer
    root: Path
    series_uid: str | None
    modality: str | None
    show_progress: bool

    def __call__(self, study_uid: str) -> Path:
        folder = self.root / study_uid / (self.series_uid or study_uid)
        try:
            folder.mkdir(parents=True)
            download_study(self.server, study_uid, folder, self.series_uid, self.modality, self.show_progress)
        except BaseException:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
        return folder


def _not_brought(case: str, folder: Path, error: VGGUNetError) -> CaseResult:
    """Record a study that could not be downloaded; a complete result of an earlier run is still true, and stays."""
    try:
        earlier = CaseRecord.read(folder / RECORD).status
    except DatasetError:
        earlier = ""
    if earlier != DONE:
        return failed_case(case, folder, error)
    _log.warning("%s: %s; its earlier result stays", shown_case(case), error)
    return CaseResult(case, folder, str(error))


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder for this user alone, which is removed however the process ends, unless it is killed (`kill -9`)."""
    with TemporaryDirectory(prefix="monai-vggunet-") as root:
        no_longer = at_forced_end(lambda: shutil.rmtree(root, ignore_errors=True))
        try:
            yield root
        finally:
            no_longer()


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Stop the download in the other thread, which is waited for, when anything ends the run."""
    try:
        yield
    except BaseException:
        stop.set()
        raise
