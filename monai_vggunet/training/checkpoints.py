"""What a run leaves behind: `model.pt` with `model.json` (the best so far) and `last.pt` (to resume from)."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from torch import nn

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import atomic_path, sha256_of_file
from monai_vggunet.data import is_on
from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import LAST, MODEL, PREVIOUS
from monai_vggunet.training.model_files import save_model, torch_save, unwrapped
from monai_vggunet.training.run_folder import read_last, remove_leftovers, set_aside
from monai_vggunet.training.run_settings import changed_settings, settings_digest

__all__ = ["RunCheckpoint"]

SAVE_EVERY_SEC = 30.0  # `last.pt` is four times the network's size: not after every epoch of a few seconds
OWN_MODEL = "the model in this folder"
FOLLOWING = ("in_channels", "out_channels")  # of the network, from preprocessing and classes
INTERRUPTED = 130  # exit status of a program ended by Ctrl-C

_log = logging.getLogger(__name__)


class RunCheckpoint:
    """Save and resume a training run; made at the config's top level and attached when the trainer exists.

    After an epoch in which validation found a better model, `model.pt` and `model.json` are replaced. `last.pt` holds
    the whole state. Since random draws follow the epoch (`EpochSeedHandler`), a run that was killed resumes to the same
    result. A run with other settings than the one in the folder is refused. To start again, its files are moved to
    `previous/`, not overwritten.

    Args:
        ckpt_dir: folder of the three files.
        objects: what has a `state_dict`, by name: network, optimizer, schedule, ...
        network: whose weights become `model.pt` (the averaged one, where weights are averaged).
        spec: written as `model.json`.
        settings: whatever else identifies this run, by name: see `run_settings`; plain JSON values.
        resume: resume from `last.pt`; off (see `is_on`) starts again.
        start_from: `model.pt` of the trained model that the run begins with. It may be the folder's own: then a new
            run begins, and the model stays in place until there is a better one.

    Attributes:
        run_id: hash of all settings.
        is_finished: whether there is nothing left to train.

    Raises:
        ConfigurationError: `resume` says neither on nor off.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        objects: Mapping[str, Any],
        network: nn.Module,
        spec: ModelSpec,
        settings: Mapping[str, Any] | None = None,
        resume: bool | str = True,
        start_from: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder = Path(ckpt_dir)
        self.objects, self.network, self.spec = dict(objects), network, spec
        self.resume = is_on(resume, "resume")
        all_settings = {
            **(settings or {}),
            **_settings_of_model(spec),
            "start_from": self._origin(start_from),
            "number of processes": idist.get_world_size(),
        }
        self.settings: dict[str, Any] = json.loads(json.dumps(all_settings, default=str))  # as `last.pt` returns them
        self.run_id = settings_digest(self.settings)
        self.is_finished = False
        self._saved_at = float("-inf")
        self._evaluator: Engine | None = None
        self._former_sigint: Any = None
        self._interrupted = False

    def attach(self, trainer: Engine, evaluator: Engine | None = None) -> None:
        """Load what is there, then save after each epoch; call it after all handlers are attached.

        Args:
            trainer: MONAI trainer.
            evaluator: MONAI evaluator whose key metric says which model is best; without one, the last is kept.
        """
        self._evaluator = evaluator
        if idist.get_rank() == 0:
            remove_leftovers(self.folder)
        state = self._former_state() if self.resume else None
        idist.barrier()  # no process moves the files while another still reads them
        if state is not None:
            self._restore(state, trainer)
        elif idist.get_rank() == 0:
            set_aside(self.folder, keep_model=self._begins_with_own_model)
        idist.barrier()
        is_new_from_own = state is None and self._begins_with_own_model
        trainer.add_event_handler(Events.STARTED, self._started, (state or {}).get("scaler"), is_new_from_own)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_interrupted)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        trainer.add_event_handler(Events.COMPLETED, self._completed)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._exception)

    @property
    def _begins_with_own_model(self) -> bool:
        return self.settings["start_from"] == OWN_MODEL

    def _origin(self, start_from: str | os.PathLike[str] | None) -> str | None:
        """Return which model the run begins with: its hash, except for the folder's own, which the run replaces."""
        if start_from is None:
            return None
        path = Path(start_from)
        return OWN_MODEL if path.resolve() == (self.folder / MODEL).resolve() else f"sha256:{sha256_of_file(path)}"

    def _former_state(self) -> dict[str, Any] | None:
        """Return the state to resume from; None where a run begins.

        Raises:
            ConfigurationError: `last.pt` is of a run with other settings.
        """
        state = read_last(self.folder)
        if state is None or state["run_id"] == self.run_id:
            return state
        former = json.loads(state["settings"]) if "settings" in state else {}
        if self._begins_with_own_model and former.get("start_from") != OWN_MODEL:
            return None
        if former:
            changes = "".join(f"\n  {line}" for line in changed_settings(former, self.settings))
            version = f" (version {state['version']}, this is {__version__})" if state["version"] != __version__ else ""
            text = f"holds a run with other settings than these{version}:{changes}\nIt resumes with the former ones. To"
        else:
            text = "is of an earlier version, which did not record all settings of its run: it cannot be resumed. To"
        raise ConfigurationError(
            f"{self.folder / LAST} {text} start again, pass --resume False (its files are moved to "
            f"{self.folder / PREVIOUS}) or another --ckpt_dir"
        )

    def _restore(self, state: Mapping[str, Any], trainer: Engine) -> None:
        for name, thing in self.objects.items():
            unwrapped(thing).load_state_dict(state["objects"][name])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]
        if self._evaluator is not None:
            self._evaluator.state.best_metric = state["best_metric"]
            self._evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        max_epochs = trainer.state.max_epochs
        self.is_finished = state["epoch"] >= max_epochs or (state["stopped_early"] and not self._is_patient_again())
        done = "it is finished; --resume False trains again" if self.is_finished else "resuming"
        _log.info("%s holds epoch %d of %d of this run: %s", LAST, state["epoch"], max_epochs, done)
        if not self.is_finished and max_epochs != state["max_epochs"] and self._schedule_spans_run():
            told = "max_epochs was %d: the schedule spans the run, so its rates are now those of a run of %d epochs"
            _log.warning(told, state["max_epochs"], max_epochs)

    def _is_patient_again(self) -> bool:
        """Whether early stopping, which ended the run, would wait longer now."""
        early_stops = [thing for thing in self.objects.values() if isinstance(thing, EarlyStopping)]
        return bool(early_stops) and all(stop.counter < stop.patience for stop in early_stops)

    def _schedule_spans_run(self) -> bool:
        return any(getattr(thing, "spans_run", False) for thing in self.objects.values())

    def _started(self, trainer: Engine, scaler_state: dict[str, Any] | None, is_new_from_own: bool) -> None:
        scaler = getattr(trainer, "scaler", None)  # MONAI's trainer makes it when it is run
        if scaler is not None and scaler_state:
            scaler.load_state_dict(scaler_state)
        if is_new_from_own and idist.get_rank() == 0:
            self._save_last(trainer)  # `model.pt` will be replaced: from now on it begins with what is in `last.pt`
        if threading.current_thread() is threading.main_thread():
            self._former_sigint = signal.getsignal(signal.SIGINT)

            def stop(number: int, frame: FrameType | None) -> None:
                self._interrupted = True
                signal.signal(signal.SIGINT, self._former_sigint)  # a second Ctrl-C stops at once

            signal.signal(signal.SIGINT, stop)

    def _stop_if_interrupted(self, trainer: Engine) -> None:
        if self._interrupted:
            trainer.terminate()

    def _epoch_completed(self, trainer: Engine) -> None:
        self.is_finished = bool(trainer.should_terminate) or trainer.state.epoch >= trainer.state.max_epochs
        is_best = self._is_best(trainer.state.epoch)
        if idist.get_rank() == 0:
            if is_best:
                save_model(self.network, self.spec, self.folder)
            due = time.monotonic() - self._saved_at >= SAVE_EVERY_SEC
            if due or self.is_finished or self._interrupted:
                self._save_last(trainer)
                self._saved_at = time.monotonic()
        self._stop_if_interrupted(trainer)

    def _is_best(self, epoch: int) -> bool:
        state: Any = getattr(self._evaluator, "state", None)
        if getattr(state, "best_metric_epoch", -1) != epoch:
            return False
        if math.isnan(state.best_metric):  # no class could be compared; nothing would ever be better than NaN
            state.best_metric_epoch = -1
        return True

    def _save_last(self, trainer: Engine) -> None:
        scaler = getattr(trainer, "scaler", None)
        evaluator = getattr(self._evaluator, "state", None)
        state = {
            "run_id": self.run_id,
            "settings": json.dumps(self.settings),
            "version": __version__,
            "max_epochs": int(trainer.state.max_epochs or 0),
            "epoch": int(trainer.state.epoch),
            "iteration": int(trainer.state.iteration),
            "stopped_early": bool(trainer.should_terminate),
            "best_metric": float(getattr(evaluator, "best_metric", -1)),
            "best_metric_epoch": int(getattr(evaluator, "best_metric_epoch", -1)),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "objects": {name: unwrapped(thing).state_dict() for name, thing in self.objects.items()},
        }
        with atomic_path(self.folder / LAST) as temporary:
            torch_save(state, temporary)

    def _completed(self, trainer: Engine) -> None:
        self._release_sigint()
        self.is_finished |= not self._interrupted
        best_epoch = getattr(getattr(self._evaluator, "state", None), "best_metric_epoch", -1)
        if self.is_finished and idist.get_rank() == 0 and best_epoch < 0:
            save_model(self.network, self.spec, self.folder)  # nothing was validated: keep the last
        if self._interrupted:
            saved = (self.folder / LAST).is_file()
            rest = "resumes from the last epoch in" if saved else "starts again, because nothing was saved in"
            _log.warning("interrupted: the same command %s %s", rest, self.folder / LAST)
            raise SystemExit(INTERRUPTED)
        idist.barrier()

    def _exception(self, trainer: Engine, error: Exception) -> None:
        self._release_sigint()
        raise error

    def _release_sigint(self) -> None:
        if self._former_sigint is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._former_sigint)
            self._former_sigint = None


def _settings_of_model(spec: ModelSpec) -> dict[str, Any]:
    """Return what is planned for a model, by the options that state it; the network's channels follow from the rest."""
    preprocessing = asdict(spec.preprocessing)
    return {
        "clicks": preprocessing.pop("n_guidance") > 0,
        **{f"overrides#{name}": value for name, value in preprocessing.items()},
        **{f"network_options#{name}": v for name, v in spec.network.items() if name not in FOLLOWING},
        "names of the classes": spec.class_names,
    }
