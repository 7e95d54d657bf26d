"""Dice, HD95 in mm and surface Dice of label maps, per class and case, with one rule for absent classes."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import CumulativeIterationMetric, compute_hausdorff_distance, compute_surface_dice

from monai_vggunet.data import Datalist
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.training.history import History
from monai_vggunet.training.processes import gathered_rows

__all__ = [
    "HD95_MM",
    "LabelDice",
    "LabelHausdorff95",
    "LabelMapMetric",
    "LabelSurfaceDice",
    "MEAN_DICE",
    "MetricsLogHandler",
    "SURFACE_DICE",
    "class_means",
    "dice_metric",
    "shown_metric",
    "surface_metrics",
]

# What the figures of validation cases are called, in logs and files as in TensorBoard.
MEAN_DICE, HD95_MM, SURFACE_DICE = "val_mean_dice", "val_hd95_mm", "val_surface_dice"
HD95_PX = "val_hd95_px"  # of pictures, where people read it; in files it has the one name
SURFACE_TOLERANCE_MM = 1.0  # surfaces closer than this count as the same

_log = logging.getLogger(__name__)


class LabelMapMetric(CumulativeIterationMetric):
    """A figure per case and foreground class, from label maps `(1, X, Y, Z)` and the spacing their affine states.

    A class absent in both truth and prediction is left out (NaN); absent in one alone it counts, as `worst` says.

    Args:
        n_classes: number of classes, background included.
        n_cases: how many cases are judged; needed under `torchrun`, see `gathered_rows`.
    """

    def __init__(self, n_classes: int, n_cases: int | None = None) -> None:
        super().__init__()
        self.n_classes, self.n_cases = n_classes, n_cases

    @abstractmethod
    def compare(self, predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> float:
        """Compare two masks `(X, Y, Z)`, both with at least one voxel."""

    @abstractmethod
    def worst(self, shape: Sequence[int], spacing_mm: tuple[float, ...]) -> float:
        """Return the figure of a class that one of the two lacks."""

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        assert y is not None
        cases = zip(_plain(y_pred), _plain(y), _spacings_mm(y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # MONAI's surface metrics warn of an argument of their own
            results = [self._per_class(predicted[0], truth[0], spacing) for predicted, truth, spacing in cases]
        return torch.tensor(results, dtype=torch.float32)

    def _per_class(self, predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> list[float]:
        values = []
        for number in range(1, self.n_classes):
            a, b = predicted == number, truth == number
            n_present = int(a.any()) + int(b.any())
            if n_present == 0:
                values.append(float("nan"))
            elif n_present == 1:
                values.append(self.worst(truth.shape, spacing_mm))
            else:
                values.append(self.compare(a, b, spacing_mm))
        return values

    def get_buffer(self) -> Any:
        """Return the figures of all cases, `(cases, classes)`, in their order; None when none was judged."""
        gathered = super().get_buffer()
        return gathered if gathered is None or self.n_cases is None else gathered_rows(gathered, self.n_cases)

    def aggregate(self) -> torch.Tensor:
        """Return the mean over classes of each class' mean over cases; NaN when nothing was there to compare."""
        return class_means(self.get_buffer()).nanmean()


class LabelDice(LabelMapMetric):
    """Dice coefficient 2|A∩B| / (|A|+|B|); 0 for a class that one of the two lacks."""

    def compare(self, predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> float:
        """Return the Dice coefficient of two masks."""
        return float(2.0 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))

    def worst(self, shape: Sequence[int], spacing_mm: tuple[float, ...]) -> float:
        """Return 0."""
        return 0.0


class LabelHausdorff95(LabelMapMetric):
    """95th percentile of the distances between surfaces, in mm; the volume's diagonal for a class one of them lacks.

    Distances follow the spacing along the array's axes; on a sheared grid (gantry tilt) they are approximate.
    """

    def compare(self, predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> float:
        """Return the symmetric HD95 of two masks in mm."""
        masks, spacing = _squeezed(predicted, truth, spacing_mm)
        return float(compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing))

    def worst(self, shape: Sequence[int], spacing_mm: tuple[float, ...]) -> float:
        """Return the volume's diagonal in mm."""
        return float(np.linalg.norm(np.array(shape) * np.array(spacing_mm)))


