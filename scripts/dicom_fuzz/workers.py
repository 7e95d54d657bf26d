"""Worker processes that damage, read and judge series within limits, and are replaced when they break them."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from dicom_fuzz.mutations import mutate
from dicom_fuzz.oracle import complaints
from dicom_fuzz.phantom_series import SECRETS, Files, all_series

from monai_vggunet.data.reader import DicomSeriesReader
from monai_vggunet.dicom import unpack_findings
from monai_vggunet.errors import VGGUNetError

__all__ = ["BAD", "GOOD", "Outcome", "damaged", "load_as_monai_does", "run", "write"]

GOOD = ("right", "refused")
BAD = ("CRASHED", "HANG", "MEMORY", "WRONG", "LEAK", "UNJUDGED")
# Reading takes some 20 ms and 2 MB; the limits are what a user would notice.
LIMIT_SEC = 10.0
LIMIT_MB = 512
# Asking for memory is not using it: Python asks for as much as an element's length claims, and gets as much as the file
# holds. But a reader that asks for more than this has believed a header.
LIMIT_ASKED_MB = 8192
# More time than this for damaging and judging is the fuzzer's own fault.
OWN_LIMIT_SEC = 60.0
_MALLOC_ARENA_MAX = -8

# Reads a folder: array (columns, rows, slices), and meta data with `affine` (RAS) and `findings`.
Load = Callable[[Path], tuple[np.ndarray, dict[str, Any]]]


@dataclass
class Outcome:
    """The outcome of one mutation."""

    number: int
    kind: str = ""
    done: str = ""
    verdict: str = ""
    reason: str = ""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    number: int = -1
    phase: str = ""
    since: float = 0.0
    kind: str = ""
    done: str = ""


def run(
    numbers: Iterable[int],
    seed: int,
    jobs: int,
    kind: str | None = None,
    load: Load | None = None,
    limit_sec: float = LIMIT_SEC,
) -> Iterator[Outcome]:
    """Read and judge mutations in worker processes, which are replaced when they die, hang or use too much.

    Args:
        numbers: of the mutations.
        seed: of all of them.
        jobs: worker processes.
        kind: see `mutate`.
        load: what reads a folder; `load_as_monai_does` when absent.
        limit_sec: for one reading.

    Yields:
        Outcomes in the order in which they come.
    """
    _base_series()  # before the fork, once for all
    waiting = collections.deque(numbers)
    workers: list[_Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(_start(load or load_as_monai_does, seed, kind))
            for worker in list(workers):
                if worker.number < 0:
                    if not waiting:
                        _stop(worker)
                        workers.remove(worker)
                        continue
                    worker.number, worker.phase, worker.since = waiting.popleft(), "damage", time.monotonic()
                    worker.pipe.send(worker.number)
            for pipe in wait([worker.pipe for worker in workers], timeout=0.2):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                outcome = _receive(worker)
                if outcome is None:
                    continue
                yield outcome
                if outcome.verdict in BAD:
                    _stop(worker)
                    workers.remove(worker)
            for worker in list(workers):
                limit = limit_sec if worker.phase == "read" else OWN_LIMIT_SEC
                if worker.number >= 0 and time.monotonic() - worker.since > limit:
                    verdict = "HANG" if worker.phase == "read" else "UNJUDGED"
                    reason = f"over {limit:g} s to {worker.phase}"
                    yield Outcome(worker.number, worker.kind, worker.done, verdict, reason)
                    _stop(worker)
                    workers.remove(worker)
    finally:
        for worker in workers:
            _stop(worker)


def _start(load: Load, seed: int, kind: str | None) -> _Worker:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, load, seed, kind), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _stop(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _receive(worker: _Worker) -> Outcome | None:
    """Take note of a worker's message; return the outcome if there is one."""
    try:
        message = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        verdict = "CRASHED" if worker.phase == "read" else "UNJUDGED"
        reason = f"the process ended with {worker.process.exitcode} to {worker.phase}"
        return Outcome(worker.number, worker.kind, worker.done, verdict, reason)
    worker.phase, worker.since = message["phase"], time.monotonic()
    worker.kind, worker.done = message.get("kind", worker.kind), message.get("done", worker.done)
    if worker.phase != "done":
        return None
    outcome = Outcome(worker.number, worker.kind, worker.done, message["verdict"], message["reason"])
    worker.number = -1
    return outcome


