"""Readers of DICOM series compared: how often they are right, how fast they are, how much memory they need.

    python scripts/benchmarks/dicom_loading.py [--rounds 7] [--corpus FOLDER] [--work FOLDER] [--rest SECONDS]

Every reader works in a process of its own that stays; imports are not counted. Within a round the readers take turns,
and ratios are formed within the round, so that a disturbance of the machine affects all. Needs the extra `bench`. Each
part writes its figures into a section of its own in docs/results.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from dicom_readers import Reader
from dicom_synthetic import SYNTAXES, write_series
from hippocampus import ROOT
from results_page import machine, markdown_table, write_section

from monai_vggunet.dicom import scan_folder

CORPUS = ROOT.parent / "shared" / "data" / "dicom"
SLICES, SIZE = 300, 512
ARCHIVE_FILES = 5000
OURS, ALONE = "ours", "ours, one thread"
MONAI = ("MONAI LoadImage, default", "MONAI ITKReader", "MONAI PydicomReader")
JUDGED = (OURS, *MONAI, "SimpleITK", "dicom2nifti", "dcm2niix")
VERDICTS = ("right", "error", "wrong, with a warning", "silently wrong", "crashed")
# Slow ones are left out where they would show nothing new.
TIMED = {
    "uncompressed": (OURS, *MONAI[1:], "SimpleITK", "highdicom", "pydicom, bare loop", "dicom2nifti", "dcm2niix"),
    **dict.fromkeys(tuple(SYNTAXES)[1:], (OURS, ALONE, *MONAI[1:], "SimpleITK", "dcm2niix")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--work", type=Path, default=ROOT / "quickstart" / "dicom_loading")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds to leave the machine alone after each round")
    parser.add_argument("--only", action="append", help=f"a part: correctness, index, {', '.join(TIMED)}; repeatable")
    arguments = parser.parse_args()
    make_data(arguments.work)
    rounds, rest_sec = arguments.rounds, arguments.rest
    parts: dict[str, Callable[[], str]] = {
        "correctness": partial(correctness, arguments.corpus),
        **{name: partial(speed, name, arguments.work / name, rounds, rest_sec) for name in TIMED},
        "index": partial(index_speed, arguments.work / "archive", rounds, rest_sec),
    }
    for name, part in parts.items():
        text = part() if not arguments.only or name in arguments.only else ""
        if text:
            write_section(f"dicom_loading {name}", f"{text}\n\nMeasured on {machine()}.")


def make_data(work: Path) -> None:
    """Write what is not there yet: a series per transfer syntax, and an archive of nested folders."""
    for name in SYNTAXES:
        if not (work / name).is_dir():
            write_series(work / name, name, SLICES, SIZE)
    if not (work / "archive").is_dir():
        quarter = ARCHIVE_FILES // 4
        for folder, count in (("half/quarter", quarter), ("half/rest", quarter), ("rest", 2 * quarter)):
            write_series(work / "archive" / folder, "uncompressed", count, SIZE)


def correctness(corpus: Path) -> str:
    """Judge the readers on the corpus; return nothing where it is missing."""
    cases = sorted(corpus.glob("*/oracle.json"))
    if not cases:
        return ""
    rows = []
    for name in JUDGED:
        reader, counts, wrong = Reader(name), Counter[str](), []
        for case in cases:
            answer = reader.ask(case.parent / "dicom", case)
            counts[answer["verdict"]] += 1
            if answer["verdict"] not in ("right", "error"):
                wrong.append(case.parent.name.split("_")[0])
            if answer["verdict"] == "crashed":
                reader = Reader(name)
        reader.end()
        print(name, dict(counts), flush=True)
        rows.append([name, *(counts[verdict] for verdict in VERDICTS), " ".join(wrong)])
    return f"""## DICOM: {len(cases)} real folders, right, refused, or wrong

Sample points (position in the patient, value) computed from the headers are looked up in what each reader returns, to
0.1 mm and half a unit. *Error* is any exception, whether its text helps or not; eight of the folders hold no single
complete volume, so that an error counts as a right answer there. dcm2niix and dicom2nifti convert all series they
find, and one right output suffices; dcm2niix resamples tilted series (d02 to d04), which this look-up counts as wrong.

