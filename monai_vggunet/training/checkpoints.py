"""What a run leaves behind: `model.pt` with `model.json` (the best so far) and `last.pt` (to go on from)."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_vggunet.data import is_on
from monai_vggunet.data.model_spec import ModelSpec, load_model_spec
from monai_vggunet.errors import ModelMismatchError, OutputWriteError
from monai_vggunet.files import atomic_path, sha256_of_file

__all__ = ["RunCheckpoint", "load_weights", "log_weights", "save_model"]

MODEL, SPEC, LAST = "model.pt", "model.json", "last.pt"
COMPANIONS = ("datalist.json", "history.json")  # of the same run, written beside them by others
SAVE_EVERY_SEC = 30.0  # `last.pt` is four times the network's size: not after every epoch of a few seconds
INTERRUPTED = 130  # exit status of a program ended by Ctrl-C

_log = logging.getLogger(__name__)


class RunCheckpoint:
    """Save and resume a training run; made at the config's top level and attached when the trainer exists.

    After an epoch in which validation found a better model, `model.pt` and `model.json` are replaced. `last.pt` holds
    the whole state. Since draws follow the epoch (`EpochSeedHandler`), a run that was killed goes on to the same
    result. Files of another run in the same folder are moved to `previous/`, not overwritten.

    Args:
        ckpt_dir: folder of the three files.
        objects: what has a `state_dict`, by name: network, optimizer, schedule, ...
        network: whose weights become `model.pt` (the averaged one, where weights are averaged).
        spec: written as `model.json`.
        settings: whatever else makes this run this run (cases, seed, batch size); plain JSON values.
        resume: go on from `last.pt` when it belongs to this run; see `is_on`.

    Raises:
        OutputWriteError: when the folder cannot be written.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        objects: Mapping[str, Any],
        network: nn.Module,
        spec: ModelSpec,
        settings: Mapping[str, Any] | None = None,
        resume: bool | str = True,
    ) -> None:
        self.folder = Path(ckpt_dir)
        self.objects, self.network, self.spec = dict(objects), network, spec
        self.resume = is_on(resume, "resume")
        text = json.dumps([spec.digest, dict(settings or {})], sort_keys=True, default=str)
        self.run_id = hashlib.sha256(text.encode()).hexdigest()
        self.is_finished = False
        self._saved_at = float("-inf")
        self._evaluator: Engine | None = None
        self._former_sigint: Any = None
        self._interrupted = False

    def attach(self, trainer: Engine, evaluator: Engine | None = None) -> None:
        """Load what is there, then save after each epoch; call it after all handlers are attached.

        Args:
            trainer: MONAI trainer.
            evaluator: MONAI evaluator whose key metric says which model is best; without one the last is kept.
        """
        self._evaluator = evaluator
        state = self._load_last() if self.resume else None
        idist.barrier()  # no process moves the files while another still reads them
        if state is not None:
            self._restore(state, trainer)
        elif idist.get_rank() == 0:
            self._set_aside()
        idist.barrier()
        trainer.add_event_handler(Events.STARTED, self._started, (state or {}).get("scaler"))
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._stop_if_interrupted)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        trainer.add_event_handler(Events.COMPLETED, self._completed)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._exception)

    def _load_last(self) -> dict[str, Any] | None:
        path = self.folder / LAST
        if not path.is_file():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ModelMismatchError(
                f"{path} cannot be read ({type(error).__name__}): remove it, or start anew with --resume false"
            ) from error
        return state if isinstance(state, dict) and state.get("run_id") == self.run_id else None

    def _restore(self, state: Mapping[str, Any], trainer: Engine) -> None:
        for name, thing in self.objects.items():
            _unwrapped(thing).load_state_dict(state["objects"][name])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]
        if self._evaluator is not None:
            self._evaluator.state.best_metric = state["best_metric"]
            self._evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        self.is_finished = state["stopped_early"] or state["epoch"] >= trainer.state.max_epochs
        done = "it is finished; --resume false trains anew" if self.is_finished else "going on"
        _log.info("%s holds epoch %d of %d of this run: %s", LAST, state["epoch"], trainer.state.max_epochs, done)

    def _set_aside(self) -> None:
        """Move the files of another run out of the way, so that nothing is lost and nothing is mixed up."""
        old = [self.folder / name for name in (MODEL, SPEC, LAST) if (self.folder / name).exists()]
        if not old:
            return
        old += [self.folder / name for name in COMPANIONS if (self.folder / name).exists()]
        keep = self.folder / "previous" / time.strftime("%Y%m%d-%H%M%S")
        try:
            keep.mkdir(parents=True, exist_ok=True)
            for path in old:
                os.replace(path, keep / path.name)
        except OSError as error:
            raise OutputWriteError(f"cannot move the former run's files to {keep}: {error}") from error
        _log.info("files of another run were moved to %s", keep)

    def _started(self, trainer: Engine, scaler_state: dict[str, Any] | None) -> None:
        scaler = getattr(trainer, "scaler", None)  # MONAI's trainer makes it when it is run
        if scaler is not None and scaler_state:
            scaler.load_state_dict(scaler_state)
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
        self._stop_if_interrupted(trainer)

    def _is_best(self, epoch: int) -> bool:
        state: Any = getattr(self._evaluator, "state", None)
        if getattr(state, "best_metric_epoch", -1) != epoch:
            return False
        if math.isnan(state.best_metric):  # no class was there to compare; against NaN nothing would ever be better
            state.best_metric_epoch = -1
        return True

    def _save_last(self, trainer: Engine) -> None:
        scaler = getattr(trainer, "scaler", None)
        evaluator = getattr(self._evaluator, "state", None)
        state = {
            "run_id": self.run_id,
            "epoch": int(trainer.state.epoch),
            "iteration": int(trainer.state.iteration),
            "stopped_early": bool(trainer.should_terminate),
            "best_metric": float(getattr(evaluator, "best_metric", -1)),
            "best_metric_epoch": int(getattr(evaluator, "best_metric_epoch", -1)),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "objects": {name: _unwrapped(thing).state_dict() for name, thing in self.objects.items()},
        }
        _torch_save(state, self.folder / LAST)
        self._saved_at = time.monotonic()

    def _completed(self, trainer: Engine) -> None:
        self._release_sigint()
        self.is_finished |= not self._interrupted
        if self.is_finished and idist.get_rank() == 0 and not (self.folder / MODEL).is_file():
            save_model(self.network, self.spec, self.folder)  # nothing was validated: keep the last
        if self._interrupted:
            rest = "goes on from the last epoch in" if (self.folder / LAST).is_file() else "begins anew, nothing is in"
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


