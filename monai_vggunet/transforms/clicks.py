"""A user's clicks: from voxels of the stored file to the patient's world, and from there to channels of guidance.

World coordinates stay the same when a volume is reoriented and resampled, so a click cannot land on its other side. A
click is a spot in three dimensions: neighboring slices see it too, more weakly the farther off they lie.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_vggunet.errors import ClickError

__all__ = ["CLICKS", "KeepClicksd", "clicked_slices", "clicks_in_world", "clicks_on_grid", "draw_clicks", "slice_step"]

CLICKS = "clicks"  # key of the image's metadata: (n, 4), class number and RAS mm
RADIUS_PIXELS = 2.0  # standard deviation of a click's spot, in pixels of the network's grid
REACH = 2.0  # so many standard deviations before and behind its slice a click is still seen
NO_CLICKS = ("image", "label")  # keys of a request that never name a class, even if a class is called so
ANY_CLASS = "foreground"  # what clients call the class of a model with a single one


class KeepClicksd(MapTransform):
    """Keep the clicks of a request with its image; use it right after the image is loaded, before reorientation.

    A request holds them per class name, as MONAI Label's clients send them: `{"liver": [[i, j, k], ...], "background":
    [...]}`, voxel indices of the stored file. They become `image.meta["clicks"]`, `(n, 4)`: class number and RAS mm.

    Args:
        keys: the image's key.
        class_names: background first; upper and lower case are the same.

    Raises:
        ClickError: a click lies outside the image, or is not three voxel indices.
    """

    def __init__(self, keys: KeysCollection, class_names: Sequence[str]) -> None:
        super().__init__(keys)
        self.class_names = list(class_names)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the dictionary with the clicks in the image's metadata."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: MetaTensor = d[key]
            image.meta[CLICKS] = clicks_in_world(d, self.class_names, image.affine, image.shape[1:])
        return d


def clicks_in_world(
    request: Mapping[Any, Any], class_names: Sequence[str], affine: Any, shape: Sequence[int]
) -> np.ndarray:
    """Return the clicks of a request, `(n, 4)`: class number and RAS mm.

    Args:
        request: clicks per class name, among whatever else it holds.
        class_names: background first.
        affine: of the stored file, voxel index to RAS mm, `(4, 4)`.
        shape: its three sizes.

    Raises:
        ClickError: a click lies outside the image, or is not three voxel indices.
    """
    numbers = {name.lower(): number for number, name in enumerate(class_names)} | {"background": 0}
    if len(class_names) == 2:
        numbers.setdefault(ANY_CLASS, 1)
    words = {str(key).lower(): value for key, value in request.items() if key not in NO_CLICKS}
    to_world = np.asarray(affine, dtype=np.float64)
    rows = [
        [numbers[word], *(to_world @ [*_voxel(click, word, shape), 1.0])[:3]]
        for word, clicks in words.items()
        if word in numbers
        for click in _listed(clicks, word)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def clicks_on_grid(image: torch.Tensor) -> np.ndarray:
    """Return an image's clicks `(n, 4)` as class number and voxel indices (fractions too) of the grid it is on now.

    Args:
        image: a `MetaTensor`; anything without clicks gives an empty array.

    Raises:
        ClickError: a batch of several volumes with clicks, which belong to one.
    """
    kept = image.meta.get(CLICKS) if isinstance(image, MetaTensor) else None
    clicks = np.zeros((0, 4)) if kept is None else np.asarray(kept, dtype=np.float64).reshape(-1, 4)
    if not isinstance(image, MetaTensor) or not len(clicks):
        return clicks
    if image.ndim == 5 and len(image) > 1:
        raise ClickError(f"clicks belong to one volume, got a batch of {len(image)}: give them one by one")
    used = np.asarray(image.affine, dtype=np.float64).reshape(-1, 4, 4)[0]
    world = np.column_stack([clicks[:, 1:], np.ones(len(clicks))])
    return np.column_stack([clicks[:, :1], (world @ np.linalg.inv(used).T)[:, :3]])


def slice_step(image: torch.Tensor) -> float:
    """Return how far apart the slices of an image `(..., X, Y, Z)` lie, in pixels of its slices.

    Infinite where that is not known, for tensors without metadata: a click is then seen in its own slice alone.
    """
    if not isinstance(image, MetaTensor):
        return math.inf
    steps = np.linalg.norm(np.asarray(image.affine, dtype=np.float64).reshape(-1, 4, 4)[0, :3, :3], axis=0)
    return float(steps[2] / math.sqrt(steps[0] * steps[1]))


def clicked_slices(clicks: np.ndarray, n_slices: int, step: float) -> list[int]:
    """Return the numbers of the slices in which clicks are seen: their own, and those within reach.

    Args:
        clicks: `(n, 4)`: class number, row, column, slice.
        n_slices: of the volume.
        step: from one slice to the next, in pixels, as `slice_step` gives it.
    """
    reach = int(REACH * RADIUS_PIXELS / step)
    own = {min(max(round(index), 0), n_slices - 1) for index in clicks[:, 3]}
    return sorted({k for index in own for k in range(index - reach, index + reach + 1) if 0 <= k < n_slices})


def draw_clicks(
    clicks: np.ndarray,
    indices: Sequence[int],
    size: Sequence[int],
    n_guidance: int,
    device: Any = None,
    step: float = math.inf,
) -> torch.Tensor:
    """Return the guidance of slices, `(n, K, H, W)` in 0..1: a Gaussian spot around each click, in three dimensions.

    Args:
        clicks: `(n, 4)`: class number, row, column, slice.
        indices: numbers of the slices.
        size: rows and columns.
        n_guidance: channels K, one per class.
        device: of the result.
        step: from one slice to the next, in pixels, as `slice_step` gives it.
    """
    maps = torch.zeros((len(indices), n_guidance, *size), device=device)
    for number, row, column, index in clicks:
        flat = None
        for n, k in enumerate(indices):
            distance = 0.0 if k == round(index) else abs(k - round(index)) * step
            if distance <= REACH * RADIUS_PIXELS:
                flat = _spot(row, column, maps.shape[-2:], maps.device) if flat is None else flat
                spot = flat * math.exp(-(distance**2) / (2 * RADIUS_PIXELS**2))
                maps[n, int(number)] = torch.maximum(maps[n, int(number)], spot)
    return maps


def _spot(row: float, column: float, size: Sequence[int], device: Any) -> torch.Tensor:
    rows = torch.arange(size[0], device=device)[:, None] - row
    columns = torch.arange(size[1], device=device)[None] - column
    return torch.exp(-(rows**2 + columns**2) / (2 * RADIUS_PIXELS**2))


def _listed(clicks: Any, name: str) -> Sequence[Any]:
    if clicks is None:
        return []
    if not isinstance(clicks, (list, tuple)):
        raise ClickError(f"the clicks of {name!r} are {clicks!r}; expected a list such as [[10, 20, 5]]")
    return clicks


def _voxel(click: Any, name: str, shape: Sequence[int]) -> list[float]:
    numbers = isinstance(click, (list, tuple)) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in click
    )
    if not numbers or len(click) != 3:
        raise ClickError(f"a click of {name!r} is {click!r}; expected three voxel indices such as [10, 20, 5]")
    if any(not -0.5 <= value < n - 0.5 for value, n in zip(click, shape)):
        raise ClickError(
            f"a click of {name!r} at voxel {list(click)} lies outside the image, whose size is {list(shape)}: click "
            "inside, and send indices of the stored file, not mm"
        )
    return [float(value) for value in click]


KeepClicksD = KeepClicksDict = KeepClicksd
