"""From a volume's own units to the network's input: slices as channels, windows, ImageNet normalization."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor

from monai_vggunet.errors import ConfigurationError

__all__ = [
    "NormalizeImageNet",
    "NormalizeImageNetd",
    "SliceChannels",
    "denormalize_imagenet",
]

# Mean and standard deviation of ImageNet's photographs in 0..1, RGB, as torchvision's weights expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SliceChannels(Transform):
    """Cut slices out of a volume and make their channels, each value scaled to 0..1.

    Args:
        channels: `window` (one window, three times), `windows` (one channel per window), `neighbors` (each slice
            with those before and after it; at the ends the last slice repeats) or `color` (channels as they are).
        windows: intensity ranges `(low, high)` in the volume's units; values outside are clipped.
        n_neighbors: slices per input in the mode `neighbors`, odd; the slice itself is in the middle.

    Example:
        >>> import torch
        >>> SliceChannels("neighbors", [(0.0, 100.0)])(torch.rand(1, 8, 8, 5) * 100, [0, 4]).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, channels: str, windows: Sequence[Sequence[float]], n_neighbors: int = 3) -> None:
        if channels not in ("window", "windows", "neighbors", "color"):
            raise ConfigurationError(f"channels is {channels!r}; expected window, windows, neighbors or color")
        if channels == "window" and len(windows) != 1:
            raise ConfigurationError(f"channels='window' takes one window, got {len(windows)}; use channels='windows'")
        self.channels = channels
        self.windows = [(float(low), float(high)) for low, high in windows]
        self.n_neighbors = n_neighbors if channels == "neighbors" else 1

    def __call__(self, volume: torch.Tensor, indices: Sequence[int]) -> torch.Tensor:
        """Return `(len(indices), C', X, Y)` in 0..1 as float32 from a volume `(C, X, Y, Z)`; indices count along Z."""
        wanted = torch.as_tensor(list(indices), dtype=torch.long)
        reach = self.n_neighbors // 2
        around = wanted[:, None] + torch.arange(-reach, reach + 1)
        picked = volume[..., around.clamp(0, volume.shape[-1] - 1)]  # (C, X, Y, n, neighbors)
        slices = picked.permute(3, 4, 0, 1, 2).flatten(1, 2).float()
        scaled = [((slices - low) / (high - low)).clamp_(0.0, 1.0) for low, high in self.windows]
        if self.channels == "window":
            scaled = scaled * 3
        return torch.cat(scaled, dim=1)


class NormalizeImageNet(Transform):
    """Subtract ImageNet's mean and divide by its standard deviation, channel by channel.

    Three channels take those of red, green and blue; any other number takes their average in every channel, so that
    no channel is treated unlike another.
    """

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Normalize `(C, X, Y)` or `(B, C, X, Y)` values in 0..1."""
        mean, std = _statistics(image)
        return convert_to_tensor(image, track_meta=False).sub(mean).div_(std)


class NormalizeImageNetd(MapTransform):
    """Dictionary version of `NormalizeImageNet`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.normalize = NormalizeImageNet()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize every key."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.normalize(d[key])
        return d


def denormalize_imagenet(image: torch.Tensor) -> torch.Tensor:
    """Undo `NormalizeImageNet`: back to values in 0..1."""
    mean, std = _statistics(image)
    return image * std + mean


def _statistics(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    channels = image.shape[-3]
    tables = (IMAGENET_MEAN, IMAGENET_STD)
    if channels != 3:
        tables = tuple((sum(table) / 3,) * channels for table in tables)  # type: ignore[assignment]
    mean, std = (torch.tensor(table, dtype=image.dtype, device=image.device)[:, None, None] for table in tables)
    return mean, std


NormalizeImageNetD = NormalizeImageNetDict = NormalizeImageNetd
