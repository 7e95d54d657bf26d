"""Clicks as a user would make them, for training: where the network errs, and sometimes where they insist."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from monai.utils import CommonKeys
from scipy import ndimage

from monai_vggunet.data import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.training.shading import shaded
from monai_vggunet.transforms.clicks import RADIUS_PIXELS, REACH, draw_clicks

__all__ = ["SimulatedClicks", "largest_error", "simulated_clicks"]

INNER_SHARE = 0.5  # a click lands where the distance to the error's border is at least this share of the largest
OVERRIDE_RADIUS = (2, 6)  # pixels, smallest and one more than the largest
SHADED_SHARE_MR = 0.3  # of the samples with clicks; see docs/results.md
DRIFT = 0.35  # what the error's place has moved from slice to slice: standard deviation, pixels per pixel of distance


class SimulatedClicks:
    """Iteration of MONAI's `SupervisedTrainer` (`iteration_update`) that adds channels of clicks to the image.

    A share of the samples gets none: there the network learns to segment by itself. For the others the network
    predicts, a click is set into the largest region where it is wrong, and it predicts again with this click, one to
    `max_clicks` times; then it learns with all of them. Such clicks alone are soon ignored, because they never say
    what the image does not. So a share of the samples gets an override first: a click of any class at any place, and
    the disc around it gets this class in the label. A share of the clicks is drawn as seen from a nearby slice: a
    weaker spot, not quite where the error is, and for an override a smaller disc. A good network errs by a voxel at
    the border, and would never see clicks in gross errors: a share of the samples with clicks may be shaded, so that
    it fails there at first. Draws are torch's, which follow seed and epoch.

    Args:
        n_classes: number of classes K, background included.
        automatic_share: share of samples without any click, 0 to 1.
        override_share: share of the others with an override.
        max_clicks: most clicks per sample.
        near_share: share of the clicks that are made in a slice nearby.
        shaded_share: share of the samples with clicks that are shaded; for MR, whose intensities mean nothing.

    Raises:
        ConfigurationError: a share or number out of range.

    Source: the clicks in the largest error follow Sakinis et al., "Interactive segmentation of medical images through
    fully convolutional neural networks", 2019, https://arxiv.org/abs/1903.08205.
    """

    def __init__(
        self,
        n_classes: int,
        automatic_share: float = 0.3,
        override_share: float = 0.5,
        max_clicks: int = 3,
        near_share: float = 0.5,
        shaded_share: float = 0.0,
    ) -> None:
        shares = (automatic_share, override_share, near_share, shaded_share)
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ConfigurationError(f"shares are {', '.join(map(str, shares))}; expected 0 to 1")
        if max_clicks < 1:
            raise ConfigurationError(f"max_clicks is {max_clicks}; expected 1 or more")
        self.n_classes, self.max_clicks = n_classes, max_clicks
        self.automatic_share, self.override_share, self.near_share, self.shaded_share = shares

    def __call__(self, engine: Engine, batchdata: dict[str, Any]) -> Any:
        """Add the clicks and run the trainer's own iteration."""
        trainer: Any = engine
        image = batchdata[CommonKeys.IMAGE].to(trainer.state.device)
        label = batchdata[CommonKeys.LABEL].to(trainer.state.device)
        guidance = image.new_zeros((image.shape[0], self.n_classes, *image.shape[-2:]))
        clicked = torch.nonzero(torch.rand(len(image)) >= self.automatic_share)[:, 0].tolist()
        if clicked:
            image, label = image.clone(), label.clone()
            for sample in clicked:
                if self.shaded_share and torch.rand(()) < self.shaded_share:
                    image[sample] = shaded(image[sample])
                if torch.rand(()) < self.override_share:
                    self._override(label[sample, 0], guidance[sample])
            for _ in range(int(torch.randint(1, self.max_clicks + 1, ()))):
                found = self._found(trainer, torch.cat([image, guidance], 1)[clicked])
                for sample, classes in zip(clicked, found):
                    self._click(classes, label[sample, 0], guidance[sample])
        batch = {**batchdata, CommonKeys.IMAGE: torch.cat([image, guidance], 1), CommonKeys.LABEL: label}
        return trainer._iteration(trainer, batch)

    def _found(self, trainer: Any, inputs: torch.Tensor) -> np.ndarray:
        """Return the classes `(n, H, W)` that the network finds now, without touching its batch-norm statistics."""
        trainer.network.eval()
        with torch.no_grad():
            classes = trainer.inferer(inputs, trainer.network).argmax(1)
        trainer.network.train()
        return classes.cpu().numpy()

    def _click(self, found: np.ndarray, label: torch.Tensor, guidance: torch.Tensor) -> None:
        truth = label.cpu().numpy()
        error = largest_error(found != truth)
        if error is None:
            return
        depth = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
        inner = np.argwhere(depth >= INNER_SHARE * depth.max())
        row, column = inner[int(torch.randint(len(inner), ()))]
        distance = self._distance(REACH * RADIUS_PIXELS)
        moved = DRIFT * distance * torch.randn(2)
        self._draw(guidance, int(truth[row, column]), row + float(moved[0]), column + float(moved[1]), distance)

    def _override(self, label: torch.Tensor, guidance: torch.Tensor) -> None:
        """Change the label, `(H, W)`, in a disc to another class, and click there: a ball's section by this slice."""
        row, column = (int(torch.randint(n, ())) for n in label.shape)
        others = [number for number in range(self.n_classes) if number != int(label[row, column])]
        number, radius = others[int(torch.randint(len(others), ()))], int(torch.randint(*OVERRIDE_RADIUS, ()))
        distance = self._distance(min(radius, REACH * RADIUS_PIXELS))
        rows, columns = (torch.arange(n, device=label.device) for n in label.shape)
        away = (rows[:, None] - row) ** 2 + (columns[None] - column) ** 2
        label[away <= radius**2 - distance**2] = number
        self._draw(guidance, number, row, column, distance)

    def _distance(self, most: float) -> float:
        """Draw how far off, in pixels, the slice lies in which a click is made."""
        return most * float(torch.rand(())) if torch.rand(()) < self.near_share else 0.0

    def _draw(self, guidance: torch.Tensor, number: int, row: float, column: float, distance: float) -> None:
        click = np.array([[number, row, column, 0]])
        spot = draw_clicks(click, [1], guidance.shape[-2:], self.n_classes, step=distance)
        torch.maximum(guidance, spot[0].to(guidance), out=guidance)


def simulated_clicks(spec: ModelSpec) -> SimulatedClicks | None:
    """Return the trainer's iteration for a model that takes clicks; None, MONAI's own, for one that takes none.

    Slices are shaded on MR alone: in CT brightness is the tissue.
    """
    preprocessing = spec.preprocessing
    if not preprocessing.n_guidance:
        return None
    return SimulatedClicks(
        len(spec.class_names), shaded_share=SHADED_SHARE_MR if preprocessing.modality == "MR" else 0.0
    )


def largest_error(wrong: np.ndarray) -> np.ndarray | None:
    """Return the largest connected region of a mask, in two or three dimensions; None when it is empty."""
    regions, count = ndimage.label(wrong)
    if not count:
        return None
    return regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
