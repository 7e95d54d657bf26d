"""A folder or a whole archive from start to end: the model is loaded once; each case gets a mask and a record."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.data import decollate_batch
from torch import distributed
from tqdm import tqdm

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data.case_names import Case
from monai_vggunet.errors import ConfigurationError, VGGUNetError, as_refusal
from monai_vggunet.layout import RECORD
from monai_vggunet.names import counted, readable_lines
from monai_vggunet.networks.autocast import describe_hardware
from monai_vggunet.outputs import (
    CaseMask,
    CaseOutputs,
    Classes,
    failure_record,
    is_done,
    set_aside,
    study_identity,
    study_record,
)
from monai_vggunet.privacy import book, shown_case, write_down
from monai_vggunet.segment.alike_failures import told_in_tens
from monai_vggunet.segment.inputs import cases_to_segment
from monai_vggunet.segment.segmenter import Segmentation, Segmenter

__all__ = ["CaseResult", "Segmentation", "Segmenter", "failed_case", "gather_results", "segment", "segment_cases"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """The outcome of one case: `error` is empty if its files lie in `folder`; `skipped` if they lay there before."""

    case: str
    folder: Path
    error: str = ""
    skipped: bool = False


def segment(
    inputs: Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    segmenter: Segmenter,
    show_progress: bool = True,
    **options: Any,
) -> list[CaseResult]:
    """Segment every case found under the inputs; see `cases_to_segment` and `segment_cases`.

    Args:
        inputs: DICOM folders, folders of studies, NIfTI files.
        output_dir: OUT.
        segmenter: the model.
        show_progress: show a bar.
        options: further arguments of `segment_cases`.

    Raises:
        ConfigurationError, DatasetError: see there.
    """
    return segment_cases(cases_to_segment(inputs, output_dir), output_dir, segmenter, show_progress, **options)


def segment_cases(
    cases: Sequence[Case],
    output_dir: str | os.PathLike[str],
    segmenter: Segmenter,
    show_progress: bool = True,
    resume: bool = False,
    rank: int = 0,
    n_ranks: int = 1,
    outputs: CaseOutputs | None = None,
    after_case: Callable[[Path], str] | None = None,
    report: Callable[[Case, Path], None] | None = None,
) -> list[CaseResult]:
    """Segment cases; one that fails, in whatever way, is recorded, and the others go on.

    Each case gives `OUT/<case>/` with `record.json` and the outputs asked for. By default these are `mask.nii.gz` with
    `mask.json` and, with several test-time views, `disagreement.nii.gz` (percent). Every file appears whole or not at
    all, and a file of an earlier run that is not replaced is renamed. While one case is computed, the next one is read
    and the last one written: at most three are in memory.

    Args:
        cases: see `cases_to_segment`.
        output_dir: OUT.
        segmenter: the model.
        show_progress: show a bar.
        resume: skip cases whose whole result, of the same content, model, settings and outputs, is there.
        rank, n_ranks: this process's number, and how many processes share the work; each case is done by one of them.
        outputs: which files; None for NIfTI alone.
        after_case: called with the folder of each case that is done or skipped, while the next is computed; returns
            what went wrong, as `Delivery` does.
        report: called with each case and the folder of its results, failed or done, after `after_case`.

    Raises:
        ConfigurationError: the outputs need probabilities, and the segmenter gives none.
    """
    outputs = outputs or CaseOutputs()
    if outputs.need_probabilities and not segmenter.probabilities:
        raise ConfigurationError("these outputs need probabilities: make the Segmenter with probabilities=True")
    own = cases[rank::n_ranks]
    write_down((case["case"], case["image"]) for case in own)
    _log.info("segmenting %s on %s", counted(len(own), "case"), describe_hardware(segmenter.device))
    results: dict[str, CaseResult] = {}
    with (
        told_in_tens(_log),
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
        tqdm(total=len(own), desc="segmenting", unit="case", disable=not show_progress) as bar,
    ):
        writing: Future[CaseResult] | None = None
        try:
            tasks = [_Task(case, Path(output_dir), segmenter, outputs, resume) for case in own]
            for task in _one_ahead(reader, tasks):
                done = task.compute()
                if writing is not None:
                    _note(writing.result(), results, bar)
                writing = writer.submit(_write, task, done, after_case, report)
            if writing is not None:
                _note(writing.result(), results, bar)
        finally:
            reader.shutdown(cancel_futures=True)
    return [results[case["case"]] for case in own]


def gather_results(results: list[CaseResult], n_ranks: int) -> list[CaseResult]:
    """Return the results of all processes under `torchrun`, in each of them, once the last one is done.

    `torchrun` stops the other processes as soon as one ends with an error, so none may leave early.
    """
    if n_ranks == 1:
        return results
    distributed.init_process_group("gloo")
    everyone: list[list[CaseResult]] = [[] for _ in range(n_ranks)]
    distributed.all_gather_object(everyone, results)
    distributed.destroy_process_group()
    return sorted((result for each in everyone for result in each), key=lambda result: result.case)


class _Task:
    """One case in progress: read in one thread, computed in another, written in a third.

    A failure is kept and becomes a record when the case is written: one study never stops the others.
    """

    def __init__(self, case: Case, output_dir: Path, segmenter: Segmenter, outputs: CaseOutputs, resume: bool) -> None:
        self.case, self.folder, self.segmenter, self.resume = case, output_dir / case["case"], segmenter, resume
        self.outputs = outputs
        self.written: list[str] = []
        self.identity: dict[str, Any] = {}
        self.batch: dict[str, Any] | None = None
        self.error: VGGUNetError | None = None
        self.seconds = 0.0

    def read(self) -> _Task:
        started = time.monotonic()
        try:
            weights, settings = self.segmenter.spec.weights_sha256, self.segmenter.settings
            self.identity = study_identity(self.case["image"], weights, settings)
            if not (self.resume and is_done(self.folder, self.identity, self.outputs.names)):
                batch = self.segmenter.load(self.case)
                self.outputs.require(decollate_batch(batch["image"])[0].meta)
                self.batch = batch
        except BaseException as error:
            self.error = as_refusal(self.case["case"], error)
        self.seconds += time.monotonic() - started
        return self

    def compute(self) -> dict[str, Any] | None:
        started = time.monotonic()
        batch, self.batch = self.batch, None
        try:
            return None if batch is None else self.segmenter.compute(batch)
        except BaseException as error:
            self.error = as_refusal(self.case["case"], error)
        finally:
            self.seconds += time.monotonic() - started
        return None

    def write(self, computed: dict[str, Any] | None) -> CaseResult:
        started = time.monotonic()
        name = self.case["case"]
        if self.error is None and computed is None:
            return CaseResult(name, self.folder, skipped=True)
        try:
            if self.error is None and computed is not None:
                result = self.segmenter.finish(computed)
                self._write_files(result, time.monotonic() - started)
                return CaseResult(name, self.folder)
        except BaseException as error:
            self.error = as_refusal(self.case["case"], error)
        assert self.error is not None
        _log.warning("%s: %s", shown_case(name), self.error)
        return failed_case(name, self.folder, self.error, self.written)

    def _write_files(self, result: Segmentation, seconds: float) -> None:
        spec = self.segmenter.spec
        engine = self.segmenter.engine.description
        model = {"weights_sha256": spec.weights_sha256, "versions": spec.versions, "engine": engine}
        volume = result.labels if result.labels.ndim == 3 else result.labels[..., None]
        about_result = (result.confidence, spec.fingerprint, result.foreground_median)
        source = (self.case["case"], result.meta, volume, result.affine)
        record = study_record(*source, spec.class_names, model, self.seconds + seconds, *about_result)
        classes, scores = Classes(spec.class_names, spec.class_codes), (result.probabilities, result.disagreement)
        mask = CaseMask(result.labels, result.affine, result.meta, classes, spec.weights_sha256, *scores)
        book().note(self.case["case"], description=str(result.meta.get("series_description", "")))
        # The record is removed first: if the run stops half-way, no file passes for the result of another record.
        (self.folder / RECORD).unlink(missing_ok=True)
        for name in self.outputs.write(self.folder, mask):
            self.written.append(name)
        set_aside(self.folder, self.written)
        files = _hashes(self.folder, self.written)
        record = replace(record, identity=self.identity, outputs=tuple(self.outputs.names), files=files)
        record.write(self.folder / RECORD)


def _one_ahead(reader: ThreadPoolExecutor, tasks: Sequence[_Task]) -> Iterator[_Task]:
    """Yield each task once it is read, while the next one is being read."""
    reading = reader.submit(tasks[0].read) if tasks else None
    for number in range(len(tasks)):
        assert reading is not None
        ready = reading.result()
        reading = reader.submit(tasks[number + 1].read) if number + 1 < len(tasks) else None
        yield ready


def _write(
    task: _Task,
    computed: dict[str, Any] | None,
    after_case: Callable[[Path], str] | None,
    report: Callable[[Case, Path], None] | None,
) -> CaseResult:
    result = task.write(computed)
    if after_case is not None and not result.error:
        result = replace(result, error=_problem_of(result.case, after_case, result.folder))
    if report is not None:
        problem = _problem_of(result.case, report, task.case, result.folder)
        result = replace(result, error=result.error or problem)
    return result


def _problem_of(case: str, step: Callable[..., str | None], *arguments: Any) -> str:
    """Return what goes wrong in a step that follows a case's results: what it returns, or the error it raises."""
    try:
        problem = step(*arguments) or ""
    except BaseException as error:
        problem = str(as_refusal(case, error))
    if problem:
        _log.warning("%s: %s", shown_case(case), problem)
    return readable_lines(problem)


def _note(result: CaseResult, results: dict[str, CaseResult], bar: Any) -> None:
    results[result.case] = result
    bar.update()


def _hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: sha256_of_file(folder / name) for name in names}


def failed_case(case: str, folder: Path, error: VGGUNetError, written: Sequence[str] = ()) -> CaseResult:
    """Record a failure. Files already written stay and those of an earlier run are renamed, so that nothing is lost."""
    try:
        set_aside(folder, written)
        replace(failure_record(case, error), files=_hashes(folder, written)).write(folder / RECORD)
    except Exception as unwritten:  # such as a full disk: the summary still names the failure
        with suppress(OSError):
            (folder / RECORD).unlink(missing_ok=True)
        _log.warning("%s: its record could not be written: %s", shown_case(case), unwritten)
    return CaseResult(case, folder, readable_lines(error))
