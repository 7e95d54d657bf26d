"""Exports and int8 by the bundle's own commands, and inference that picks them up."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from monai_vggunet.data import load_model_spec
from monai_vggunet.inference.engines.export_files import export_path, read_metadata

from .conftest import REPOSITORY, Run, run_bundle, run_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model with its exports and its int8 form."""
    folder = tmp_path_factory.mktemp("exports") / "models"
    shutil.copytree(trained.folder / "models", folder)
    run_bundle("run", config_file="configs/export.json", ckpt_dir=folder, kinds="['onnx','openvino']")
    # Two epochs learn nothing that a budget of Dice could be judged by.
    printed = run_bundle("run", config_file="configs/quantize.json", ckpt_dir=folder, max_dice_drop=1.0)
    assert "convolutions in int8" in printed
    return folder


def test_the_commands_write_exports_that_fit_the_model(models: Path) -> None:
    spec = load_model_spec(models / "model.json")
    for kind, precision in (("onnx", "fp32"), ("openvino", "fp32"), ("openvino_int8", "int8")):
        assert read_metadata(export_path(models / "model.pt", kind), spec).precision == precision
    report = json.loads((models / "model_int8.json").read_text())
    assert set(report["dice"]["int8"]) == {"mean", "spleen", "liver", "kidney"}
    assert report["slices"]["validation"] > 0


def test_inference_gives_the_same_masks_by_every_engine(
    models: Path, trained: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    masks = {}
    for engine in ("torch", "openvino", "onnx"):
        folder = tmp_path / engine
        paths = {"dataset_dir": trained.data / "unseen" / "images", "ckpt_dir": models, "output_dir": folder}
        run_here("inference", engine=engine, precision="fp32", **paths)
        assert f"engine: {engine}" in caplog.text
        masks[engine] = {path.parent.name: np.asarray(nib.load(path).dataobj) for path in folder.glob("*/mask.nii.gz")}
    assert masks["torch"]
    for case, mask in masks["torch"].items():
        for engine in ("openvino", "onnx"):
            assert np.mean(masks[engine][case] != mask) < 1e-3


def test_without_the_training_runs_cases_the_command_says_what_to_do(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("model.pt", "model.json"):
        shutil.copy(trained.folder / "models" / name, tmp_path / "models")
    printed = run_bundle("run", check=False, config_file="configs/quantize.json", ckpt_dir=tmp_path / "models")
    assert "datalist.json is missing" in printed
    assert "pass --dataset_dir" in printed
    assert not list((tmp_path / "models").glob("*int8*"))


def test_the_tensorrt_config_replaces_network_and_engine_alone() -> None:
    """Read as the bundle runs it; TensorRT itself needs a GPU."""
    parser = ConfigParser()
    folder = REPOSITORY / "bundle" / "configs"
    parser.read_config([folder / "inference.json", folder / "inference_trt.json"])
    assert parser["imports"][-1] == "$import torch_tensorrt"
    assert parser["engine_choice"] is None
    assert "model_trt.ts" in parser["network_def"]
    assert parser["handlers#0#_disabled_"] is True
    assert parser["handlers#0#_target_"] == "CheckpointLoader"
