"""A MONAI Label server as `scripts/monai_label.sh` starts it, and a model small enough for it to be tried."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK
from tiny_model import write_tiny_model

from monai_vggunet.atomic_files import sha256_of_file

REPOSITORY = Path(__file__).parents[1]
PYTHON = REPOSITORY / ".label-venv" / "bin" / "python"
STUDIES = {"axial": "axial", "oblique": "oblique", "third": "axial", "fourth": "axial"}
START_LIMIT_SEC, TRAINING_LIMIT_SEC, LEAVING_LIMIT_SEC = 120, 240, 20


def tiny_model(folder: Path, **preprocessing: Any) -> Path:
    """Save a CT model with random weights that finds a bit of everything; two classes."""
    return write_tiny_model(folder, _fingerprint(), **{"windows": ((-100.0, 200.0),), **preprocessing})


class Server:
    """A running server: requests by path, with its token if it has one, and waiting for a training."""

    def __init__(self, url: str, process: subprocess.Popen, log: Path, app: Path, token: str = "") -> None:
        self.url, self.process, self.log, self.app, self.token = url, process, log, app, token

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        auth = ("annotator", self.token) if self.token else None
        return requests.request(method, self.url + path, **{"timeout": 120, "auth": auth, **options})

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.send("POST", path, **options)

    def infer(self, model: str, image: str, output: str = "image", **params: Any) -> requests.Response:
        return self.post(
            f"/infer/{model}", params={"image": image, "output": output}, data={"params": json.dumps(params)}
        )

    def submit(self, image: str, label: Path, **params: Any) -> requests.Response:
        with label.open("rb") as file:
            files, data = {"label": (label.name, file)}, {"params": json.dumps(params)}
            return self.send("PUT", "/datastore/label", params={"image": image}, files=files, data=data)

    def wait_for(self, task: str) -> dict[str, Any]:
        """Wait until the training or scoring that was asked for last is done."""
        end = time.monotonic() + TRAINING_LIMIT_SEC
        while time.monotonic() < end:
            state = self.get(f"/{task}/").json()
            if state["status"] not in ("SUBMITTED", "RUNNING"):
                return state
            time.sleep(0.3)
        raise AssertionError(f"{task} took more than {TRAINING_LIMIT_SEC} s: {self.log.read_text()[-3000:]}")


def leaves_nothing(server: Server) -> bool:
    """Whether the server's temporary folder is empty soon: what a request had there goes once it is answered."""
    end = time.monotonic() + LEAVING_LIMIT_SEC
    while time.monotonic() < end:
        if not list((server.app / "temporary").iterdir()):
            return True
        time.sleep(0.1)
    return False


def in_label_environment(code: str) -> str:
    """Run a program with MONAI Label at hand; return what it prints."""
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    path = f"{REPOSITORY / 'monai_vggunet' / 'annotation' / 'compat'}{os.pathsep}{REPOSITORY}"
    given = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([PYTHON, "-c", code], env=given, capture_output=True, text=True, timeout=START_LIMIT_SEC)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def tree_of(*folders: Path) -> dict[str, str]:
    """Return what lies in some folders, by path: hashes of files and where links lead.

    Logs and locks are left out, and what requests have in the temporary folder, which goes a moment after the answer.
    """
    found, passing = {}, {"logs", "temporary"}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.is_symlink():
            found[str(path)] = f"-> {path.readlink()}"
        elif path.is_file() and not passing & set(path.parts) and path.suffix != ".lock" and path.name != ".lock":
            found[str(path)] = sha256_of_file(path)
    return found


@contextmanager
def running_server(
    studies: Path | str, model: Path, folder: Path, *options: str, **environment: str
) -> Iterator[Server]:
    """Start a server, on a free port unless the options name one, and end it with every process it started."""
    if not PYTHON.is_file():
        pytest.skip("MONAI Label's environment (.label-venv) is not here: scripts/test.sh makes it")
    port = int(options[options.index("--port") + 1]) if "--port" in options else _free_port()
    app, log = folder / "app", folder / "server.log"
    command = [str(PYTHON), "-m", "monai_vggunet.annotation.serve", str(studies), "--app", str(app)]
    command += ["--model", str(model), "--port", str(port), *options]
    given = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **environment}
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=given, start_new_session=True)
    token = options[options.index("--token") + 1] if "--token" in options else ""
    server = Server(f"http://127.0.0.1:{port}", process, log, app, token)
    try:
        _wait(server)
        yield server
    finally:
        with suppress(ProcessLookupError):  # a test may have ended it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(server: Server) -> None:
    end = time.monotonic() + START_LIMIT_SEC
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()[-3000:]
        try:
            if server.get("/info/").ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise AssertionError(f"the server did not start: {server.log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ras_affine(volume: SimpleITK.Image) -> np.ndarray:
    """Return the affine of a volume that SimpleITK read, voxel index to RAS mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(volume.GetDirection()).reshape(3, 3) * volume.GetSpacing()
    affine[:3, 3] = volume.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def _fingerprint() -> dict[str, Any]:
    return {
        "n_cases": 1,
        "modality": "CT",
        "plane": "axial",
        "in_plane_spacing_mm": [1.0, 1.0],
        "slice_spacing_mm": 3.0,
        "in_plane_size": [20, 16],
        "n_slices": 6,
        "image_channels": 1,
        "foreground_percentiles": [60.0, 90.0, 130.0],
        "class_names": ["background", "liver", "spleen"],
        "class_voxels": [1000, 100, 50],
        "class_volumes_ml": [[1, 1, 1], [0.1, 0.1, 0.1], [0.05, 0.05, 0.05]],
    }
