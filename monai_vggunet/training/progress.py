"""What a user sees while a model trains: where it runs, how long it will take, how it is going; and the curve."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

from monai_vggunet.data import Datalist, is_on
from monai_vggunet.networks.autocast import describe_device
from monai_vggunet.training.history import LOSS, PER_CLASS, RATES, History
from monai_vggunet.training.metrics import class_means

__all__ = ["TrainingProgressHandler"]

WARM_UP_STEPS = 3  # the first steps are slower (memory, kernels chosen) and would spoil the estimate

_log = logging.getLogger(__name__)


class TrainingProgressHandler:
    """Show a progress bar per epoch, the expected time, and a line per epoch; keep the curve in `history.json`.

    Args:
        history: file of the curve, see `History`.
        evaluator: MONAI evaluator whose metrics belong to the epoch.
        precision: see `autocast_dtype`, for the line that says what computes.
        bar: show the bar; see `is_on`.
        datalist: of the run; the curve and the lines say if the model is trained on some of its validation cases.

    Raises:
        DatasetError: when training begins, if an earlier curve cannot be read.
    """

    def __init__(
        self,
        history: str | os.PathLike[str],
        evaluator: Engine | None = None,
        precision: str = "auto",
        bar: bool | str = True,
        datalist: Datalist | None = None,
    ) -> None:
        self.history, self.evaluator, self.precision = Path(history), evaluator, precision
        self.datalist = datalist
        self.curve = History()
        self.bar = is_on(bar, "show_bar")
        self._losses: list[float] = []
        self._epoch_started = self._steps_started = 0.0
        self._told = False

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after the handler that validates."""
        if getattr(engine.state, "rank", 0) != 0:
            return
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_begins)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        if self.bar:
            ProgressBar(desc="training", mininterval=1.0).attach(engine, output_transform=_loss_of)

    def _started(self, engine: Engine) -> None:
        self._told = False
        self.curve = History.read(self.history) if self.history.is_file() else History()
        if self.datalist is not None:
            self.curve = self.curve.of_cases(self.datalist)
        _log.info("training on %s", describe_device(engine.state.device, self.precision))

    def _epoch_begins(self, engine: Engine) -> None:
        self._losses = []
        self._epoch_started = time.monotonic()

    def _step(self, engine: Engine) -> None:
        self._losses.append(_loss_of(engine.state.output)["loss"])
        if len(self._losses) == WARM_UP_STEPS:
            self._steps_started = time.monotonic()
        elif len(self._losses) == 2 * WARM_UP_STEPS and not self._told:
            self._told = True
            step_sec = (time.monotonic() - self._steps_started) / WARM_UP_STEPS
            epochs = engine.state.max_epochs - engine.state.epoch + 1
            expected = _duration(step_sec * epochs * engine.state.epoch_length)
            _log.info("%.2f s per step: about %s for %d epochs, validation not counted", step_sec, expected, epochs)

    def _epoch_completed(self, engine: Engine) -> None:
        seconds = time.monotonic() - self._epoch_started
        before = [row["seconds"] for row in self.curve.epochs if row["epoch"] < engine.state.epoch]
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            LOSS: round(sum(self._losses) / max(1, len(self._losses)), 5),
            "seconds": round((before[-1] if before else 0.0) + seconds, 2),
            RATES: [group["lr"] for group in engine.optimizer.param_groups],  # type: ignore[attr-defined]
        }
        state = getattr(self.evaluator, "state", None)
        note = ""
        if state is not None and state.epoch == engine.state.epoch:
            note = f" ({self.curve.note})" if self.curve.note else ""
            row |= {name: round(float(value), 5) for name, value in state.metrics.items()}
            for name, details in state.metric_details.items():
                row[f"{name}{PER_CLASS}"] = [round(v, 5) for v in class_means(details).tolist()]
        self.curve = self.curve.with_epoch(row)
        self.curve.write(self.history)
        left = (engine.state.max_epochs - engine.state.epoch) * row["seconds"] / len(self.curve.epochs)
        shown = " ".join(f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float) and k != "seconds")
        told = "epoch %d/%d: %s%s, %s left"
        _log.info(told, engine.state.epoch, engine.state.max_epochs, shown, note, _duration(left))


def _loss_of(output: Any) -> dict[str, float]:
    """Return the loss of a MONAI trainer's output, a dictionary or a list of one per image."""
    first = output[0] if isinstance(output, list) else output
    loss = first["loss"]
    return {"loss": float(loss.mean() if isinstance(loss, torch.Tensor) else loss)}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
