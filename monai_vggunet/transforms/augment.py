"""What MONAI lacks of the paired augmentation: slices with foreground, an even zoom, color jitter, random gray."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import (
    MapTransform,
    RandAffined,
    RandAffineGrid,
    Randomizable,
    RandomizableTransform,
    Transform,
)
from monai.transforms.traits import MultiSampleTrait
from monai.utils import convert_to_tensor
from torchvision.transforms.v2 import functional as tvf

from monai_vggunet.transforms.intensity import SliceChannels

__all__ = ["ForegroundSlicesd", "RandColorJitterd", "RandEvenZoomd", "RandGrayscaled", "RandSliceSamplesd"]

FOREGROUND_SLICES = "foreground_slices"  # key: class number -> slice indices that hold it
CENTER_REACH = 0.3125  # of the network's input: zoomed by 1.4 and shifted by 0.05, it is still within the half


class ForegroundSlicesd(MapTransform):
    """Note for each foreground class which slices of a label `(1, X, Y, Z)` hold it, for `RandSliceSamplesd`."""

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the entry `foreground_slices` to the dictionary."""
        d = dict(data)
        label = _plain(d[self.first_key(d)])[0]
        classes = [c for c in torch.unique(label).tolist() if c]
        d[FOREGROUND_SLICES] = {int(c): (label == c).any(0).any(0).nonzero()[:, 0].numpy() for c in classes}
        return d


