"""The average of a network's weights over the last iterations, which validates better and more steadily."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

from monai_vggunet.training.processes import share_buffers

__all__ = ["WeightAverageHandler"]


class WeightAverageHandler(EMAHandler):
    """Ignite's exponential moving average, whose warm-up follows the trainer's iteration.

    Its base counts the calls since it was made, and cannot be saved for `weights_only=True`: a resumed run would warm
    up a second time and end with another model than the uninterrupted one. Under `torchrun` the buffers of the network
    are made the same in all processes first, and so are those of the average: see `share_buffers`.

    Args:
        model: the network that is trained.
        momentum: share of the new weights in each iteration's average.
        momentum_warmup: the share in the first iteration; it moves to `momentum` in equal steps.
        warmup_iters: iterations of the warm-up.
        handle_buffers: `update` averages batch-norm statistics too, `copy` takes the last.
    """

    def attach(
        self,
        engine: Engine,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: Any = Events.ITERATION_COMPLETED,
    ) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(event, lambda: share_buffers(self.model))
        super().attach(engine, name, warn_if_exists, event)
        engine.add_event_handler(Events.STARTED, self._catch_up)

    def _catch_up(self, engine: Engine) -> None:
        scheduler = getattr(self, "momentum_scheduler", None)  # there is none without a warm-up
        if scheduler is not None:
            scheduler.event_index = engine.state.iteration
