"""What every output is made of: one case's mask on its source's grid, its classes, and the model that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_vggunet.errors import LabelContentError

__all__ = ["CaseMask", "Classes"]

MAX_CLASSES = 65535  # SegmentNumber and a label map's pixels are 16 bits wide (PS3.3 C.8.20.2)


@dataclass(frozen=True)
class Classes:
    """The meaning of a mask's numbers.

    Attributes:
        names: background first, `names[n]` is value n.
        codes: for each name `scheme`, `value`, `meaning`, perhaps `category` and `modifier`; a name may have no code.

    Raises:
        LabelContentError: more classes than DICOM can number.
    """

    names: Sequence[str]
    codes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.names) > MAX_CLASSES + 1:
            raise LabelContentError(
                f"{len(self.names) - 1} classes, but a segment's number goes from 1 to {MAX_CLASSES}: merge some"
            )

    @classmethod
    def of_labels(cls, labels: np.ndarray) -> Classes:
        """Return names made of the numbers alone, for a mask of which nothing else is known."""
        return cls(["background", *(f"class {n}" for n in range(1, max(1, int(labels.max(initial=0))) + 1))])

    def require_names_for(self, labels: np.ndarray) -> None:
        """Make sure that every value of a mask has a name.

        Raises:
            LabelContentError: a value has no name, or is not a whole number.
        """
        if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
            raise LabelContentError("the mask holds fractions; expected class numbers: reduce class scores to labels")
        low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
        if low < 0 or high >= len(self.names):
            raise LabelContentError(
                f"the mask holds the class number {low if low < 0 else high}, but only 0 to {len(self.names) - 1} have "
                f"a name ({', '.join(list(self.names)[:10])}): give a name for every class"
            )


@dataclass(frozen=True)
class CaseMask:
    """One case as it is written.

    Attributes:
        labels: `(X, Y, Z)`, or `(X, Y)` of a picture: class numbers on the source's grid.
        affine: voxel index to RAS mm, `(4, 4)`.
        meta: the source's metadata, as its reader gave it.
        classes: what the numbers mean.
        model_sha256: hash of the model's weights; empty when unknown.
        probabilities: `(K, X, Y, Z)` with the background first, uint8 0..255 or float 0..1; None if not computed.
        disagreement: percentage of test-time views that contradict the mask, shaped as `labels`; None with one view.
    """

    labels: np.ndarray
    affine: np.ndarray
    meta: Mapping[str, Any]
    classes: Classes
    model_sha256: str = ""
    probabilities: np.ndarray | None = None
    disagreement: np.ndarray | None = None