class RandSliceSamplesd(Randomizable, MapTransform, MultiSampleTrait):
    """Draw slices from a volume, cropped around foreground often enough that no batch is without it by accident.

    From `image` `(C, X, Y, Z)` and `label` `(1, X, Y, Z)` come `num_samples` dictionaries with `image` `(C', h, w)`
    in 0..1 and `label` `(1, h, w)`. The first `ceil(foreground_share * num_samples)` samples hold foreground, where
    the volume has any: a class is drawn, a slice that holds it, and a pixel of it around which to crop. The others
    are drawn anywhere. Parts of the crop outside the slice are 0 (the lower end of the window; background).

    Args:
        image_key, label_key: keys of the volume and its label.
        slice_channels: how slices become channels.
        roi_size: the network's input size; crops are larger by a margin for the rotation that follows.
        num_samples: slices per draw.
        foreground_share: share of the samples that hold foreground, 0 to 1.
        crop_margin: the crop is this much larger than the network's input, so that a rotation shows no empty corner.
        window_jitter: each draw moves the windows and changes their widths by up to this share of the width.
    """

    def __init__(
        self,
        slice_channels: SliceChannels,
        roi_size: Sequence[int],
        num_samples: int = 2,
        foreground_share: float = 0.67,
        crop_margin: float = 1.25,
        window_jitter: float = 0.0,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        MapTransform.__init__(self, [image_key, label_key])
        self.slice_channels = slice_channels
        self.roi_size = tuple(roi_size)
        self.crop_size = [math.ceil(size * crop_margin) for size in roi_size]
        self.window_jitter = window_jitter
        self.num_samples, self.foreground_share = num_samples, foreground_share
        self.image_key, self.label_key = image_key, label_key

    def randomize(self, data: Mapping[Hashable, Any]) -> list[tuple[int, tuple[int, int]]]:
        """Draw the slice and the crop's center pixel of every sample."""
        label = _plain(data[self.label_key])[0]
        by_class = data[FOREGROUND_SLICES]
        n_foreground = math.ceil(self.foreground_share * self.num_samples) if by_class else 0
        draws = []
        for sample in range(self.num_samples):
            if sample < n_foreground:
                number = list(by_class)[self.R.randint(len(by_class))]
                index = int(by_class[number][self.R.randint(len(by_class[number]))])
                pixels = (label[..., index] == number).nonzero()
                center = pixels[self.R.randint(len(pixels))].tolist()
            else:
                index = int(self.R.randint(label.shape[-1]))
                center = [int(self.R.randint(size)) for size in label.shape[:2]]
            draws.append((index, self._centered(center, label.shape[:2])))
        return draws

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Return the samples, each with the image's and the label's key alone."""
        image, label = (_plain(data[key]) for key in (self.image_key, self.label_key))
        samples: list[dict[Hashable, Any]] = []
        for index, start in self.randomize(data):
            window = [slice(max(0, a), max(0, a + size)) for a, size in zip(start, self.crop_size)]
            pixels = self._channels()(image[:, window[0], window[1]], [index])[0]
            classes = label[:, window[0], window[1], index]
            samples.append(
                {
                    self.image_key: self._padded(pixels, start, image.shape[1:3]),
                    self.label_key: self._padded(classes.float(), start, image.shape[1:3]),
                }
            )
        return samples

    def _centered(self, center: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
        """Return the crop's first row and column; a slice that fits into the network's input lies in its middle.

        The pixel is never farther from the crop's middle than `CENTER_REACH` of the input, even at the slice's border:
        farther out, the rotation, zoom and shift that follow could move it out of the network's input.
        """
        start = []
        for c, roi, crop, n in zip(center, self.roi_size, self.crop_size, size):
            if n <= roi:
                start.append((n - crop) // 2)
            else:
                reach = int(roi * CENTER_REACH)
                jitter = int(self.R.randint(-reach, reach + 1))  # foreground not always in the middle
                start.append(min(max(reach, c + jitter), n - reach) - crop // 2)
        return start[0], start[1]

    def _channels(self) -> SliceChannels:
        """Return how this draw's slice becomes channels: with windows that are moved and widened a little."""
        if not self.window_jitter:
            return self.slice_channels
        moved = copy(self.slice_channels)
        moved.windows = [self._moved(*window) for window in moved.windows]
        return moved

    def _moved(self, low: float, high: float) -> tuple[float, float]:
        shift, widening = self.R.uniform(-self.window_jitter, self.window_jitter, 2) * (high - low)
        return low + shift - widening / 2, high + shift + widening / 2

    def _padded(self, patch: torch.Tensor, start: tuple[int, int], size: Sequence[int]) -> torch.Tensor:
        before = [max(0, -a) for a in start]
        after = [crop - have - b for crop, have, b in zip(self.crop_size, patch.shape[1:], before)]
        return torch.nn.functional.pad(patch, (before[1], after[1], before[0], after[0]))


class RandEvenZoomd(RandAffined):
    """MONAI's `RandAffined` with one zoom for rows and columns: what is round stays round."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        grid = self.rand_affine.rand_affine_grid
        self.rand_affine.rand_affine_grid = _EvenGrid(
            grid.rotate_range,
            grid.shear_range,
            grid.translate_range,
            grid.scale_range,
            device=grid.device,
            lazy=grid.lazy,
        )


class _EvenGrid(RandAffineGrid):
    """A grid whose first random factor counts for all axes."""

    def randomize(self, data: Any | None = None) -> None:
        super().randomize(data)
        factors: list[float] = self.scale_params or []  # type: ignore[has-type]
        self.scale_params = factors[:1] * len(factors)


class RandGrayscaled(RandomizableTransform, MapTransform):
    """Turn a color image `(3, X, Y)` into its luminance, three times, with probability `prob`.

    Images of another number of channels pass unchanged. Source: torchvision's `RandomGrayscale`.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.2) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key with one draw."""
        d = dict(data)
        self.randomize(None)
        for key in self.key_iterator(d):
            if self._do_transform and d[key].shape[0] == 3:
                d[key] = tvf.rgb_to_grayscale(_plain(d[key]), num_output_channels=3)
        return d


class RandColorJitterd(RandomizableTransform, MapTransform):
    """Change brightness and contrast, and the saturation and hue of color images, with probability `prob`.

    Args:
        keys: images `(C, X, Y)` in 0..1.
        prob: probability.
        brightness, contrast, saturation: factors are drawn from `[1 - value, 1 + value]`.
        hue: shift drawn from `[-hue, hue]`, in turns of the color circle.
        color: whether the three channels are red, green and blue; saturation and hue are left alone if not.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
        hue: float = 0.1,
        color: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.ranges = (brightness, contrast, saturation)
        self.hue, self.color = hue, color
        self.draw = _Jitter(1.0, 1.0, 1.0, 0.0)

    def randomize(self, data: Any = None) -> None:
        """Draw the factors."""
        super().randomize(None)
        if self._do_transform:
            brightness, contrast, saturation = (float(self.R.uniform(1 - r, 1 + r)) for r in self.ranges)
            self.draw = _Jitter(brightness, contrast, saturation, float(self.R.uniform(-self.hue, self.hue)))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Apply to every key with one draw."""
        d = dict(data)
        self.randomize(None)
        for key in self.key_iterator(d):
            if self._do_transform:
                d[key] = self.draw(_plain(d[key]), self.color)
        return d


class _Jitter(Transform):
    """Brightness, contrast, saturation and hue, applied in this order and clipped to 0..1."""

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, image: torch.Tensor, color: bool) -> torch.Tensor:
        mean = image.mean() * self.brightness
        image = ((image * self.brightness - mean) * self.contrast + mean).clamp(0.0, 1.0)
        if color and image.shape[0] == 3:
            image = tvf.adjust_hue(tvf.adjust_saturation(image, self.saturation), self.hue)
        return image


def _plain(data: Any) -> torch.Tensor:
    """Return the tensor without metadata: each operation on a `MetaTensor` copies it, at a higher cost than its own."""
    return convert_to_tensor(data, track_meta=False)  # type: ignore[return-value]


RandSliceSamplesD = RandSliceSamplesDict = RandSliceSamplesd
RandEvenZoomD = RandEvenZoomDict = RandEvenZoomd
RandGrayscaleD = RandGrayscaleDict = RandGrayscaled
RandColorJitterD = RandColorJitterDict = RandColorJitterd
ForegroundSlicesD = ForegroundSlicesDict = ForegroundSlicesd
