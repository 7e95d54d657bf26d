"""Readers of DICOM series with one interface: each returns volume and affine from a process of its own, imports done.

python scripts/benchmarks/dicom_readers.py NAME     (answers one JSON request per line; see `serve`)
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["READERS", "Reader", "judge_case"]

# Voxels (x, y, z) and affine (RAS, mm) of each volume that a reader makes of a folder.
Volumes = list[tuple[Any, np.ndarray]]

POSITION_TOLERANCE_MM = 0.1
VALUE_TOLERANCE = 0.51
VALUE_RELATIVE_TOLERANCE = 2e-3
SHARE_RIGHT = 0.995


def _monai(reader: Any) -> Callable[[Path], Volumes]:
    from monai.transforms import LoadImage

    load = LoadImage(reader=reader, image_only=True)

    def read(folder: Path) -> Volumes:
        image = load(folder)
        return [(image, np.asarray(image.affine))]

    return read


def _ours(**options: Any) -> Callable[[Path], Volumes]:
    from monai_vggunet.data import DicomSeriesReader

    return _monai(DicomSeriesReader(**options))


def _monai_reader(name: str) -> Callable[[Path], Volumes]:
    import monai.data

    return _monai(getattr(monai.data, name)())


def _simple_itk() -> Callable[[Path], Volumes]:
    import SimpleITK

    from monai_vggunet.dicom import lps_to_ras

    def read(folder: Path) -> Volumes:
        reader = SimpleITK.ImageSeriesReader()
        series = reader.GetGDCMSeriesIDs(str(folder))
        if not series:
            raise RuntimeError("no series found")
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
        image = reader.Execute()
        size = image.GetDimension()
        affine = np.eye(4)
        direction = np.reshape(image.GetDirection(), (size, size))[:3, :3]
        affine[:3, :3] = direction * np.asarray(image.GetSpacing())[:3]
        affine[:3, 3] = image.GetOrigin()[:3]
        return [(SimpleITK.GetArrayViewFromImage(image).T.copy(order="K"), lps_to_ras(affine))]

    return read


def _highdicom() -> Callable[[Path], Volumes]:
    import highdicom
    import pydicom

    from monai_vggunet.dicom import lps_to_ras

    def read(folder: Path) -> Volumes:
        volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in folder.iterdir()])
        return [(volume.array, lps_to_ras(volume.affine))]

    return read


def _pydicom() -> Callable[[Path], Volumes]:
    """The least possible: sort files by position and put the pixels into one array, without any check."""
    import pydicom

    def read(folder: Path) -> Volumes:
        datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
        datasets.sort(key=lambda dataset: dataset.ImagePositionPatient[2])
        volume = np.empty((len(datasets), datasets[0].Rows, datasets[0].Columns), np.float32)
        for plane, dataset in zip(volume, datasets):
            plane[:] = dataset.pixel_array
            plane *= float(dataset.RescaleSlope)
            plane += float(dataset.RescaleIntercept)
        return [(volume.T, np.eye(4))]

    return read


def _dicom2nifti() -> Callable[[Path], Volumes]:
    import dicom2nifti

    def read(folder: Path) -> Volumes:
        with tempfile.TemporaryDirectory() as output:
            dicom2nifti.convert_directory(str(folder), output, compression=False, reorient=False)
            return _nifti(Path(output))

    return read


def _dcm2niix() -> Callable[[Path], Volumes]:
    import dcm2niix

    def read(folder: Path) -> Volumes:
        with tempfile.TemporaryDirectory() as output:
            command = [dcm2niix.bin, "-z", "n", "-b", "n", "-p", "n", "-o", output, str(folder)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            print(done.stdout, done.stderr)
            read.seconds = time.perf_counter()  # type: ignore[attr-defined]  # the command alone is timed
            volumes = _nifti(Path(output))
            if done.returncode and not volumes:
                raise RuntimeError(done.stdout[-500:])
            return volumes

    return read


def _nifti(folder: Path) -> Volumes:
    import nibabel

    images = [nibabel.load(path) for path in sorted(folder.rglob("*.nii"))]
    if not images:
        raise RuntimeError("no volume was written")
    return [(np.asarray(image.dataobj), image.affine) for image in images]


READERS: dict[str, Callable[[], Callable[[Path], Volumes]]] = {
    "ours": _ours,
    "ours, one thread": lambda: _ours(num_workers=1),
    "MONAI LoadImage, default": lambda: _monai(None),
    "MONAI ITKReader": lambda: _monai_reader("ITKReader"),
    "MONAI PydicomReader": lambda: _monai_reader("PydicomReader"),
    "SimpleITK": _simple_itk,
    "highdicom": _highdicom,
    "pydicom, bare loop": _pydicom,
    "dicom2nifti": _dicom2nifti,
    "dcm2niix": _dcm2niix,
}


class Reader:
    """A reader in a process of its own, which stays for the next request."""

    def __init__(self, name: str) -> None:
        self.name = name
        environment = {**os.environ, "PYTHONWARNINGS": "default"}
        if name.endswith("one thread"):
            environment |= {"OPJ_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.answers.readline()  # imports are done

    def ask(self, folder: Path, oracle: Path | None = None) -> dict[str, Any]:
        """Have a folder read; return seconds, memory, and the verdict if there is an oracle."""
        self.requests.write(json.dumps({"folder": str(folder), "oracle": oracle and str(oracle)}) + "\n")
        self.requests.flush()
        answer = self.answers.readline()
        return json.loads(answer) if answer else {"verdict": "crashed", "why": "the process died"}

    def end(self) -> None:
        """Close the process."""
        self.requests.close()
        self.process.wait(30)


def serve(name: str) -> None:
    """Answer requests {folder, oracle} with {seconds, cpu_seconds, peak_mb, verdict, why}."""
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)  # a reader's messages are part of its verdict: a warning is not silence
        read = READERS[name]()
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            said.seek(0)
            said.truncate()
            result = _answer(read, Path(request["folder"]), request["oracle"])
            sys.stdout.flush()
            said.seek(0)
            if result.get("verdict") == "silently wrong" and "warning" in said.read().lower():
                result["verdict"] = "wrong, with a warning"
            print(json.dumps(result), file=answers, flush=True)


def _answer(read: Callable[[Path], Volumes], folder: Path, oracle: str | None) -> dict[str, Any]:
    with _usage() as usage:
        read.__dict__.pop("seconds", None)
        started = time.perf_counter()
        try:
            volumes = read(folder)
        except Exception as error:
            if oracle is None:
                raise
            why = traceback.format_exception_only(error)[-1].strip()[:200]
            return {"verdict": "error", "why": why}
        seconds = getattr(read, "seconds", time.perf_counter()) - started
    array = volumes[0][0]
    volume_mb = array.size * array.itemsize / 1e6 if not hasattr(array, "element_size") else array.nbytes / 1e6
    answer = {"seconds": seconds, "volume_mb": volume_mb, "dtype": str(array.dtype), **usage}
    if oracle is not None:
        answer["verdict"], answer["why"] = judge_case(volumes, json.loads(Path(oracle).read_text()))
    return answer


@contextmanager
def _usage() -> Iterator[dict[str, float]]:
    """Note processor time and the memory above what was held before, of this process and those it started (Linux)."""
    import psutil

    process, usage = psutil.Process(), {}
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    held, cpu = process.memory_info().rss, _cpu_seconds(process)
    yield usage
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    helpers = sum(child.memory_full_info().uss for child in process.children())
    usage["peak_mb"] = (int(peak.split()[1]) * 1024 - held + helpers) / 1e6
    usage["cpu_seconds"] = _cpu_seconds(process) - cpu


def _cpu_seconds(process: Any) -> float:
    times = process.cpu_times()
    running = [child.cpu_times() for child in process.children()]
    return sum(t.user + t.system for t in (times, *running)) + times.children_user + times.children_system


def judge_case(volumes: Volumes, oracle: dict[str, Any]) -> tuple[str, str]:
    """Compare volumes with the headers: `right`, or `silently wrong` and why.

    A reader may give several volumes, as a converter does; right it is if one series' sample points (RAS mm, value) are
    all found in them. A volume that was resampled on purpose, to straighten a tilt, cannot pass.
    """
    wanted = oracle["series"]
    target = oracle.get("target_series_uid")
    if target and not oracle["expect"].startswith("list"):
        wanted = [series for series in wanted if series.get("series_uid", target) == target] or wanted[:1]
    parts = [part for array, affine in volumes for part in _three_dimensional(np.asarray(array), np.asarray(affine))]
    reasons = [_compare(parts, series, "mosaic" in oracle["expect"]) for series in wanted]
    return ("right", "") if "" in reasons else ("silently wrong", "; ".join(reasons)[:200] or "no series expected")


def _three_dimensional(array: np.ndarray, affine: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    while array.ndim < 3:
        array = array[..., None]
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    flat = array.reshape((*array.shape[:3], -1))
    return [(flat[..., index], affine.astype(float)) for index in range(flat.shape[-1])]


def _compare(parts: list[tuple[np.ndarray, np.ndarray]], series: dict[str, Any], mosaic: bool) -> str:
    samples = np.array(series["samples_ras_xyz_value_frame"], float)
    size = series["rows"] * series["cols"] * series["n_frames"]
    if mosaic and any(array.size == size and array.shape[2] > 1 for array, _ in parts):
        return ""  # taken apart, which the oracle's points, of the mosaic itself, cannot judge
    found = np.zeros(len(samples), bool)
    for array, affine in parts:
        if abs(np.linalg.det(affine)) < np.finfo(float).tiny:
            continue
        index = (np.c_[samples[:, :3], np.ones(len(samples))] @ np.linalg.inv(affine).T)[:, :3]
        nearest = np.rint(index).astype(int)
        inside = ((nearest >= 0) & (nearest < array.shape)).all(axis=1)
        inside &= np.linalg.norm((index - nearest) @ affine[:3, :3].T, axis=1) < POSITION_TOLERANCE_MM
        value = np.full(len(samples), np.nan)
        value[inside] = array[tuple(nearest[inside].T)]
        tolerance = np.maximum(VALUE_TOLERANCE, VALUE_RELATIVE_TOLERANCE * np.abs(samples[:, 3]))
        found |= inside & (np.abs(value - samples[:, 3]) <= tolerance)
    return "" if found.mean() > SHARE_RIGHT else f"{100 * (1 - found.mean()):.0f} % of the points wrong"


if __name__ == "__main__":
    warnings.simplefilter("default")
    serve(sys.argv[1])
