"""Volumes at the edge of what can be segmented, models that do not fit, and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import EngineUnavailableError, ModelMismatchError
from monai_vggunet.segment.archive import Segmenter, segment

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), roi_size=(64, 64))


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def body(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-500, 1000, shape).astype(np.int16)


@pytest.mark.parametrize(
    "shape", [(20, 24, 3), (1, 1, 1), (40, 48, 1), (10, 5000, 2)], ids=["small", "voxel", "one_slice", "ribbon"]
)
@pytest.mark.parametrize("tta", ["none", "full"])
def test_any_size_gives_a_mask_on_its_own_grid(model: Path, tmp_path: Path, shape: tuple[int, ...], tta: str) -> None:
    source = write_volume(tmp_path / "in" / "case.nii.gz", body(*shape))
    result = segment([source], tmp_path / "out", Segmenter(model, tta=tta), show_progress=False)[0]
    assert not result.error
    mask = nib.load(result.folder / "mask.nii.gz")
    assert mask.shape == shape
    np.testing.assert_allclose(mask.affine, AFFINE)


@pytest.mark.parametrize("value", [0, -1000, 400])
def test_a_constant_volume_is_segmented_the_same_everywhere_inside(model: Path, tmp_path: Path, value: int) -> None:
    source = write_volume(tmp_path / "in" / "case.nii.gz", np.full((64, 64, 5), value, np.int16))
    result = segment([source], tmp_path / "out", Segmenter(model), show_progress=False)[0]
    assert not result.error
    labels = np.asarray(nib.load(result.folder / "mask.nii.gz").dataobj)
    assert all(np.array_equal(labels[..., 0], labels[..., z]) for z in range(5))
    record = json.loads((result.folder / "record.json").read_text())
    assert bool(record["flags"]) == (not labels.any())  # an empty result is flagged


def test_nan_is_refused_and_said(model: Path, tmp_path: Path) -> None:
    values = body(32, 32, 3).astype(np.float32)
    values[3, 4, 1] = np.nan
    source = write_volume(tmp_path / "in" / "case.nii.gz", values)
    result = segment([source], tmp_path / "out", Segmenter(model), show_progress=False)[0]
    assert "1 NaN or infinite values" in result.error
    assert not (result.folder / "mask.nii.gz").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 1}, "contradicts itself: its network has 1 input"),
        ({"out_channels": 5}, "contradicts itself: its network has 3 input and 5 output"),
        ({"decoder_channels": [16, 16, 8, 4]}, "does not fit"),
    ],
)
def test_a_model_of_another_form_is_refused(
    model: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = json.loads(model.with_suffix(".json").read_text())
    content["network"] |= change
    (tmp_path / "model.json").write_text(json.dumps(content))
    (tmp_path / "model.pt").write_bytes(model.read_bytes())
    with pytest.raises(ModelMismatchError, match=message):
        Segmenter(tmp_path / "model.pt")


def test_a_color_picture_is_no_volume_for_this_model(model: Path, tmp_path: Path) -> None:
    source = write_volume(tmp_path / "in" / "case.nii.gz", body(16, 16, 4, 3))
    result = segment([source], tmp_path / "out", Segmenter(model), show_progress=False)[0]
    assert result.error
    assert not (result.folder / "mask.nii.gz").exists()


def test_an_engine_without_its_export_is_named_with_what_makes_it(model: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="monai-vggunet export"):
        Segmenter(model, engine="onnx")


def test_openvino_needs_no_export(model: Path, tmp_path: Path) -> None:
    source = write_volume(tmp_path / "in" / "case.nii.gz", body(48, 64, 3))
    masks = []
    for engine in ("torch", "openvino"):
        out = tmp_path / engine
        result = segment([source], out, Segmenter(model, engine=engine, precision="fp32"), show_progress=False)[0]
        assert not result.error
        masks.append(np.asarray(nib.load(result.folder / "mask.nii.gz").dataobj))
    assert np.mean(masks[0] != masks[1]) < 1e-3


@pytest.mark.slow
def test_a_killed_run_is_finished_by_resume_with_the_same_masks(model: Path, tmp_path: Path) -> None:
    for number in range(6):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", body(160, 160, 6, seed=number))
    segment([tmp_path / "in"], tmp_path / "whole", Segmenter(model, engine="torch"), show_progress=False)
    command = [sys.executable, "-m", "monai_vggunet", "segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    command += ["--model", str(model), "--engine", "torch"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "out").glob("*/record.json")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.parent.name for path in (tmp_path / "out").glob("*/record.json")}
    assert finished
    assert len(finished) < 6, "it was done before it was killed"
    results = segment(
        [tmp_path / "in"], tmp_path / "out", Segmenter(model, engine="torch"), show_progress=False, resume=True
    )
    assert not any(result.error for result in results)
    assert {result.case for result in results if result.skipped} <= finished
    for case in sorted(path.parent for path in (tmp_path / "whole").glob("*/record.json")):
        again = tmp_path / "out" / case.name
        expected, found = (np.asarray(nib.load(folder / "mask.nii.gz").dataobj) for folder in (case, again))
        np.testing.assert_array_equal(found, expected)


def test_the_record_names_the_engine(model: Path, tmp_path: Path) -> None:
    source = write_volume(tmp_path / "in" / "case.nii.gz", body(32, 32, 2))
    result = segment([source], tmp_path / "out", Segmenter(model, precision="fp32"), show_progress=False)[0]
    record = json.loads((result.folder / "record.json").read_text())
    assert record["model"]["engine"] == f"torch {torch.__version__}, fp32"
    assert record["model"]["weights_sha256"] == load_model_spec(model.with_suffix(".json")).weights_sha256
