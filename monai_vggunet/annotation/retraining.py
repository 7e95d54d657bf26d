"""Retraining that cannot lose: a further trained model replaces the one in use only where it is better."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ignite.engine import Engine

from monai_vggunet.atomic_files import PRIVATE, sha256_of_file, write_json
from monai_vggunet.data import Datalist, ModelSpec
from monai_vggunet.errors import ModelMismatchError
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import DATALIST, HISTORY, LAST, MODEL, MODEL_SPEC, RETRAININGS
from monai_vggunet.networks import VGG16UNet
from monai_vggunet.training import RunCheckpoint, load_weights, save_model
from monai_vggunet.training.history import History
from monai_vggunet.training.metrics import MEAN_DICE

__all__ = ["Retraining"]

LEFT_BEHIND = (MODEL, MODEL_SPEC, LAST, HISTORY, DATALIST)

_log = logging.getLogger(__name__)


class Retraining:
    """Judge the model in use, let it be trained further elsewhere, and replace it if it became better.

    Both are judged by the same evaluator on the same cases and labels, within one run. The model that is replaced goes
    to `archive/`, and `retrainings.json` tells of every run. A run that is killed leaves the model in use untouched.

    Args:
        model_dir: folder of the model in use.
        ckpt_dir: folder of the training run; an earlier run's models are removed from it.
        datalist: of the run, as `record_cases` gives it.
        evaluator: MONAI evaluator on the validation cases, with the metric `val_mean_dice`; its network has the
            weights of the model in use when the run begins.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike[str],
        ckpt_dir: str | os.PathLike[str],
        datalist: Datalist,
        evaluator: Engine,
    ) -> None:
        self.model_dir, self.ckpt_dir = Path(model_dir), Path(ckpt_dir)
        self.datalist, self.evaluator = datalist, evaluator
        self.before = float("nan")

    def begin(self) -> None:
        """Remove what an earlier run left and judge the model in use; only what is better will be saved by the run."""
        for name in LEFT_BEHIND:
            (self.ckpt_dir / name).unlink(missing_ok=True)
        self.evaluator.run()
        state: Any = self.evaluator.state
        self.before = float(state.metrics[MEAN_DICE])
        # Epoch 0 is the model as it was; -1 lets any model be the best: where no class was there to compare (NaN).
        state.best_metric, state.best_metric_epoch = self.before, -1 if math.isnan(self.before) else 0
        note = History().of_cases(self.datalist).note
        told = "the model in use reaches a mean Dice of %.4f on the validation cases%s"
        _log.info(told, self.before, f"; {note}" if note else "")

    def finish(self, checkpoint: RunCheckpoint) -> bool:
        """Replace the model in use if the run found a better one; return whether it did.

        Raises:
            OutputWriteError: a file cannot be written; the model in use is whole all the same.
        """
        state: Any = self.evaluator.state
        improved = state.best_metric_epoch > 0 and not math.isnan(state.best_metric)
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "training": sorted(case["case"] for case in self.datalist.training),
            "validation": sorted(case["case"] for case in self.datalist.validation),
            "validation_trained": len(self.datalist.trained),
            "all_trained_known": self.datalist.all_trained_known,
            "labels_sha256": {c["case"]: sha256_of_file(c["label"]) for c in _all_cases(self.datalist)},
            "mean_dice_before": self.before,
            "mean_dice_after": float(state.best_metric) if improved else None,
            "replaced": improved,
            "former_sha256": sha256_of_file(self.model_dir / MODEL),
        }
        if improved:
            entry["archive"] = _replace(self.model_dir, checkpoint.folder)
        entry["model_sha256"] = sha256_of_file(self.model_dir / MODEL)
        history = self.model_dir / RETRAININGS
        write_json(history, [*_entries(history), entry], PRIVATE)  # it lists studies
        if improved:
            _log.info("the retrained model is better (%.4f): it is in use from now on", state.best_metric)
        else:
            _log.info("no epoch was better than the model in use (%.4f), which stays", self.before)
        return improved


def _replace(model_dir: Path, trained: Path) -> str:
    """Archive the model in use and put the trained one in its place; return the archive's name."""
    spec = ModelSpec.read(trained / MODEL_SPEC)
    spec.require_weights(trained / MODEL)
    archive = model_dir / "archive" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    archive.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_SPEC, MODEL):
        shutil.copy2(model_dir / name, archive / name)
    save_model(load_weights(VGG16UNet(**spec.network), trained / MODEL), spec, model_dir)
    return archive.relative_to(model_dir).as_posix()


def _entries(history: Path) -> list[dict[str, Any]]:
    if not history.is_file():
        return []
    try:
        return list(read_json(history))
    except (ValueError, TypeError) as error:
        raise ModelMismatchError(f"{history} is damaged ({error}): move it away, a new one is begun") from error


def _all_cases(datalist: Datalist) -> list[dict[str, str]]:
    return list({case["case"]: case for case in [*datalist.training, *datalist.validation]}.values())
