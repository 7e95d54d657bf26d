"""Progressive unfreezing: train the decoder first, then free the encoder stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.names import counted
from monai_vggunet.networks import find_vgg16_unet

__all__ = ["DIRECTIONS", "ProgressiveUnfreezeHandler", "given_schedule"]

EVERY_EPOCHS = 5  # the source article's
DIRECTIONS = ("deep_first", "shallow_first")
# The entries of a parameter group that are learning rates, those of torch's schedules included.
RATE_KEYS = ("lr", "initial_lr", "max_lr", "min_lr")
FACTOR_KEY = "unfreeze_factor"


class ProgressiveUnfreezeHandler:
    """Ignite handler that frees a `VGG16UNet`'s encoder stages, frozen at first, as the epochs go by.

    By default stage 4 (the deepest) is freed at epoch 6, stage 3 at epoch 11, and all are free from epoch 26 on.
    Frozen means that neither parameters nor batch-norm statistics change. What is frozen follows from the number of
    the epoch alone, so a resumed run is the same as an uninterrupted one.

    Under `DistributedDataParallel` wrap the network while all its parameters require gradients (before the training
    starts, with nothing frozen by hand) and with ``find_unused_parameters=True``: it looks once, at construction,
    which parameters to keep alike on all ranks. The optimizer must hold all parameters too, as `parameter_groups`
    gives them.

    Args:
        network: a `VGG16UNet`, bare or wrapped.
        optimizer: needed for `lr_decay`; when given, it is checked to hold every encoder parameter.
        every_epochs: epochs between two steps.
        stages_per_step: stages freed at each step.
        start_epoch: epoch of the first step, counted from 1; None for ``every_epochs + 1``. 1 starts with some free.
        schedule: instead of the three above: epoch (from 1) to the number of stages free from then on, such as
            ``{"6": 1, "11": 3, "16": 5}`` (keys may be text, as in JSON).
        direction: "deep_first" frees stage 4 first, "shallow_first" stage 0.
        lr_decay: factor on the learning rate of stages freed at the second step, its square at the third, and so on:
            what is freed later moves more slowly. 1 leaves the rates alone. The factor is applied once and noted in
            the optimizer's groups (entry "unfreeze_factor"), so that it survives checkpoints; the schedules of
            `make_lr_schedule` and torch's `ReduceLROnPlateau` multiply with it.

    Raises:
        ConfigurationError: for an invalid schedule, another kind of network, an optimizer that lacks
            encoder parameters, or a `DistributedDataParallel` that could not follow.

    Example:
        >>> import torch
        >>> from monai_vggunet import VGG16UNet
        >>> from monai_vggunet.training import parameter_groups
        >>> network, trainer = VGG16UNet(), Engine(lambda *_: None)
        >>> optimizer = torch.optim.AdamW(parameter_groups(network))
        >>> ProgressiveUnfreezeHandler(network, optimizer, stages_per_step=2).attach(trainer)

    Paper: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, section 3.3,
    https://arxiv.org/abs/1801.06146.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer | None = None,
        every_epochs: int = EVERY_EPOCHS,
        stages_per_step: int = 1,
        start_epoch: int | None = None,
        schedule: Mapping[Any, int] | None = None,
        direction: str = "deep_first",
        lr_decay: float = 1.0,
    ) -> None:
        self.unet = find_vgg16_unet(network)
        self.optimizer = optimizer
        self.lr_decay = lr_decay
        self.logger = logging.getLogger(__name__)
        count = len(self.unet.encoder_stages())
        if direction not in DIRECTIONS:
            raise ConfigurationError(f"got direction={direction!r}, expected one of {', '.join(DIRECTIONS)}")
        self.order = list(range(count))[:: -1 if direction == "deep_first" else 1]
        if schedule is None:
            self.schedule = _regular_schedule(every_epochs, stages_per_step, start_epoch, count)
        else:
            self.schedule = given_schedule(schedule, count)
        if not isinstance(lr_decay, (int, float)) or isinstance(lr_decay, bool) or not 0 < lr_decay <= 1:
            raise ConfigurationError(f"got lr_decay={lr_decay!r}, expected a factor in (0, 1]")
        if lr_decay != 1 and optimizer is None:
            raise ConfigurationError(f"got lr_decay={lr_decay} and no optimizer, expected the one whose rates decay")
        self._check_distributed(network)
        if optimizer is not None:
            self._check_optimizer(optimizer)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Freeze what the epoch that starts wants frozen."""
        self.apply(engine.state.epoch)

    def free_stages(self, epoch: int) -> tuple[int, ...]:
        """The stages that are free in an epoch (counted from 1), ascending."""
        free = max((count for start, count in self.schedule if start <= epoch), default=0)
        return tuple(sorted(self.order[:free]))

    def apply(self, epoch: int) -> None:
        """Set the network and the optimizer as the epoch (counted from 1) wants them; repeating it changes nothing."""
        free = self.free_stages(epoch)
        frozen = tuple(number for number in sorted(self.order) if number not in free)
        if frozen != self.unet.frozen_stages:
            self.unet.set_frozen_stages(frozen)
            self.logger.info("epoch %d: encoder stages %s free, %s frozen", epoch, list(free), list(frozen))
        if self.lr_decay != 1 and self.optimizer is not None:
            self._decay_rates(self.optimizer)

    def _start(self, engine: Engine) -> None:
        self.logger = engine.logger
        last = engine.state.max_epochs
        if last is not None and len(self.free_stages(last)) < len(self.order):
            self.logger.warning(
                "training ends at epoch %d with only encoder stages %s free; all are free from epoch %s on: train "
                "longer or pass a shorter schedule",
                last,
                list(self.free_stages(last)),
                next((start for start, count in self.schedule if count == len(self.order)), "(never)"),
            )
        # A checkpoint loader may set the epoch only after this; the epoch's own start settles it.
        self.apply(engine.state.epoch + 1)

    def _decay_rates(self, optimizer: Optimizer) -> None:
        """Bring each stage's rates to their factor, from whatever factor the groups hold by now."""
        for group, stage in self._stage_groups(optimizer):
            factor = self.lr_decay ** self._step_of(stage)
            change = factor / group.get(FACTOR_KEY, 1.0)
            if change != 1:
                for key in RATE_KEYS:
                    if key in group:
                        group[key] = group[key] * change
            group[FACTOR_KEY] = factor

    def _step_of(self, stage: int) -> int:
        """At which step, from 0, the stage is freed; one that never is counts as one more."""
        counts = sorted({count for _, count in self.schedule if count > 0})
        position = self.order.index(stage)
        return next((step for step, count in enumerate(counts) if position < count), len(counts))

    def _stage_groups(self, optimizer: Optimizer) -> list[tuple[dict[str, Any], int]]:
        """The optimizer's groups that hold encoder parameters, each with its stage."""
        stage_of = self._stage_of_parameter()
        found = []
        for group in optimizer.param_groups:
            stages = {stage_of.get(id(parameter)) for parameter in group["params"]}
            if stages == {None} or not stages:
                continue
            if len(stages) > 1:
                raise ConfigurationError(
                    f"got lr_decay={self.lr_decay} and an optimizer whose group {group.get('name', '(no name)')!r} "
                    "mixes encoder stages, expected one stage to a group; build it with parameter_groups(network)"
                )
            found.append((group, stages.pop()))
        return found  # type: ignore[return-value]

    def _stage_of_parameter(self) -> dict[int, int]:
        stages = self.unet.encoder_stages()
        return {id(parameter): number for number, stage in enumerate(stages) for parameter in stage.parameters()}

    def _check_optimizer(self, optimizer: Optimizer) -> None:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        missing = len(self._stage_of_parameter().keys() - held)
        if missing:
            raise ConfigurationError(
                f"got an optimizer that lacks {counted(missing, 'encoder parameter')}: a stage freed later would not "
                "train; build it with parameter_groups(network), on the network this handler gets"
            )
        if self.lr_decay != 1:
            self._stage_groups(optimizer)

    def _check_distributed(self, network: nn.Module) -> None:
        if not isinstance(network, DistributedDataParallel):
            return
        if not network.find_unused_parameters:
            raise ConfigurationError(
                "got a DistributedDataParallel without find_unused_parameters=True: it would wait for the gradients "
                "of frozen stages; build it with find_unused_parameters=True"
            )
        if self.unet.frozen_stages:
            raise ConfigurationError(
                f"got a DistributedDataParallel whose encoder stages {list(self.unet.frozen_stages)} are frozen "
                "already, expected none: stages frozen when it was built would drift apart between ranks once freed"
            )


