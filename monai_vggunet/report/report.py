"""Pages to look at: one per segmented study with a list of them, and one per training run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.case_record import DONE, FAILED, CaseRecord
from monai_vggunet.data.datalist import Case
from monai_vggunet.errors import ConfigurationError, DatasetError, VGGUNetError
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.layout import HISTORY, MASK, RECORD, REPORT
from monai_vggunet.outputs.shown_record import fit_to_show
from monai_vggunet.privacy import NAMES, keep_names, know_cases, shown_case
from monai_vggunet.report.pages.display_view import display_view
from monai_vggunet.report.pages.embedded_volume import LIMIT_MB
from monai_vggunet.report.pages.index import write_report_index
from monai_vggunet.report.pages.study import write_failure_report, write_study_report
from monai_vggunet.report.sources import ImageFinder, read_case, read_mask
from monai_vggunet.report.training_run import is_training_run, report_training

__all__ = ["ReportResult", "StudyReporter", "report", "report_study", "write_index"]

_DAMAGED = f"its {RECORD} is damaged: segment the study again"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportResult:
    """One page: `error` is empty if it lies at `page`."""

    name: str
    page: Path
    error: str = ""


def report(
    paths: Iterable[str | os.PathLike[str]],
    images: Sequence[str | os.PathLike[str]] = (),
    limit_mb: float = LIMIT_MB,
) -> list[ReportResult]:
    """Write a page for everything under the paths; a page that cannot be written does not stop the others.

    Args:
        paths: a study's results, a folder of such results as `segment` leaves it, or a folder of a training run.
        images: where the images lie: the inputs of `segment`, or the data set that was judged.
        limit_mb: megabytes that a study's compressed image may take in its page.

    Raises:
        DatasetError: a path holds neither results nor a training run, or an `images` path holds no image.
        ConfigurationError: the limit is not above 0.
    """
    if not limit_mb > 0:  # NaN too
        raise ConfigurationError(f"the limit of an image in a page (--max-mb) is {limit_mb:g} MB; expected more than 0")
    results, finder = [], None
    for path in map(Path, paths):
        if not (path / RECORD).is_file() and is_training_run(path):
            results.append(_tried(path.resolve().name, path / REPORT, report_training, path, images))
            continue
        if (path.resolve().parent / NAMES).is_file():  # results of one study, whose folder bears its name
            know_cases([path.resolve().name])
        studies = _studies(path)
        keep_names(path if studies != [path] else path.resolve().parent)
        know_cases(folder.resolve().name for folder in studies)
        finder = finder or ImageFinder(images)
        for folder in studies:
            results.append(_tried(folder.name, folder / REPORT, _report_found, folder, finder, limit_mb))
        if studies != [path]:
            write_index(path)
    return results


def report_study(
    folder: str | os.PathLike[str],
    case: Case | None,
    reader_options: Mapping[str, Any] | None = None,
    limit_mb: float = LIMIT_MB,
) -> Path:
    """Write the page of one study's results.

    Args:
        folder: with `record.json` and, if the study was segmented, `mask.nii.gz`.
        case: the image that was segmented; None to show the mask alone.
        reader_options: the arguments of `DicomSeriesReader` with which it was segmented.
        limit_mb: megabytes that the compressed image may take in the page.

    Raises:
        DatasetError: the folder holds no record, or the record's mask is missing.
        ImageReadError: the mask is damaged.
        GridMismatchError: the image does not lie on the mask's grid.
        OutputWriteError: the folder cannot be written.
    """
    record = _record(Path(folder))
    if record.status != DONE:
        return write_failure_report(folder, record)
    labels, affine = read_mask(Path(folder) / MASK)
    notes = []
    if record.files.get(MASK) not in (None, sha256_of_file(Path(folder) / MASK)):
        notes.append(
            "The mask was changed after it was written: its checksum is not the record's, so the record's volumes may "
            "be wrong."
        )
    read = read_case({"image": case["image"], "case": case["case"]}, reader_options) if case else {}
    modality = PICTURE if record.areas_px else record.source.modality
    view = display_view(labels, affine, read.get("image"), read.get("affine"), modality)
    return write_study_report(folder, record, view, notes, limit_mb)


def write_index(output_dir: str | os.PathLike[str]) -> Path:
    """Write `index.html`, which lists a folder's studies, those that need a look first; damaged records are listed too.

    It links to each page under its pseudonym in the folder `reports`, because the studies' own folders bear names.

    Raises:
        DatasetError: it holds no record.
        OutputWriteError: it cannot be written.
    """
    records = {}
    for folder in _studies(Path(output_dir)):
        try:
            records[folder.name] = _record(folder)
        except DatasetError:  # of one study: the others are listed nevertheless
            records[folder.name] = CaseRecord(shown_case(folder.name), FAILED, error=_DAMAGED)
    return write_report_index(output_dir, records)


class StudyReporter:
    """Writes a study's page as soon as it is segmented, for `segment(report=...)`.

    Args:
        reader_options: the arguments of `DicomSeriesReader` with which the studies are segmented.

    Attributes:
        failures: why cases have no page, by case.
    """

    def __init__(self, reader_options: Mapping[str, Any] | None = None) -> None:
        self.reader_options = {name: value for name, value in (reader_options or {}).items() if value is not None}
        self.failures: dict[str, str] = {}

    def __call__(self, case: Case, folder: Path) -> None:
        """Write the page, unless one is there that is newer than the record; a failure is kept and logged."""
        page, record = folder / REPORT, folder / RECORD
        if page.is_file() and record.is_file() and page.stat().st_mtime_ns >= record.stat().st_mtime_ns:
            return
        result = _tried(case["case"], page, report_study, folder, case, self.reader_options)
        if result.error:
            self.failures[result.name] = result.error
            _log.warning("%s: no report: %s", shown_case(result.name), result.error)


def _report_found(folder: Path, finder: ImageFinder, limit_mb: float) -> Path:
    found = finder.find(_record(folder))
    return report_study(folder, found[0] if found else None, found[1] if found else None, limit_mb)


def _tried(name: str, page: Path, write: Any, *arguments: Any) -> ReportResult:
    try:
        return ReportResult(name, write(*arguments))
    except VGGUNetError as error:
        return ReportResult(name, page, str(error))
    except Exception as error:  # the text of an unforeseen error may quote a header, so it is left out
        return ReportResult(name, page, f"the page could not be made: {type(error).__name__}")


def _studies(path: Path) -> list[Path]:
    if (path / RECORD).is_file():
        return [path]
    found = sorted(file.parent for file in path.glob(f"*/{RECORD}"))
    if not found:
        without = " (a mask lies there, but no record.json)" if any(path.glob(f"**/{MASK}")) else ""
        raise DatasetError(
            f"{path} holds nothing to report on{without}: expected a folder that `monai-vggunet segment` wrote, with "
            f"{RECORD} in it or one level below, or a training run with its {HISTORY}"
        )
    return found


def _record(folder: Path) -> CaseRecord:
    return fit_to_show(CaseRecord.read(folder / RECORD), folder.resolve().name)
