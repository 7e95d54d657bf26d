"""Studies of a PACS from start to end: the next one is downloaded while one is segmented, and nothing of it stays."""

from __future__ import annotations

import logging
import os
import re
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
from monai_vggunet.privacy import shown_case
from monai_vggunet.segment.archive import CaseResult, failed_case, segment
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.stopping import at_forced_end

__all__ = ["check_uid", "segment_studies"]

_log = logging.getLogger(__name__)

UID = re.compile(r"[0-9][0-9.]{0,63}")  # PS3.5 9.1, without its rule on leading zeros, which hospitals break


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
    """Download, segment and forget each study; one that fails is recorded, and the others go on.

    A study lies in a folder that only this user may enter, within the system's folder for temporary files (`TMPDIR`),
    until it is segmented: two studies at most. Results are `OUT/<UID>/...`, of the study or of the series asked for.

    Args:
        server: where studies come from; its `retries.stop` ends a download from outside.
        study_uids: StudyInstanceUIDs.
        output_dir: OUT.
        segmenter: the model; it chooses the series as in a folder.
        series_uid: this series alone is downloaded.
        modality: series of this modality alone are downloaded.
        show_progress: show bars.
        options: of `segment`. With `resume` a study is downloaded all the same, because its content decides.

    Raises:
        ConfigurationError: a UID that is none, or one series of several studies.
    """
    if series_uid is not None and len(study_uids) > 1:
        raise ConfigurationError(f"series {series_uid} lies in one study; got {len(study_uids)}: name its study alone")
    for uid in (*study_uids, *([series_uid] if series_uid else [])):
        check_uid(uid)
    studies = list(dict.fromkeys(study_uids))
    results = []
    with (
        _temporary_folder() as root,
        ThreadPoolExecutor(1, "download") as downloader,
        _stopping(server.retries.stop),
    ):
        bring = _Bring(server, Path(root), series_uid, modality, show_progress)
        coming = downloader.submit(bring, studies[0]) if studies else None
        for number, uid in enumerate(studies):
            name, here = series_uid or uid, coming
            # one thread: the next study waits until this one is here, and is then brought while this one is computed
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
            shutil.rmtree(folder.parent, ignore_errors=True)  # what stays, goes with the whole folder
    return results


def check_uid(uid: str) -> str:
    """Return a UID as it is.

    Raises:
        ConfigurationError: it is none: it would become part of a URL and the name of a folder.
    """
    if not UID.fullmatch(uid):
        raise ConfigurationError(f"{uid!r} is no DICOM UID; expected digits and dots, at most 64")
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
    """Record a study that could not be downloaded; a whole result of an earlier run says nothing wrong, and stays."""
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
    """A folder for this user alone that no end of the process leaves behind, but for a kill."""
    with TemporaryDirectory(prefix="monai-vggunet-") as root:
        no_longer = at_forced_end(lambda: shutil.rmtree(root, ignore_errors=True))
        try:
            yield root
        finally:
            no_longer()


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Whatever ends the run ends the download in the other thread, which is waited for."""
    try:
        yield
    except BaseException:
        stop.set()
        raise
