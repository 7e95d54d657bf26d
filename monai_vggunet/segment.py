"""A folder or a whole archive from start to end: one model load, a mask and a record per case, failures apart."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import distributed
from tqdm import tqdm

from monai_vggunet.data import image_cases
from monai_vggunet.data.datalist import Case
from monai_vggunet.errors import DatasetError, VGGUNetError
from monai_vggunet.files import sha256_of_file, write_json
from monai_vggunet.networks.autocast import describe_hardware
from monai_vggunet.outputs import content_digest, is_done, study_record, write_mask
from monai_vggunet.segmenter import Segmentation, Segmenter

__all__ = ["CaseResult", "Segmentation", "Segmenter", "gather_results", "segment"]

MASK, DISAGREEMENT, EARLIER = "mask.nii.gz", "disagreement.nii.gz", "mask_of_earlier_run.nii.gz"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What became of one case: `error` is empty when its mask lies in `folder`; `skipped` if it lay there before."""

    case: str
    folder: Path
    error: str = ""
    skipped: bool = False


def segment(
    inputs: Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    segmenter: Segmenter,
    show_progress: bool = True,
    resume: bool = False,
    rank: int = 0,
    n_ranks: int = 1,
) -> list[CaseResult]:
    """Segment every case found under the inputs; one that fails is recorded, and the others go on.

    Each gives `OUT/<case>/mask.nii.gz` and `record.json`, and `disagreement.nii.gz` (percent) with several test-time
    views; every file appears whole or not at all. The next case is read and the last one written while one is
    computed: at most three are in memory.

    Args:
        inputs: DICOM folders, folders of studies, NIfTI files.
        output_dir: OUT.
        segmenter: the model.
        show_progress: show a bar.
        resume: skip cases of which the whole result of the same content, model and settings is there.
        rank, n_ranks: this process's number and how many share the work: every case is done by one of them.

    Raises:
        DatasetError: an input does not exist or holds nothing to segment, or two cases have one name.
    """
    cases = _unique(case for path in inputs for case in image_cases(path))[rank::n_ranks]
    _log.info("segmenting %d cases on %s", len(cases), describe_hardware(segmenter.device))
    results: dict[str, CaseResult] = {}
    with (
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
        tqdm(total=len(cases), desc="segmenting", unit="case", disable=not show_progress) as bar,
    ):
        writing: Future[CaseResult] | None = None
        try:
            for task in _one_ahead(reader, [_Task(case, Path(output_dir), segmenter, resume) for case in cases]):
                done = task.compute()
                if writing is not None:
                    _note(writing.result(), results, bar)
                writing = writer.submit(task.write, done)
            if writing is not None:
                _note(writing.result(), results, bar)
        finally:
            reader.shutdown(cancel_futures=True)
    return [results[case["case"]] for case in cases]


def gather_results(results: list[CaseResult], n_ranks: int) -> list[CaseResult]:
    """Return the results of all processes under `torchrun`, on each of them, once the last one is done.

    `torchrun` stops the others as soon as one process ends with an error: none may leave early.
    """
    if n_ranks == 1:
        return results
    distributed.init_process_group("gloo")
    everyone: list[list[CaseResult]] = [[] for _ in range(n_ranks)]
    distributed.all_gather_object(everyone, results)
    distributed.destroy_process_group()
    return sorted((result for each in everyone for result in each), key=lambda result: result.case)