def save_model(network: nn.Module, spec: ModelSpec, folder: str | os.PathLike[str]) -> None:
    """Write `model.pt` (a plain state dict) and the `model.json` that belongs to it.

    The two are replaced one after the other; in between, `model.json` fits the old weights as well as the new ones,
    so that a kill at any moment leaves a pair that can be used.

    Raises:
        OutputWriteError: nothing was replaced.
    """
    model, description = Path(folder) / MODEL, Path(folder) / SPEC
    former = []
    if model.is_file() and description.is_file():
        with suppress(ModelMismatchError):  # a damaged description is replaced by a whole one
            present = load_model_spec(description)
            # after a kill in between, the file on disk is the one before `present`
            former = [present.weights_sha256, *present.accepted_sha256] if present.digest == spec.digest else []
    spec = replace(spec, pretrained=getattr(_unwrapped(network), "pretrained_source", spec.pretrained))
    weights = {name: tensor.detach().cpu() for name, tensor in _unwrapped(network).state_dict().items()}
    with atomic_path(model) as temporary:
        digest = _torch_save_open(weights, temporary)
        replace(spec, weights_sha256=digest, accepted_sha256=former).save(description)
    replace(spec, weights_sha256=digest, accepted_sha256=[]).save(description)


def load_weights(network: nn.Module, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """Load a plain state dict (`weights_only=True`) into a network and move it to a device, channels last.

    Raises:
        ModelMismatchError: the file is no state dict, or one of another network; lists what differs.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelMismatchError(f"{path} does not fit this network: {detail}") from error
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _torch_save(content: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        _torch_save_open(content, temporary)


def _torch_save_open(content: Any, path: Path) -> str:
    """Save with torch and return the file's hash; torch reports a full disk as a RuntimeError.

    Given a path, torch writes its name, here a temporary one, into the file; given an open file it does not, and the
    same content makes the same file.
    """
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        system = error.__context__  # what the system said; torch then stumbles over what was not written
        if isinstance(system, OSError):
            raise OSError(system.errno, system.strerror) from error
        raise OSError(errno.ENOSPC, f"torch could not write it ({error})") from error
    return sha256_of_file(path)


def _unwrapped(thing: Any) -> Any:
    return thing.module if isinstance(thing, nn.parallel.DistributedDataParallel) else thing


def log_weights(network: nn.Module) -> str:
    """Log the hash of a network's weights and return it; under `torchrun` every process says its own."""
    digest = hashlib.sha256()
    for tensor in _unwrapped(network).parameters():
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    _log.info("process %d ends with weights %s", idist.get_rank(), digest.hexdigest()[:16])
    return digest.hexdigest()