def _work(pipe: Connection, load: Load, seed: int, kind: str | None) -> None:
    """A worker's loop: damage, read, judge, until it is stopped."""
    with open(os.devnull, "w") as nowhere:  # codecs written in C print their opinion of the file
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MALLOC_ARENA_MAX, 2)  # each arena reserves 64 MB of address space
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + LIMIT_ASKED_MB * 2**20
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            number = pipe.recv()
            files, before, first, done = damaged(number, seed, kind)
            folder = Path(scratch, str(number))
            write(files, folder)
            pipe.send({"phase": "read", "kind": first, "done": done})
            _forget_peak()
            before_kb = _resident_kb("VmRSS")
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            try:
                result, verdict, reason, said = _read(load, folder)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            used_mb = (_resident_kb("VmHWM") - before_kb) / 1024
            pipe.send({"phase": "judge"})
            if used_mb > LIMIT_MB:
                verdict, reason = "MEMORY", f"{used_mb:.0f} MB"
            elif result is not None:
                try:
                    array, meta = result
                    told = [finding.text for finding in unpack_findings(meta["findings"])]
                    wrong = complaints(array, meta["affine"], told, files, before)
                    verdict, reason = ("WRONG", "; ".join(wrong[:3])) if wrong else ("right", "")
                except Exception:
                    verdict, reason = "UNJUDGED", traceback.format_exc()
            if verdict in GOOD and any(secret in said for secret in SECRETS):
                verdict, reason = "LEAK", said
            shutil.rmtree(folder)
            pipe.send({"phase": "done", "verdict": verdict, "reason": reason})


def _forget_peak() -> None:
    """Reset the peak of resident memory, because a forked process inherits its parent's (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _resident_kb(name: str) -> int:
    """Return `VmRSS`, what is resident now, or `VmHWM`, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _read(load: Load, folder: Path) -> tuple[Any, str, str, str]:
    """Read a folder; return the volume, or verdict and reason, and all messages about it."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = load(folder)
                verdict, reason = "", ""
                said.append(repr(result[1]))
            except Exception as error:
                own = isinstance(error, VGGUNetError)
                verdict = "refused" if own else "CRASHED"
                if any(isinstance(link, MemoryError) for link in _chain(error)):
                    verdict = "MEMORY"
                reason = f"{type(error).__name__}: {error}" if own else traceback.format_exc()
                result = None
                said.append(reason)
        return result, verdict, reason, "\n".join([*said, *(str(warning.message) for warning in caught)])
    finally:
        logging.getLogger().removeHandler(handler)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def load_as_monai_does(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a folder as MONAI's `LoadImage` would have it read."""
    reader = DicomSeriesReader(num_workers=2)
    return reader.get_data(reader.read(folder))


def damaged(number: int, seed: int, kind: str | None = None) -> tuple[Files, Files, str, str]:
    """Return mutation `number` of a seed: the files, the files before, the kind of damage, what was done."""
    rng = np.random.default_rng([seed, number])
    series = _base_series()
    name = str(rng.choice(list(series)))
    files, first, done = mutate(series[name], rng, kind)
    return files, series[name], first, f"{name}: {done}"


_SERIES: dict[str, Files] = {}


def _base_series() -> dict[str, Files]:
    if not _SERIES:
        _SERIES.update(all_series())
    return _SERIES


def write(files: Files, folder: Path) -> None:
    """Write a series into a new folder."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        if data is None:
            os.mkfifo(folder / name)
        else:
            (folder / name).write_bytes(data)