class LabelSurfaceDice(LabelMapMetric):
    """Share of both surfaces that lies within a tolerance in mm of the other; 0 for a class that one of them lacks.

    Args:
        n_classes: number of classes, background included.
        tolerance_mm: distance that still counts as agreement.
        n_cases: see `LabelMapMetric`.
    """

    def __init__(self, n_classes: int, tolerance_mm: float = SURFACE_TOLERANCE_MM, n_cases: int | None = None) -> None:
        super().__init__(n_classes, n_cases)
        self.tolerance_mm = tolerance_mm

    def compare(self, predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> float:
        """Return the normalized surface Dice of two masks."""
        masks, spacing = _squeezed(predicted, truth, spacing_mm)
        return float(compute_surface_dice(*masks, [self.tolerance_mm], include_background=True, spacing=spacing))

    def worst(self, shape: Sequence[int], spacing_mm: tuple[float, ...]) -> float:
        """Return 0."""
        return 0.0


def dice_metric(n_classes: int, n_cases: int | None = None) -> dict[str, IgniteMetricHandler]:
    """Return `val_mean_dice`, the key metric of an evaluator whose `pred` is a label map; see `LabelMapMetric`."""
    return {MEAN_DICE: _handler(LabelDice(n_classes, n_cases))}


def surface_metrics(
    n_classes: int, tolerance_mm: float = SURFACE_TOLERANCE_MM, n_cases: int | None = None
) -> dict[str, IgniteMetricHandler]:
    """Return `val_hd95_mm` and `val_surface_dice`, for an evaluator's `additional_metrics`; see `LabelSurfaceDice`."""
    return {
        HD95_MM: _handler(LabelHausdorff95(n_classes, n_cases)),
        SURFACE_DICE: _handler(LabelSurfaceDice(n_classes, tolerance_mm, n_cases)),
    }


def class_means(details: torch.Tensor) -> torch.Tensor:
    """Return each class' mean over the cases `(cases, classes)` that have a figure for it; NaN where none has."""
    return torch.as_tensor(details).float().nanmean(dim=0)


def shown_metric(name: str, modality: str) -> str:
    """Return what a figure is called where people read it: a picture states no size, so its distances are in pixels.

    Args:
        name: of the metric.
        modality: of the model, as `Preprocessing` has it.

    Example:
        >>> shown_metric("val_hd95_mm", "PICTURE"), shown_metric("val_hd95_mm", "CT")
        ('val_hd95_px', 'val_hd95_mm')
    """
    return HD95_PX if name == HD95_MM and modality == PICTURE else name


class MetricsLogHandler:
    """Log an evaluator's figures per class when it is done, one line per metric.

    Args:
        class_names: background first.
        datalist: whose validation cases are judged; the lines say if the model is trained on some of them.
        modality: of the model; see `shown_metric`.
    """

    def __init__(self, class_names: Sequence[str], datalist: Datalist | None = None, modality: str = "") -> None:
        self.class_names, self.modality = list(class_names)[1:], modality
        note = History().of_cases(datalist).note if datalist is not None else ""
        self.note = f"; {note}" if note else ""

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the lines."""
        for name, value in engine.state.metrics.items():
            details = engine.state.metric_details.get(name)
            if details is not None and engine.state.rank == 0:
                per_class = [f"{c} {m:.3f}" for c, m in zip(self.class_names, class_means(details).tolist())]
                shown = shown_metric(name, self.modality)
                _log.info("%s %.4f (%s%s)", shown, value, ", ".join(per_class), self.note)


def _handler(metric: LabelMapMetric) -> IgniteMetricHandler:
    return IgniteMetricHandler(metric, output_transform=from_engine(["pred", "label"]))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def _spacings_mm(batch: torch.Tensor) -> list[tuple[float, ...]]:
    """Return the spacing of each case of a batch `(B, 1, X, Y, Z)`; 1 mm where there is no affine."""
    n_cases, n_axes = batch.shape[0], batch.ndim - 2
    if not isinstance(batch, MetaTensor):
        return [(1.0,) * n_axes] * n_cases
    # one affine for all, or (after collation) one each
    affines = np.broadcast_to(batch.affine.cpu().numpy(), (n_cases, 4, 4))
    return [tuple(np.linalg.norm(affine[:3, :3], axis=0)[:n_axes].tolist()) for affine in affines]


def _squeezed(predicted: torch.Tensor, truth: torch.Tensor, spacing_mm: tuple[float, ...]) -> Any:
    """Return both masks as `(1, 1, X, Y[, Z])` and the spacing, without an axis of one voxel (MONAI's surfaces)."""
    single = [axis for axis, size in enumerate(truth.shape) if size == 1][: truth.ndim - 2]  # two axes must remain
    keep = [axis for axis in range(truth.ndim) if axis not in single]
    shape = [truth.shape[axis] for axis in keep]
    masks = [mask.reshape(shape)[None, None].float() for mask in (predicted, truth)]
    return masks, [spacing_mm[axis] for axis in keep]