class _Task:
    """One case on its way: read in one thread, computed in another, written in a third.

    What fails is kept and becomes a record when it is written: one study never stops the others.
    """

    def __init__(self, case: Case, output_dir: Path, segmenter: Segmenter, resume: bool) -> None:
        self.case, self.folder, self.segmenter, self.resume = case, output_dir / case["case"], segmenter, resume
        self.identity: dict[str, Any] = {}
        self.batch: dict[str, Any] | None = None
        self.error: VGGUNetError | None = None
        self.seconds = 0.0

    def read(self) -> _Task:
        started = time.monotonic()
        try:
            self.identity = {
                "input_sha256": content_digest(self.case["image"]),
                "weights_sha256": self.segmenter.spec.weights_sha256,
                "settings": self.segmenter.settings,
            }
            if not (self.resume and is_done(self.folder, self.identity)):
                self.batch = self.segmenter.load(self.case)
        except Exception as error:
            self._keep(error)
        self.seconds += time.monotonic() - started
        return self

    def compute(self) -> dict[str, Any] | None:
        started = time.monotonic()
        batch, self.batch = self.batch, None
        try:
            return None if batch is None else self.segmenter.compute(batch)
        except Exception as error:
            self._keep(error)
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
        except Exception as error:
            self._keep(error)
        assert self.error is not None
        _log.warning("%s: %s", name, self.error)
        return _failed(name, self.folder, self.error)

    def _keep(self, error: Exception) -> None:
        """Keep an error as a refusal of ours; the text of an unforeseen one may quote a header, so it is left out."""
        name = self.case["case"]
        if isinstance(error, VGGUNetError):
            self.error = error
        elif isinstance(error, OSError):
            self.error = DatasetError(
                f"case {name} cannot be read or written: {error.strerror or type(error).__name__}"
            )
        elif isinstance(error, MemoryError):
            self.error = DatasetError(f"case {name} does not fit into memory")
        else:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.error = DatasetError(
                f"case {name} failed in a way nobody foresaw ({type(error).__name__} at {Path(where.filename).name}:"
                f"{where.lineno}): please report it"
            )

    def _write_files(self, result: Segmentation, seconds: float) -> None:
        spec = self.segmenter.spec
        engine = self.segmenter.engine.description
        model = {"weights_sha256": spec.weights_sha256, "versions": spec.versions, "engine": engine}
        volume = result.labels if result.labels.ndim == 3 else result.labels[..., None]
        record = study_record(
            self.case["case"],
            result.meta,
            volume,
            result.affine,
            spec.class_names,
            model,
            self.seconds + seconds,
            result.confidence,
            spec.fingerprint,
            result.foreground_median,
        )
        # The record goes first: whatever stops the run half-way, no file passes for the result of another record.
        (self.folder / "record.json").unlink(missing_ok=True)
        write_mask(self.folder / MASK, result.labels, result.affine)
        names = [MASK]
        if result.disagreement is not None:
            write_mask(self.folder / DISAGREEMENT, np.asarray(result.disagreement), result.affine)
            names.append(DISAGREEMENT)
        else:
            (self.folder / DISAGREEMENT).unlink(missing_ok=True)
        (self.folder / EARLIER).unlink(missing_ok=True)
        files = {name: sha256_of_file(self.folder / name) for name in names}
        write_json(self.folder / "record.json", {**record, "identity": self.identity, "files": files})


def _one_ahead(reader: ThreadPoolExecutor, tasks: Sequence[_Task]) -> Iterator[_Task]:
    """Yield tasks that are read, while the next one is being read."""
    reading = reader.submit(tasks[0].read) if tasks else None
    for number in range(len(tasks)):
        assert reading is not None
        ready = reading.result()
        reading = reader.submit(tasks[number + 1].read) if number + 1 < len(tasks) else None
        yield ready


def _note(result: CaseResult, results: dict[str, CaseResult], bar: Any) -> None:
    results[result.case] = result
    bar.update()


def _failed(case: str, folder: Path, error: VGGUNetError) -> CaseResult:
    """Record a failure; a mask of an earlier run must not pass for this one's result, so it is renamed, not lost."""
    earlier = folder / MASK
    if earlier.exists():
        earlier.replace(folder / EARLIER)
    record = {"case": case, "status": "failed", "kind": type(error).__name__, "error": str(error)}
    try:
        write_json(folder / "record.json", record)
    except VGGUNetError as unwritten:  # a full disk: the summary still tells
        (folder / "record.json").unlink(missing_ok=True)
        _log.warning("%s: its record could not be written: %s", case, unwritten)
    return CaseResult(case, folder, str(error))


def _unique(cases: Iterable[Case]) -> list[Case]:
    found: dict[str, Case] = {}
    for case in cases:
        if case["case"] in found:
            raise DatasetError(f"two inputs are called {case['case']!r}: their results would overwrite each other")
        found[case["case"]] = case
    return list(found.values())
