"""Augmentation in levels: what is drawn, how often and how far, and the transforms that do it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from monai.transforms import (
    Rand2DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandSimulateLowResolutiond,
    Transform,
)

from monai_vggunet.data.model_spec import ModelSpec
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.transforms.augment import RandColorJitterd, RandEvenZoomd, RandGrayscaled, RandSliceSamplesd
from monai_vggunet.transforms.intensity import SliceChannels
from monai_vggunet.transforms.sides import sided_class

__all__ = ["LEVELS", "Augmentation", "augmentation_of", "random_steps"]

ALL_AROUND = 180.0  # degrees
ELASTIC_GRID_PIXELS = (24, 24)
ELASTIC_PIXELS = (1, 3)


@dataclass(frozen=True)
class Augmentation:
    """How often and how far the slices of a training are changed. Probabilities are per slice, from 0 to 1.

    Attributes:
        foreground_share: share of the slices drawn around foreground; the others are drawn anywhere.
        crop_margin: how much larger than the network's input a crop is, so that a rotation shows no empty corner.
        affine_prob: of rotation, zoom and shift, which are drawn together.
        rotate_degrees: the rotation lies within plus or minus this angle, for images that show a body upright.
        rotate_degrees_picture: the same for pictures.
        zoom: factors between which the image is shrunk (below 1) or enlarged.
        even_zoom: one factor for rows and columns; otherwise each has its own.
        shift: within plus or minus this share of the network's input.
        flip_prob: of a mirroring of columns, the patient's left and right; never where class names tell sides apart.
        flip_rows_prob: of a mirroring of rows, under the same rule.
        elastic_prob: of an elastic deformation.
        gamma_prob: of a gamma correction within `gamma`, and as often of one of the inverted image if `gamma_inverted`.
        jitter_prob: of a change of brightness and contrast within `1 ± jitter_strength`, and of hue in color pictures.
        noise_prob: of Gaussian noise.
        smooth_prob: of a Gaussian blur.
        low_resolution_prob: of shrinking to as little as half the pixels a side, and enlarging again.
        bias_field_prob: of a smooth change of brightness over the image, as of a receive coil; MR alone.
        window_jitter: how far a CT's window moves and widens, as a share of its width.
        gray_prob: of showing a color picture in gray.
        mix_prob: of a batch in which parts of one slice, with their labels, replace those of another: see `BatchMixer`.
    """

    foreground_share: float = 0.67
    crop_margin: float = 1.25
    affine_prob: float = 0.8
    rotate_degrees: float = 15.0
    rotate_degrees_picture: float = 15.0
    zoom: tuple[float, float] = (1 / 1.15, 1 / 0.85)
    even_zoom: bool = False
    shift: float = 0.05
    flip_prob: float = 0.5
    flip_rows_prob: float = 0.0
    elastic_prob: float = 0.0
    gamma_prob: float = 0.2
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_inverted: bool = False
    jitter_prob: float = 0.5
    jitter_strength: float = 0.2
    noise_prob: float = 0.15
    smooth_prob: float = 0.1
    low_resolution_prob: float = 0.0
    bias_field_prob: float = 0.0
    window_jitter: float = 0.0
    gray_prob: float = 0.2
    mix_prob: float = 0.0


LEVELS = {
    # "Build a U-Net from scratch with PyTorch and VGG16's pretrained weights": flip, rotation, gray and color jitter.
    "article": Augmentation(
        affine_prob=1.0, zoom=(1.0, 1.0), shift=0.0, gamma_prob=0.0, noise_prob=0.0, smooth_prob=0.0
    ),
    "standard": Augmentation(),
    # nnU-Net's for two dimensions (Isensee et al., Nature Methods 18, 2021, supplement 4), with bias fields, jittered
    # windows, elastic deformation and mixing.
    "strong": Augmentation(
        foreground_share=0.5,
        crop_margin=1.5,
        rotate_degrees=30.0,
        rotate_degrees_picture=ALL_AROUND,
        zoom=(0.7, 1.4),
        even_zoom=True,
        flip_rows_prob=0.5,
        elastic_prob=0.15,
        gamma_prob=0.3,
        gamma_inverted=True,
        jitter_prob=0.5,
        jitter_strength=0.25,
        noise_prob=0.15,
        smooth_prob=0.2,
        low_resolution_prob=0.25,
        bias_field_prob=0.3,
        window_jitter=0.1,
        mix_prob=0.5,
    ),
}


def augmentation_of(level: str, **own: Any) -> Augmentation:
    """Return a level's augmentation with some attributes of the caller's own.

    Raises:
        ConfigurationError: there is no such level.
    """
    if level not in LEVELS:
        raise ConfigurationError(f"augmentation is {level!r}; expected one of {', '.join(LEVELS)}")
    return replace(LEVELS[level], **own)


def random_steps(level: Augmentation, spec: ModelSpec, channels: SliceChannels, num_samples: int) -> list[Transform]:
    """Return the random transforms, from a case on the network's grid to slices `(C', h, w)` in about 0..1.

    Args:
        level: how often and how far.
        spec: of the model: its input's size, modality and classes.
        channels: how slices become channels.
        num_samples: slices per case.
    """
    prep = spec.preprocessing
    window_jitter = level.window_jitter if prep.modality == "CT" else 0.0
    slices = RandSliceSamplesd(
        channels, prep.roi_size, num_samples, level.foreground_share, level.crop_margin, window_jitter
    )
    return [slices, *_spatial_steps(level, spec), *_intensity_steps(level, spec)]


def _spatial_steps(level: Augmentation, spec: ModelSpec) -> list[Transform]:
    prep, both, mode = spec.preprocessing, ("image", "label"), ("bilinear", "nearest")
    degrees = level.rotate_degrees_picture if prep.modality == PICTURE else level.rotate_degrees
    may_flip = sided_class(spec.class_names) is None
    smallest, largest = level.zoom
    of_grid = (1 / largest - 1, 1 / smallest - 1)  # MONAI scales the grid, in which a larger step shrinks the image
    affine = RandEvenZoomd if level.even_zoom else RandAffined
    steps: list[Transform] = [
        affine(
            both,
            prob=level.affine_prob,
            spatial_size=prep.roi_size,
            rotate_range=math.radians(degrees),
            scale_range=(of_grid, of_grid),
            translate_range=tuple(size * level.shift for size in prep.roi_size),
            mode=mode,
            padding_mode="zeros",
        ),
        RandFlipd(both, prob=level.flip_prob if may_flip else 0.0, spatial_axis=1),
    ]
    if level.flip_rows_prob:
        steps.append(RandFlipd(both, prob=level.flip_rows_prob if may_flip else 0.0, spatial_axis=0))
    if level.elastic_prob:
        steps.append(
            Rand2DElasticd(
                both, ELASTIC_GRID_PIXELS, ELASTIC_PIXELS, prob=level.elastic_prob, mode=mode, padding_mode="zeros"
            )
        )
    return steps


def _intensity_steps(level: Augmentation, spec: ModelSpec) -> list[Transform]:
    prep, strength = spec.preprocessing, level.jitter_strength
    color = prep.channels == "color"
    steps: list[Transform] = [
        RandGrayscaled("image", prob=level.gray_prob if color else 0.0),
        RandColorJitterd("image", level.jitter_prob, strength, strength, color=color),
    ]
    if level.bias_field_prob and prep.modality == "MR":
        steps.append(RandBiasFieldd("image", prob=level.bias_field_prob))
    if level.gamma_inverted:
        steps.append(RandAdjustContrastd("image", prob=level.gamma_prob, gamma=level.gamma, invert_image=True))
    steps += [
        RandAdjustContrastd("image", prob=level.gamma_prob, gamma=level.gamma),
        RandGaussianSmoothd("image", prob=level.smooth_prob, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0)),
    ]
    if level.low_resolution_prob:
        steps.append(RandSimulateLowResolutiond("image", prob=level.low_resolution_prob, upsample_mode="bilinear"))
    return [*steps, RandGaussianNoised("image", prob=level.noise_prob, std=0.05)]
