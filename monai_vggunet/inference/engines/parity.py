"""Whether an engine gives the labels that the float32 network gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from monai_vggunet.errors import ExportError
from monai_vggunet.inference.engines.engine import Engine, Logits

__all__ = ["TOLERANCES", "CheckedEngine", "Parity", "Tolerance", "compare_labels"]


@dataclass(frozen=True)
class Tolerance:
    """What rounding may do.

    Attributes:
        share: of pixels that may get another label.
        margin: how much less probable, to the float32 network, the other label may be than its own.
    """

    share: float
    margin: float


# Rounding moves a label only where two classes are nearly as probable. int8 is judged by the Dice it costs instead.
TOLERANCES = {"fp32": Tolerance(1e-3, 0.01), "bf16": Tolerance(0.01, 0.25), "fp16": Tolerance(2e-3, 0.05)}


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes:
        n_slices: slices compared.
        n_pixels: pixels compared.
        differing: share of pixels with another label.
        largest_margin: over those pixels, how much less probable the other label is to the float32 network.
        finite: whether all logits are finite.
    """

    n_slices: int
    n_pixels: int
    differing: float
    largest_margin: float
    finite: bool = True

    def within(self, tolerance: Tolerance) -> bool:
        """Whether the engine may be used."""
        return self.finite and self.differing <= tolerance.share and self.largest_margin <= tolerance.margin

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for a record."""
        return asdict(self)

    def require(self, name: str, tolerance: Tolerance) -> None:
        """Refuse an engine that does not give the network's labels.

        Raises:
            ExportError: with what differs.
        """
        if not self.within(tolerance):
            what = (
                f"{self.differing:.3%} of {self.n_pixels} pixels in {self.n_slices} slices have another label, by a "
                f"probability of up to {self.largest_margin:.3g}"
            )
            raise ExportError(
                f"{name} does not give the labels of the float32 network: {what if self.finite else 'NaN or infinity'} "
                f"(allowed: {tolerance.share:.2%}, {tolerance.margin:g}); use engine torch, and please report it"
            )


def compare_labels(engine: Logits, reference: Logits, batches: Iterable[torch.Tensor]) -> Parity:
    """Run both on the same slices.

    Args:
        engine, reference: from slices `(n, C, H, W)` to logits `(n, K, H, W)`; the reference in float32.
        batches: of slices; at least one.
    """
    slices = pixels = differing = 0
    margin, finite = 0.0, True
    for batch in batches:
        with torch.inference_mode():
            found, expected = engine(batch).cpu(), reference(batch).cpu()
        finite = finite and bool(torch.isfinite(found).all())
        probabilities, labels = expected.softmax(1), found.argmax(1, keepdim=True)
        behind = (probabilities.amax(1, keepdim=True) - probabilities.gather(1, labels))[
            labels != expected.argmax(1, keepdim=True)
        ]
        slices, pixels, differing = slices + len(batch), pixels + labels.numel(), differing + behind.numel()
        margin = max(margin, float(behind.max()) if behind.numel() else 0.0)
    if not pixels:
        raise ExportError("there is no slice to compare an engine on; pass at least one case")
    return Parity(slices, pixels, differing / pixels, margin, finite)


class CheckedEngine(Engine):
    """An engine without an export's record: it is compared with the network on the first slice it is given.

    Raises:
        ExportError: on the first call, if its labels differ from the network's.
    """

    def __init__(self, engine: Engine, reference: Logits) -> None:
        self.name, self.precision, self.version = engine.name, engine.precision, engine.version
        self._engine = engine
        self._reference: Logits | None = reference

    def run(self, slices: torch.Tensor) -> torch.Tensor:
        """See `Engine.run`."""
        if self._reference is not None:
            parity = compare_labels(self._engine, self._reference, [slices[:1]])
            parity.require(self._engine.description, TOLERANCES[self.precision])
            self._reference = None  # the network's memory is given back
        return self._engine.run(slices)
