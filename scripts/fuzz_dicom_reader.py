#!/usr/bin/env python
"""Damage DICOM series in thousands of ways, and check that the reader either reads them correctly or refuses them.

Small series of every kind (classic, tilted, multi-frame, compressed, ...) are damaged at random (see
`dicom_fuzz/mutations.py`), read by `DicomSeriesReader` in a process with limits of time and memory, and judged by
`dicom_fuzz/oracle.py`, which reads the damaged files by itself.

    right      the volume agrees with the files: positions within 0.1 mm, values, and nothing left out silently
    refused    one of the package's own errors
    CRASHED    any other exception, or a dead process
    HANG       longer than the limit
    MEMORY     more memory than the limit, even if the reader then refused the series
    WRONG      a volume that disagrees with the files
    LEAK       a message that names the patient
    UNJUDGED   the oracle itself failed

The exit status is 0 if every verdict is `right` or `refused` and every undamaged series is read correctly. Failed
mutations are saved with a note.
"""

from __future__ import annotations

import argparse
import collections
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from dicom_fuzz.mutations import KINDS
from dicom_fuzz.oracle import complaints
from dicom_fuzz.phantom_series import all_series
from dicom_fuzz.workers import BAD, GOOD, Outcome, damaged, load_as_monai_does, run, write

from monai_vggunet.dicom import unpack_findings
from monai_vggunet.errors import VGGUNetError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this kind of damage")
    parser.add_argument("--only", type=int, help="only this mutation; its files are kept")
    parser.add_argument("--keep", type=Path, help="where to save failed mutations")
    options = parser.parse_args(arguments)
    keep = options.keep or Path(tempfile.gettempdir()) / f"dicom_fuzz_seed{options.seed}"
    numbers = range(options.mutations) if options.only is None else [options.only]
    unread = unread_series()
    if unread:
        print(f"these are not read correctly even undamaged, so refusals would mean nothing: {unread}")
        return 1
    start, outcomes = time.monotonic(), []
    for outcome in run(numbers, options.seed, options.jobs, options.kind):
        outcomes.append(outcome)
        if outcome.verdict in BAD or options.only is not None:
            save(outcome, options.seed, options.kind, keep)
            print(f"{outcome.number}: {outcome.verdict}: {outcome.reason}\n    {outcome.done}", flush=True)
    print(table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.verdict in BAD]
    print(f"{len(outcomes)} mutations in {time.monotonic() - start:.0f} s, seed {options.seed}: {len(failed)} failed")
    if failed:
        print(f"saved in {keep}; repeat one with --seed {options.seed} --only NUMBER")
    return int(bool(failed))


def unread_series() -> list[str]:
    """Return the kinds of series that the reader does not read correctly even undamaged."""
    unread = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, files) in enumerate(all_series().items()):
            folder = Path(scratch, str(number))
            write(files, folder)
            try:
                array, meta = load_as_monai_does(folder)
                told = [finding.text for finding in unpack_findings(meta["findings"])]
                wrong = complaints(array, meta["affine"], told, files, files)
            except VGGUNetError as refusal:
                wrong = [str(refusal)]
            unread += [f"{name}: {wrong[0]}"] if wrong else []
    return unread


def save(outcome: Outcome, seed: int, kind: str | None, keep: Path) -> None:
    """Write a failed mutation's files with a note."""
    folder = keep / f"{outcome.number:05d}_{outcome.verdict}"
    shutil.rmtree(folder, ignore_errors=True)
    write(damaged(outcome.number, seed, kind)[0], folder / "dicom")
    (folder / "note.txt").write_text(f"{outcome.verdict}: {outcome.reason}\n{outcome.done}\n")


def table(outcomes: list[Outcome]) -> str:
    """Count verdicts by kind of damage."""
    columns = (*GOOD, *BAD)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for outcome in outcomes:
        counts[outcome.kind or "?"][outcome.verdict] += 1
        counts["all"][outcome.verdict] += 1
    names = [*sorted(name for name in counts if name != "all"), "all"]
    lines = ["".join([f"{'damage':22}", *(f"{column:>9}" for column in columns)])]
    lines += ["".join([f"{name:22}", *(f"{counts[name][c] or '.':>9}" for c in columns)]) for name in names]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
