"""A run goes on with the settings it was begun with; others are refused and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from checkpoint_runs import EPOCHS, STEPS, Killed, kill, make_network, make_spec, train, train_until
from ignite.engine import Events

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training import RunCheckpoint, checkpoints
from monai_vggunet.training.run_settings import changed_settings


@pytest.mark.parametrize("iteration", [2 * STEPS + 1, None], ids=["interrupted", "finished"])
def test_changed_setting_is_refused_and_named(tmp_path, every_epoch, iteration):
    settings = {"weight_decay": 0.0001, "label_smoothing": 0.0, "training cases": "3 (sha256:0123456789abcdef)"}
    if iteration is None:
        train(tmp_path, settings=settings)
    else:
        train_until(tmp_path, Events.ITERATION_COMPLETED(once=iteration), kill, (Killed, "killed"), settings=settings)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    now = {"weight_decay": 0.5, "label_smoothing": 0, "flip_prob": 0.1, "training cases": "2 (sha256:fedcba9876543210)"}
    with pytest.raises(ConfigurationError, match=r"last\.pt holds a run with other settings than these") as caught:
        train(tmp_path, settings=now)
    lines = str(caught.value).splitlines()
    assert lines[1:-1] == [
        "  --weight_decay: 0.0001 before, 0.5 now",
        "  --flip_prob: not given before, 0.1 now",
        "  training cases: 3 (sha256:0123456789ab...) before, 2 (sha256:fedcba987654...) now",
    ]
    assert "It resumes with the former ones. To start again, pass --resume False" in lines[-1]
    assert lines[-1].endswith(f"(its files are moved to {tmp_path / 'previous'}) or another --ckpt_dir")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(tmp_path, settings=settings).trainer.state.epoch == EPOCHS


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"network": {"dropout": 0.1}}, "--network_options#dropout: not given before, 0.1 now"),
        ({"spacing_mm": (2.0, 2.0)}, "--overrides#spacing_mm: [1.0, 1.0] before, [2.0, 2.0] now"),
        ({"n_guidance": 2}, "--clicks: False before, True now"),
        ({"class_names": ["rest", "ring"]}, "names of the classes: ['rest', 'disk'] before, ['rest', 'ring'] now"),
    ],
)
def test_change_of_what_is_planned_is_named_by_its_option(tmp_path, spec, line):
    arguments: dict[str, Any] = {"objects": {}, "network": make_network()}
    former, names = make_spec(), {"class_names", "network"}
    preprocessing = replace(former.preprocessing, **{k: v for k, v in spec.items() if k not in names})
    now = replace(former, preprocessing=preprocessing, **{k: v for k, v in spec.items() if k in names})
    settings = [RunCheckpoint(tmp_path, spec=each, **arguments).settings for each in (former, now)]
    assert changed_settings(*settings) == [line]


def test_number_of_processes_is_part_of_a_run(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"\n  number of processes: 1 before, 2 now\n"):
        train(tmp_path)


def test_other_settings_of_another_version_are_told_as_such(tmp_path, monkeypatch):
    """The configuration itself may have changed between the two."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "__version__", "0.0.1")
        train(tmp_path)
    with pytest.raises(ConfigurationError, match=r"settings than these \(version 0\.0\.1, this is \S+\):\n  --seed"):
        train(tmp_path, settings={"seed": 1})
    assert train(tmp_path).saver.is_finished


def test_another_model_is_another_run(tmp_path):
    arguments = {"objects": {}, "network": make_network(), "settings": {"seed": 0}}
    first = RunCheckpoint(tmp_path, spec=make_spec(), **arguments)
    other = RunCheckpoint(tmp_path, spec=make_spec(network={"dropout": 0.1}), **arguments)
    assert first.run_id == RunCheckpoint(tmp_path, spec=make_spec(fingerprint={"n": 1}), **arguments).run_id
    assert first.run_id != other.run_id
