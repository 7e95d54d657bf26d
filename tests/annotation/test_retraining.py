"""The better model is kept: real evaluator and checkpoint, a run that made the network better or worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from label_server import tiny_model
from monai.engines import SupervisedEvaluator
from phantoms import affine_of, ct_array, label_array, meta_tensor, write_case

from monai_vggunet import VGG16UNet
from monai_vggunet.annotation import Retraining
from monai_vggunet.atomic_files import sha256_of_file
from monai_vggunet.data import load_model_spec
from monai_vggunet.data.datalist import Datalist
from monai_vggunet.training import RunCheckpoint, dice_metric, load_weights


class Run:
    """A placed model, its evaluator on one volume, and a run that changes what the evaluator's network finds."""

    def __init__(self, folder: Path) -> None:
        self.model_dir, self.ckpt_dir = folder / "models", folder / "training"
        self.model = tiny_model(self.model_dir)
        self.spec = load_model_spec(self.model.with_suffix(".json"))
        self.network = load_weights(VGG16UNet(**self.spec.network), self.model)
        case = write_case(folder, "a")
        self.datalist = Datalist([case], [case], self.spec.class_names)
        self.truth = torch.from_numpy(label_array())[None]
        self.share_right = 0.5
        batch = {"image": meta_tensor(ct_array(label_array())[None, None], affine_of()), "label": self.truth[None]}
        self.evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=[batch],  # type: ignore[arg-type]
            network=self.network,
            inferer=self.found,
            key_val_metric=dice_metric(3),
        )

    def found(self, image: torch.Tensor, network: Any) -> torch.Tensor:
        """The truth in the first rows alone: what would be found by a network as good as `share_right` says."""
        rows = int(self.truth.shape[1] * self.share_right)
        result = self.truth.clone()
        result[:, rows:] = 0
        return result[None]

    def train(self, *shares: float) -> bool:
        """Judge, train for as many epochs as shares are given, and keep the better."""
        retraining = Retraining(self.model_dir, self.ckpt_dir, self.datalist, self.evaluator)
        retraining.begin()
        trainer = Engine(lambda engine, batch: None)
        checkpoint = RunCheckpoint(self.ckpt_dir, {}, self.network, self.spec, resume=False)

        @trainer.on(Events.EPOCH_COMPLETED)
        def _epoch(engine: Engine) -> None:
            with torch.no_grad():
                self.network.head.bias += 1.0  # other weights, another file
            self.share_right = shares[engine.state.epoch - 1]
            self.evaluator.run(engine.state.epoch)

        checkpoint.attach(trainer, self.evaluator)
        trainer.run([0], max_epochs=len(shares))
        return retraining.finish(checkpoint)

    @property
    def entries(self) -> list[dict[str, Any]]:
        return json.loads((self.model_dir / "retrainings.json").read_text())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_better_model_replaces_the_one_in_use_which_is_archived(run: Run) -> None:
    former = sha256_of_file(run.model)
    assert run.train(0.4, 0.8)
    entry = run.entries[0]
    archived = run.model_dir / entry["archive"]
    assert sha256_of_file(archived / "model.pt") == former == entry["former_sha256"]
    load_model_spec(archived / "model.json").require_weights(archived / "model.pt")
    load_model_spec(run.model.with_suffix(".json")).require_weights(run.model)
    assert sha256_of_file(run.model) == entry["model_sha256"] != former
    assert entry["mean_dice_after"] > entry["mean_dice_before"]


def test_a_worse_run_changes_nothing(run: Run) -> None:
    former = sha256_of_file(run.model)
    assert not run.train(0.4, 0.3)
    assert sha256_of_file(run.model) == former
    assert not (run.model_dir / "archive").exists()
    assert run.entries[0]["replaced"] is False
    assert run.entries[0]["mean_dice_after"] is None


def test_an_equal_model_does_not_replace(run: Run) -> None:
    assert not run.train(0.5)


def test_the_best_epoch_is_kept_not_the_last(run: Run) -> None:
    assert run.train(0.9, 0.6)
    kept = torch.load(run.model, weights_only=True)["head.bias"]
    last = run.network.state_dict()["head.bias"]
    torch.testing.assert_close(kept, last - 1.0)


def test_a_second_run_is_measured_against_the_model_in_use_then(run: Run) -> None:
    assert run.train(0.8)
    assert not run.train(0.7)
    assert [entry["replaced"] for entry in run.entries] == [True, False]
    assert run.entries[1]["mean_dice_before"] == pytest.approx(run.entries[0]["mean_dice_after"])


def test_the_history_tells_which_labels_were_learned(run: Run) -> None:
    run.train(0.8)
    label = run.datalist.training[0]["label"]
    assert run.entries[0]["labels_sha256"] == {"a": sha256_of_file(label)}
    assert run.entries[0]["validation"] == ["a"]
