"""A tiny phantom data set and one short training run by the bundle's own command, shared by the tests here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from monai.bundle import ConfigWorkflow

from monai_vggunet.errors import refusal_behind

REPOSITORY = Path(__file__).parents[2]
TINY = {  # a run of seconds: what is learned does not matter here
    "pretrained": "scratch",
    "max_epochs": 2,
    "iterations_per_epoch": 3,
    "batch_size": 4,
    "lr_schedule": "cosine",
    "show_bar": False,
    "overrides": {"spacing_mm": [8.0, 8.0], "roi_size": [32, 32]},
}


class Run(NamedTuple):
    """A finished training run: the data set's folder, the results' folder and what was printed."""

    data: Path
    folder: Path
    output: str


def run_bundle(
    *words: str, check: bool = True, launcher: Sequence[str] = (), cwd: Path = REPOSITORY / "bundle", **options: Any
) -> str:
    """Run `python -m monai.bundle WORDS --NAME VALUE ...`, in the bundle's folder by default; return all it printed."""
    command = [*(launcher or [sys.executable]), "-m", "monai.bundle", *words]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=570)
    if check:
        assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def train(data: Path, folder: Path, check: bool = True, **options: Any) -> str:
    """Train as a user does, on the phantoms."""
    paths = {"dataset_dir": data, "ckpt_dir": folder / "models", "output_dir": folder / "training"}
    return run_bundle("run", "training", check=check, config_file="configs/train.json", **{**paths, **TINY, **options})


def run_here(*configs: str, run_id: str = "run", **options: Any) -> None:
    """Run configs within this process, which saves its start; what is refused is raised as our own error."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    paths = [str(REPOSITORY / "bundle" / "configs" / f"{name}.json") for name in configs]
    workflow = ConfigWorkflow(paths, logging_file=False, run_id=run_id, **given)
    try:
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except Exception as error:
        raise refusal_behind(error) or error from error


def train_here(data: Path, folder: Path, **options: Any) -> None:
    """Train as `train` does, see `run_here`."""
    paths = {"dataset_dir": data, "ckpt_dir": folder / "models", "output_dir": folder / "training"}
    run_here("train", run_id="training", **{**paths, **TINY, **options})


def figures_per_case(folder: Path) -> dict[str, Any]:
    """What `metrics.json` in `folder` says of each case, by the case's own name."""
    names = json.loads((folder / "names.json").read_text())["names"]
    figures = json.loads((folder / "metrics.json").read_text())["per_case"]
    return {names[pseudonym]["name"]: each for pseudonym, each in figures.items()}


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases of three patients to train on, two unseen ones."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    script = REPOSITORY / "scripts" / "make_phantom_dataset.py"
    small = ["--cases", "5", "--unseen", "2", "--size", "32", "--slices", "5"]
    subprocess.run([sys.executable, str(script), str(folder), *small], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def trained(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    return Run(phantoms, folder, train(phantoms, folder))
