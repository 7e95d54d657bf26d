"""Learning-rate schedules by name, one step an epoch, and the handler that steps them and logs every group's rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import LrScheduleHandler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from monai_vggunet.errors import ConfigurationError

__all__ = ["EpochCurveLR", "LearningRateHandler", "make_lr_schedule"]

SCHEDULES = ("plateau", "cosine", "onecycle", "constant")
# the source article's, on the validation Dice
PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 3
# torch's OneCycleLR: the first 30 % climb from 1/25 of the rate, the rest falls to 1/250000
ONECYCLE_WARMUP_SHARE = 0.3
ONECYCLE_START = 1 / 25
ONECYCLE_END = ONECYCLE_START / 1e4


def make_lr_schedule(
    name: str,
    optimizer: Optimizer,
    max_epochs: int,
    warmup_epochs: int | None = None,
    factor: float = PLATEAU_FACTOR,
    patience: int = PLATEAU_PATIENCE,
    min_lr: float = 0.0,
) -> LRScheduler:
    """Make a torch schedule that is stepped once an epoch and scales every group's rate alike.

    Args:
        name: "plateau" multiplies the rates by `factor` when the validation Dice has not risen for more than
            `patience` validations; "cosine" lowers them to zero along half a cosine; "onecycle" raises them from
            1/25 and then lowers them along cosines (the optimizer's momentum stays); "constant" leaves them.
        optimizer: its groups' rates are the highest of the schedule.
        max_epochs: epochs of the whole training.
        warmup_epochs: epochs of linear rise at the start ("onecycle": of the rising part); None for 0 ("onecycle":
            30 % of the epochs). "plateau" has none.
        factor: of "plateau".
        patience: of "plateau", in validations.
        min_lr: of "plateau", the rate below which none falls.

    Returns:
        A schedule whose `state_dict` holds plain values only, so that a checkpoint loads with ``weights_only=True``.

    Raises:
        ConfigurationError: for an unknown name or epochs that make no schedule.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        >>> schedule = make_lr_schedule("cosine", optimizer, max_epochs=100, warmup_epochs=5)
        >>> [round(rate, 3) for rate in schedule.get_last_lr()]
        [0.05]

    Paper: Loshchilov and Hutter, "SGDR", 2017, https://arxiv.org/abs/1608.03983 (cosine); Smith and Topin,
    "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120 (one-cycle).
    """
    if name not in SCHEDULES:
        raise ConfigurationError(f"got the learning-rate schedule {name!r}, expected one of {', '.join(SCHEDULES)}")
    if max_epochs < 1:
        raise ConfigurationError(f"got max_epochs={max_epochs}, expected 1 or more")
    if name == "plateau":
        if warmup_epochs:
            raise ConfigurationError(
                f"got warmup_epochs={warmup_epochs} for 'plateau', which has none; take 'cosine' or 'onecycle'"
            )
        return ReduceLROnPlateau(optimizer, mode="max", factor=factor, patience=patience, min_lr=min_lr)
    if warmup_epochs is None:
        warmup_epochs = round(ONECYCLE_WARMUP_SHARE * max_epochs) if name == "onecycle" else 0
    if not 0 <= warmup_epochs < max_epochs:
        raise ConfigurationError(
            f"got warmup_epochs={warmup_epochs}, expected 0 or more and fewer than max_epochs={max_epochs}"
        )
    return EpochCurveLR(optimizer, _curve(name, max_epochs, warmup_epochs), spans_run=name != "constant")


class EpochCurveLR(LambdaLR):
    """A rate that is each group's initial rate times a function of the number of epochs done.

    torch's `LambdaLR`, but the initial rate is read from the group (entry "initial_lr") at every step, so that
    `ProgressiveUnfreezeHandler`'s rate decay, which scales that entry, is kept.

    Args:
        optimizer: the optimizer.
        curve: epochs done (from 0) to the factor.
        spans_run: whether the curve depends on the length of the run.
    """

    def __init__(self, optimizer: Optimizer, curve: Callable[[int], float], spans_run: bool = False) -> None:
        self.spans_run = spans_run
        super().__init__(optimizer, curve)

    def get_lr(self) -> list[Any]:
        """Return the rates of the epoch that comes."""
        return [
            group["initial_lr"] * curve(self.last_epoch)
            for group, curve in zip(self.optimizer.param_groups, self.lr_lambdas)
        ]


class LearningRateHandler(LrScheduleHandler):
    """Ignite handler that steps a schedule once an epoch and logs every parameter group's rate by its name.

    In the list of handlers it stands before the checkpoint saver, so that a checkpoint holds the coming epoch's
    rates; with an `evaluator`, the same goes for the handler that runs the validation.

    Args:
        lr_scheduler: of `make_lr_schedule`, or any torch schedule meant for epochs. Put it into the checkpoint.
        metric: for `ReduceLROnPlateau`: name of the validation metric, such as "val_mean_dice". It is stepped after
            each validation, so with one validation every five epochs patience counts in fives.
        evaluator: whose ``state.metrics`` hold `metric`; None when the handler is attached to the evaluator itself.
        name: of the logger; None for the engine's.

    Raises:
        ConfigurationError: for a plateau schedule without a metric; while running, when the metric does not exist.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> trainer, evaluator = Engine(lambda *_: None), Engine(lambda *_: None)
        >>> LearningRateHandler(make_lr_schedule("plateau", optimizer, 100), "val_mean_dice", evaluator).attach(trainer)
    """

    def __init__(
        self,
        lr_scheduler: LRScheduler,
        metric: str | None = None,
        evaluator: Engine | None = None,
        name: str | None = None,
    ) -> None:
        self.metric = metric if isinstance(lr_scheduler, ReduceLROnPlateau) else None
        self.evaluator = evaluator
        if isinstance(lr_scheduler, ReduceLROnPlateau) and metric is None:
            raise ConfigurationError(
                "got a plateau schedule without a metric to watch; pass metric='val_mean_dice' and the evaluator"
            )
        super().__init__(lr_scheduler, print_lr=False, name=name, step_transform=self._step_arguments)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, or, for a plateau schedule without `evaluator`, to the evaluator."""
        if self._name is None:
            self.logger = engine.logger
        watched = engine if self.metric is None or self.evaluator is None else self.evaluator
        watched.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Step the schedule and log the rates."""
        super().__call__(engine)
        self.logger.info("learning rates: %s", ", ".join(f"{name} {lr:.3g}" for name, lr in self.rates().items()))

    def rates(self) -> dict[str, float]:
        """Each parameter group's name, or number, and its learning rate now."""
        groups = self.lr_scheduler.optimizer.param_groups
        return {str(group.get("name", number)): float(group["lr"]) for number, group in enumerate(groups)}

    def _step_arguments(self, engine: Engine) -> tuple[float, ...]:
        """What the schedule's step wants: nothing, or the metric of the validation that has just ended."""
        if self.metric is None:
            return ()
        metrics = engine.state.metrics
        if self.metric not in metrics:
            raise ConfigurationError(
                f"got no validation metric {self.metric!r} for the plateau schedule, expected one of "
                f"{', '.join(metrics) or '(none computed yet)'}; name one of these"
            )
        return (float(metrics[self.metric]),)


def _curve(name: str, max_epochs: int, warmup_epochs: int) -> Callable[[int], float]:
    """The factor on the rates as a function of the epochs done."""

    def factor(done: int) -> float:
        if done < warmup_epochs:
            if name == "onecycle":
                return _cosine(ONECYCLE_START, 1.0, done / warmup_epochs)
            return (done + 1) / (warmup_epochs + 1)
        if name == "constant":
            return 1.0
        # a run prolonged past its end stays at the end instead of climbing again
        share = min(1.0, (done - warmup_epochs) / (max_epochs - warmup_epochs))
        return _cosine(1.0, ONECYCLE_END if name == "onecycle" else 0.0, share)

    return factor


def _cosine(begin: float, end: float, share: float) -> float:
    """From `begin` (share 0) to `end` (share 1) along half a cosine."""
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2
