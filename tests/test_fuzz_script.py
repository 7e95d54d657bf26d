"""Tests of scripts/fuzz_dicom_reader.py: a small run, and that its judge would notice what it is there to notice."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SECRET = "Secret^Person"


def load_script() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("fuzz_dicom_reader", SCRIPTS / "fuzz_dicom_reader.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fuzz = load_script()
from dicom_fuzz import workers  # noqa: E402
from dicom_fuzz.mutations import KINDS, mutate  # noqa: E402  the script's folder is on the path now
from dicom_fuzz.oracle import complaints  # noqa: E402
from dicom_fuzz.phantom_series import all_series  # noqa: E402

from monai_vggunet.errors import VGGUNetError  # noqa: E402

SERIES = all_series()
PLAIN = next(number for number in range(100) if "strange file" in workers.damaged(number, 5, "strange file")[3])


def read(files: dict, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    workers.write(files, folder)
    array, meta = workers.load_as_monai_does(folder)
    return np.array(array), np.array(meta["affine"])


def verdict_of(load, kind: str = "strange file", **options) -> str:
    (outcome,) = workers.run([PLAIN], 5, 1, kind, load=load, **options)
    assert outcome.number == PLAIN
    return outcome.verdict


def test_mutations_are_right_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    status = fuzz.main(["--mutations", "150", "--seed", "7", "--jobs", "2", "--keep", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "150 mutations" in printed
    assert status == 0, printed


@pytest.mark.parametrize("name", SERIES)
def test_undamaged_series_is_right(tmp_path: Path, name: str) -> None:
    array, affine = read(SERIES[name], tmp_path / "dicom")
    assert array.shape[2] == 6
    assert complaints(array, affine, [], SERIES[name], SERIES[name]) == []


@pytest.mark.parametrize("name", ["ct", "oblique, 12 bits and garbage", "jpeg 2000", "mr, rescale per slice"])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda array, affine: (array + np.eye(array.shape[0])[:, :1, None], affine), "values differ"),
        (lambda array, affine: (array[:, :, ::-1], affine), "values differ"),
        (lambda array, affine: (array[::-1], affine), "values differ"),
        (lambda array, affine: (array[:, :, 1:], affine), "values differ"),
        (lambda array, affine: (array[:, :, :5], affine), "left out silently"),
        (lambda array, affine: (array, affine + 0.2 * np.eye(4)[:, [3, 3, 3, 0]]), "no file has a plane there"),
        (lambda array, affine: (array, affine * [1, 1, 1.01, 1]), "no file has a plane there"),
        (lambda array, affine: (array * np.nan, affine), "values that are no numbers"),
    ],
    ids=["value", "order", "mirrored", "shifted", "short", "moved", "stretched", "nan"],
)
def test_judge_sees_a_wrong_volume(tmp_path: Path, name: str, spoil, text: str) -> None:
    array, affine = spoil(*read(SERIES[name], tmp_path / "dicom"))
    assert text in " ".join(complaints(array, affine, [], SERIES[name], SERIES[name]))


def test_judge_knows_that_a_cut_file_has_lost_its_pixels(tmp_path: Path) -> None:
    array, affine = read(SERIES["jpeg 2000"], tmp_path / "dicom")
    cut = dict(SERIES["jpeg 2000"])
    cut["IM_99"] = cut["IM_99"][:-300]
    assert complaints(array, affine, [], cut, SERIES["jpeg 2000"]) == []
    array[:, :, 0] += 1
    assert "values differ" in complaints(array, affine, [], cut, SERIES["jpeg 2000"])[0]


def lie(folder: Path):
    array, meta = workers.load_as_monai_does(folder)
    return array + 1, meta


def crash(folder: Path):
    raise KeyError("untyped")


def die(folder: Path):
    os._exit(3)


def hang(folder: Path):
    time.sleep(60)


def swallow(folder: Path):
    return np.ones((workers.LIMIT_MB + 50) * 2**20, np.uint8), {}


def tell(folder: Path):
    warnings.warn(f"bad value {SECRET!r}", stacklevel=1)
    return workers.load_as_monai_does(folder)


@pytest.mark.parametrize(
    ("load", "verdict"),
    [
        (workers.load_as_monai_does, "right"),
        (lie, "WRONG"),
        (crash, "CRASHED"),
        (die, "CRASHED"),
        (hang, "HANG"),
        (tell, "LEAK"),
    ],
    ids=["load", "lie", "crash", "die", "hang", "tell"],
)
def test_every_failure_has_its_verdict(monkeypatch: pytest.MonkeyPatch, load, verdict: str) -> None:
    monkeypatch.setattr(workers, "LIMIT_MB", 100)
    assert verdict_of(load, limit_sec=2.0 if load is hang else 60.0) == verdict


def test_a_reader_that_swallows_memory_has_its_verdict() -> None:
    """In a process of its own, as the script runs; inside of a long test run the verdict was seen to be another one."""
    code = (
        "import test_fuzz_script as t; from dicom_fuzz import workers; workers.LIMIT_MB = 100;"
        "print(t.verdict_of(t.swallow, limit_sec=60.0))"
    )
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent / "scripts"), str(here.parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "MEMORY"


def test_reader_that_refuses_everything_does_not_pass(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def refuse(folder: Path):
        raise VGGUNetError("nothing pleases")

    monkeypatch.setattr(fuzz, "load_as_monai_does", refuse)
    assert fuzz.main(["--mutations", "1"]) == 1
    assert "not read correctly even undamaged" in capsys.readouterr().out


def test_failure_is_saved_and_sets_the_exit_status(tmp_path: Path, monkeypatch, capsys) -> None:
    outcome = workers.Outcome(PLAIN, "text", "what was done", "WRONG", "the reason")
    monkeypatch.setattr(fuzz, "run", lambda *arguments: iter([outcome]))
    assert fuzz.main(["--mutations", "1", "--seed", "5", "--keep", str(tmp_path)]) == 1
    (folder,) = tmp_path.iterdir()
    assert "WRONG: the reason" in (folder / "note.txt").read_text()
    assert (folder / "dicom").is_dir()
    assert "1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_damage_damages(kind: str) -> None:
    changed = 0
    for number in range(12):
        files = SERIES["enhanced mr" if kind == "functional groups" else "ct"]
        rng = np.random.default_rng(number)
        changed += mutate(files, rng, kind)[0] != files
    assert changed >= 4


def test_the_same_seed_gives_the_same_damage() -> None:
    assert all_series() == SERIES
    assert workers.damaged(3, 1) == workers.damaged(3, 1)
    assert workers.damaged(3, 1) != workers.damaged(4, 1)