def _regular_schedule(every: int, per_step: int, start: int | None, count: int) -> list[tuple[int, int]]:
    if not all(map(_is_whole, (every, per_step, 1 if start is None else start))):
        raise ConfigurationError(
            f"got every_epochs={every!r}, stages_per_step={per_step!r}, start_epoch={start!r}, expected whole numbers "
            "from 1"
        )
    first = every + 1 if start is None else start
    steps = -(-count // per_step)
    return [(first + step * every, min(count, (step + 1) * per_step)) for step in range(steps)]


def given_schedule(schedule: Mapping[Any, int], count: int) -> list[tuple[int, int]]:
    """Return a schedule of unfreezing as pairs of epoch and number of free stages, in the order of the epochs.

    Args:
        schedule: see `ProgressiveUnfreezeHandler`.
        count: stages of the encoder.

    Raises:
        ConfigurationError: it is no schedule, or frees fewer stages than before.
    """
    given = list(schedule.items()) if isinstance(schedule, Mapping) else []
    # keys of JSON are text
    epochs = [int(epoch) if isinstance(epoch, str) and epoch.isdecimal() else epoch for epoch, _ in given]
    free = [number for _, number in given]
    pairs = []
    if all(map(_is_whole, epochs)) and all(_is_whole(number, least=0) for number in free):
        pairs = sorted(zip(epochs, free))
    steps = [number for _, number in pairs]
    if not pairs or len(set(epochs)) < len(epochs) or steps != sorted(steps) or steps[-1] > count:
        raise ConfigurationError(
            f"got schedule={schedule!r}, expected epochs (from 1) to numbers of free stages (0 to {count}) that never "
            "fall, such as {6: 1, 11: 3, 16: 5}"
        )
    return pairs


def _is_whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