{markdown_table(["", *VERDICTS, "which are wrong or crashed"], rows)}"""


def speed(syntax: str, folder: Path, rounds: int, rest_sec: float) -> str:
    """Time the readers on one synthetic series, alternately."""
    readers = [Reader(name) for name in TIMED[syntax]]
    answers: dict[str, list[dict[str, float]]] = {reader.name: [] for reader in readers}
    first = {reader.name: reader.ask(folder)["seconds"] for reader in readers}  # caches are warm from here on
    for number in range(rounds):
        for reader in readers if number % 2 else readers[::-1]:
            answers[reader.name].append(reader.ask(folder))
        time.sleep(rest_sec)
    for reader in readers:
        reader.end()
    seconds = {name: np.array([answer["seconds"] for answer in given]) for name, given in answers.items()}
    rows = []
    for name, given in answers.items():
        peak = float(np.median([answer["peak_mb"] for answer in given]))
        cores = np.array([answer["cpu_seconds"] for answer in given]) / seconds[name]
        converts = name == "dcm2niix"  # another process, whose memory ends with it
        memory = ["", ""] if converts else [f"{peak:.0f}", f"{peak / given[0]['volume_mb']:.2f} × {given[0]['dtype']}"]
        ratio = spread(seconds[name] / seconds[OURS])
        rows.append([name, spread(seconds[name]), f"{first[name]:.2f}", ratio, *memory, f"{np.median(cores):.2f}"])
        print(syntax, rows[-1], flush=True)
    header = ["", "seconds", "first time", "times ours", "peak MB", "peak / volume returned", "cores busy"]
    return f"""## DICOM: {SLICES} slices of {SIZE} x {SIZE}, {syntax}

Folder to volume in memory; for the two converters, folder to NIfTI file. `ours` is
`LoadImage(reader=DicomSeriesReader())`. Each reader has a process of its own. Imports are not counted. The files are in
the page cache. Median of {rounds} rounds, quartiles in brackets; ratios are formed within a round. *First time* is the
first call of a process. Peak memory is the memory that reading adds to the process, its helpers included.

{markdown_table(header, rows)}"""


def index_speed(archive: Path, rounds: int, rest_sec: float) -> str:
    """Time the index of a quarter, a half and all of an archive against reading all of its files by pydicom."""
    folders = [archive / "half" / "quarter", archive / "half", archive]
    files = [path for path in archive.rglob("*") if path.is_file()]
    times: dict[str, list[float]] = {"whole": [], **{str(folder): [] for folder in folders}}
    first = clock(lambda: scan_folder(folders[-1]))
    for _ in range(rounds):
        times["whole"].append(clock(lambda: read_whole(files)))
        for folder in folders:
            times[str(folder)].append(clock(lambda folder=folder: scan_folder(folder)))  # type: ignore[misc]
        time.sleep(rest_sec)
    counts = [sum(1 for path in folder.rglob("*") if path.is_file()) for folder in folders]
    rows = [
        [f"index of {count} files", spread(times[str(folder)]), f"{np.median(times[str(folder)]) / count * 1e3:.3f}"]
        for folder, count in zip(folders, counts)
    ]
    whole = np.array(times["whole"])
    rows.append(
        [f"pydicom reads {len(files)} files whole", spread(whole), f"{np.median(whole) / len(files) * 1e3:.3f}"]
    )
    print(rows, flush=True)
    return f"""## DICOM: index of an archive

Every file's header is read; files are grouped into series and stacks. Reading the {len(files)} files whole takes
{spread(whole / np.array(times[str(folders[-1])]))} times as long as their index; the first index of a process
took {first:.2f} s.

{markdown_table(["", "seconds", "ms per file"], rows)}"""


def read_whole(files: Sequence[Path]) -> None:
    """Read data sets one by one, as a general script would."""
    for path in files:
        pydicom.dcmread(path)


def clock(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def spread(values: Sequence[float] | np.ndarray) -> str:
    """Return median and quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
