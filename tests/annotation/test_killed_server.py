"""A server that is killed while it trains: model, labels and history are whole, and the next one clears up."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from label_server import running_server, tiny_model
from phantoms import affine_of, ct_array, label_array, write_nifti

from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data import load_model_spec

pytestmark = [pytest.mark.label, pytest.mark.slow]


def test_nothing_is_lost_and_what_a_killed_server_left_goes(tmp_path: Path) -> None:
    truth = write_nifti(tmp_path / "truth.nii.gz", label_array(), affine_of())
    for seed in range(2):
        write_nifti(tmp_path / "studies" / f"study_{seed}.nii.gz", ct_array(label_array(), seed), affine_of())
    model = tiny_model(tmp_path / "model")
    placed, temporary = tmp_path / "app" / "model" / "vggunet", tmp_path / "app" / "temporary"
    of_system = tmp_path / "tmp"
    of_system.mkdir()
    with running_server(tmp_path / "studies", model, tmp_path, TMPDIR=str(of_system)) as server:
        assert temporary.stat().st_mode & 0o777 == 0o700
        for seed in range(2):
            assert server.submit(f"study_{seed}", truth).ok
        asked = {"max_epochs": 50, "iterations_per_epoch": 2, "batch_size": 2}
        assert server.post("/train/vggunet", json=asked).ok
        end = time.monotonic() + 120
        while not (placed / "training" / "model.pt").is_file():  # a better epoch was found: it is in full swing
            assert time.monotonic() < end, server.log.read_text()[-2000:]
            time.sleep(0.1)
        (temporary / "request-x").mkdir()
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()

    assert (temporary / "request-x").is_dir()
    served = placed / "models" / "model.pt"
    assert sha256_of_file(served) == sha256_of_file(model)
    load_model_spec(served.with_suffix(".json")).require_weights(served)
    with running_server(tmp_path / "studies", model, tmp_path, TMPDIR=str(of_system)) as again:
        assert not list(temporary.iterdir())
        assert again.get("/info/").json()["datastore"]["completed"] == 2
        assert again.infer("vggunet", "study_0").ok
        for seed in range(2):
            history = tmp_path / "studies" / "label_history" / f"study_{seed}" / "history.json"
            assert len(json.loads(history.read_text())) == 1
        again.process.terminate()
        again.process.wait(60)
        assert not temporary.exists()
    assert not list(of_system.iterdir())
