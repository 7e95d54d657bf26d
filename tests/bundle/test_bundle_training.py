"""The bundle's training command as a user runs it: on DICOM, interrupted, resumed, distributed, on bad input."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from vgg16_states import plain_vgg16_state

from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import VGGUNetError

from .conftest import REPOSITORY, TINY, Run, run_bundle, train, train_here

pytestmark = pytest.mark.slow


def test_training_leaves_a_model_that_fits_its_description(trained: Run) -> None:
    models = trained.folder / "models"
    spec = load_model_spec(models / "model.json")
    spec.require_weights(models / "model.pt")
    assert spec.class_names == ["background", "spleen", "liver", "kidney"]
    assert spec.preprocessing.modality == "CT"
    assert spec.preprocessing.plane == "axial"
    assert spec.pretrained == "scratch"
    weights = torch.load(models / "model.pt", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())


def test_training_says_device_engine_and_what_it_read_off_the_data(trained: Run) -> None:
    for expected in ("training on CPU", "engine torch", "in-plane spacing", "epoch 2/2", "val_hd95_mm"):
        assert expected in trained.output


def test_the_split_is_written_and_keeps_patients_together(trained: Run) -> None:
    split = json.loads((trained.folder / "models" / "datalist.json").read_text())
    training, validation = ({case["patient"] for case in split[part]} for part in ("training", "validation"))
    assert training
    assert validation
    assert not training & validation


def test_no_patient_identifier_is_printed_or_stored(trained: Run) -> None:
    files = [path for path in (trained.folder / "models").iterdir() if path.suffix == ".json"]
    for text in (trained.output, *(path.read_text() for path in files)):
        assert "PHANTOM" not in text


def test_checkpoints_which_are_passed_on_name_no_case_and_no_path(trained: Run) -> None:
    models = trained.folder / "models"
    listed = json.loads((models / "datalist.json").read_text())
    names = [case["case"] for case in [*listed["training"], *listed["validation"]]]
    for name in ("last.pt", "model.pt"):
        content = (models / name).read_bytes()  # torch stores its words as they are
        assert b"encoder" in content
        for word in ("PHANTOM", str(trained.data), str(trained.folder), *names):
            assert word.encode() not in content, f"{name} holds {word}"


def kill_training(data: Path, folder: Path, is_time: Callable[[], bool], **options: Any) -> None:
    """Train as a user does, until SIGKILL."""
    paths = {"dataset_dir": data, "ckpt_dir": folder / "models", "output_dir": folder / "training"}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "configs/train.json"]
    for name, value in {**paths, **TINY, **options}.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY / "bundle", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not is_time():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_run_killed_on_its_way_ends_with_the_same_model(trained: Run, tmp_path: Path) -> None:
    """SIGKILL as soon as `last.pt` is there, then the same command again."""
    kill_training(trained.data, tmp_path, (tmp_path / "models" / "last.pt").is_file)
    output = train(trained.data, tmp_path)
    assert "last.pt holds epoch 1 of 2" in output
    for name in ("model.pt", "model.json"):
        assert (tmp_path / "models" / name).read_bytes() == (trained.folder / "models" / name).read_bytes(), name


def test_the_same_options_in_other_words_give_the_same_model(trained: Run, tmp_path: Path) -> None:
    """Also where the words are a command line's, `args.json` names the config, and the data lie elsewhere."""
    shutil.copytree(trained.data, tmp_path / "moved")
    words = {"resume": "false", "clicks": "no", "from_scratch": "true", "layer_decay": 1, "decoder_lr": "3e-4"}
    shutil.copytree(trained.folder / "models", tmp_path / "models")
    paths = {"dataset_dir": tmp_path / "moved", "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "training"}
    output = run_bundle("run", "training", args_file="args.json", **paths, **TINY, **words)
    assert "files of another run were moved to" in output
    for name in ("model.pt", "model.json"):
        assert (tmp_path / "models" / name).read_bytes() == (trained.folder / "models" / name).read_bytes(), name
    runs = [torch.load(folder / "models" / "last.pt", weights_only=True) for folder in (tmp_path, trained.folder)]
    assert runs[0]["run_id"] == runs[1]["run_id"]


def test_changed_options_are_refused_with_both_values_and_the_ways_on(trained: Run) -> None:
    models = trained.folder / "models"
    before = {path.name: path.stat().st_mtime_ns for path in models.iterdir()}
    changed = {"weight_decay": 0.5, "label_smoothing": 0.3, "train#preprocessing#flip_prob": 0, "ema_momentum": 0.2}
    output = train(trained.data, trained.folder, check=False, **changed).rsplit("monai-vggunet: ", 1)[-1]
    assert output.splitlines()[1:-1] == [
        "  --weight_decay: 0.0001 before, 0.5 now",
        "  --label_smoothing: 0.0 before, 0.3 now",
        "  --ema_momentum: 0.01 before, 0.2 now",
        "  --train#preprocessing#flip_prob: not given before, 0 now",
    ]
    assert "pass --resume False" in output
    assert "another --ckpt_dir" in output
    assert {path.name: path.stat().st_mtime_ns for path in models.iterdir()} == before


def test_a_finished_run_can_be_prolonged_wherever_it_lies(trained: Run, tmp_path: Path) -> None:
    """By the workflow class, which works in any directory."""
    shutil.copytree(trained.data, tmp_path / "moved")
    shutil.copytree(trained.folder / "models", tmp_path / "models")
    (tmp_path / "models" / ".model-abcdefgh.pt").write_bytes(b"of a killed run")
    options = {**TINY, "max_epochs": 3, "num_workers": 1, "early_stop_patience": 30}
    workflow = "monai_vggunet.TrainingWorkflow"
    output = run_bundle("run", cwd=tmp_path, workflow_name=workflow, dataset_dir=tmp_path / "moved", **options)
    assert "last.pt holds epoch 2 of 3 of this run: resuming" in output
    assert "epoch 3/3" in output
    assert not list((tmp_path / "models").glob(".*"))


def test_a_run_from_its_own_folders_model_goes_on_by_the_same_command(trained: Run, tmp_path: Path) -> None:
    """Killed before its first validation."""
    models = tmp_path / "models"
    shutil.copytree(trained.folder / "models", models)
    former, began = (models / "model.pt").read_bytes(), (models / "last.pt").stat().st_mtime_ns

    def has_begun() -> bool:
        return (models / "last.pt").is_file() and (models / "last.pt").stat().st_mtime_ns != began

    options = {"start_from": models / "model.pt", "clicks": True, "iterations_per_epoch": 12, "max_epochs": 1}
    kill_training(trained.data, tmp_path, has_begun, **options)
    assert (models / "model.pt").read_bytes() == former
    assert "last.pt holds epoch 0 of 1 of this run: resuming" in train(trained.data, tmp_path, **options)
    spec = load_model_spec(models / "model.json")
    spec.require_weights(models / "model.pt")
    assert spec.preprocessing.n_guidance == 4


def test_a_finished_run_is_not_trained_again(trained: Run) -> None:
    before = (trained.folder / "models" / "model.pt").stat().st_mtime_ns
    output = train(trained.data, trained.folder)
    assert "it is finished" in output
    assert (trained.folder / "models" / "model.pt").stat().st_mtime_ns == before


def test_two_processes_end_with_the_same_weights_and_the_figures_of_one(trained: Run, tmp_path: Path) -> None:
    def run() -> str:
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517"]
        return run_bundle(
            "run",
            "training",
            launcher=[sys.executable, *launcher],
            config_file="['configs/train.json','configs/multi_gpu_train.json']",
            dataset_dir=trained.data,
            ckpt_dir=tmp_path / "models",
            output_dir=tmp_path / "training",
            **TINY,
        )

    output = run()
    ends = dict(re.findall(r"process (\d) ends with weights (\w+)", output))
    assert set(ends) == {"0", "1"}
    assert ends["0"] == ends["1"]
    load_model_spec(tmp_path / "models" / "model.json").require_weights(tmp_path / "models" / "model.pt")
    assert "it is finished" in run()
    run_bundle(
        "run",
        config_file="['configs/train.json','configs/evaluate.json']",
        dataset_dir=trained.data,
        ckpt_dir=tmp_path / "models",
        output_dir=tmp_path / "eval",
    )
    alone = json.loads((tmp_path / "eval" / "metrics.json").read_text())["mean"]
    curve = json.loads((tmp_path / "models" / "history.json").read_text())["epochs"]
    best = max(curve, key=lambda epoch: epoch["val_mean_dice"])
    assert {name: round(value, 5) for name, value in alone.items()} == {name: best[name] for name in alone}


def test_a_trained_model_learns_to_take_clicks(trained: Run, tmp_path: Path) -> None:
    """Its images are prepared as before, whatever would be planned for a new model."""
    model = trained.folder / "models" / "model.pt"
    train(trained.data, tmp_path, start_from=model, clicks=True, max_epochs=1)
    former, spec = (load_model_spec(path / "models" / "model.json") for path in (trained.folder, tmp_path))
    assert replace(spec.preprocessing, n_guidance=0) == former.preprocessing
    assert spec.preprocessing.n_guidance == len(spec.class_names) == 4
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    shapes = {name: tensor.shape for name, tensor in torch.load(model, weights_only=True).items()}
    assert [name for name in weights if weights[name].shape != shapes[name]] == [next(iter(weights))]
    prepared_differently = r"prepared differently: spacing_mm \(8\.0, 8\.0\), expected \(4\.0, 4\.0\)"
    with pytest.raises(VGGUNetError, match=prepared_differently):
        train_here(trained.data, tmp_path / "other", start_from=model, overrides={"spacing_mm": [4.0, 4.0]})
    assert not (tmp_path / "other" / "models" / "model.pt").exists()


def test_plain_weights_clicks_and_strong_augmentation_go_together(
    phantoms: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(plain_vgg16_state(), tmp_path / "vgg16.pt")
    own = {"pretrained": tmp_path / "vgg16.pt", "augmentation": "strong", "clicks": True, "max_epochs": 1}
    with caplog.at_level(logging.INFO):
        train_here(phantoms, tmp_path, **own)
    assert "fitted to 16 training slices" in caplog.text
    assert load_model_spec(tmp_path / "models" / "model.json").pretrained == "file:vgg16.pt"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", r"does not exist: correct the path \(--dataset_dir in the bundle\)"),
        ("empty", "is empty"),
        ("no label", "have no label of the same name"),
        ("class", "the label holds class 3, but there are 2 classes"),
        ("two series", "several image volumes"),
    ],
)
def test_bad_data_stop_the_run_with_a_clear_error(phantoms: Path, tmp_path: Path, damage: str, message: str) -> None:
    data = tmp_path / "data"
    if damage == "empty":
        data.mkdir()
    elif damage != "missing":
        shutil.copytree(phantoms, data, ignore=shutil.ignore_patterns("unseen"))
    if damage == "no label":
        (data / "dataset.json").unlink()
        (data / "labels" / "case_001.nii.gz").unlink()
    if damage == "class":
        listed = json.loads((data / "dataset.json").read_text())
        listed["labels"] = {"0": "background", "1": "spleen"}
        (data / "dataset.json").write_text(json.dumps(listed))
    if damage == "two series":
        for file in sorted((data / "images" / "case_000").iterdir()):
            dataset = pydicom.dcmread(file)
            dataset.SeriesInstanceUID += ".1"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID[:60] + ".1"
            dataset.save_as(file.with_name(f"other_{file.name}"))
    with pytest.raises(VGGUNetError, match=message):
        train_here(data, tmp_path)
    assert not (tmp_path / "models" / "model.pt").exists()
