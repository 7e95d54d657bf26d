"""The stages of preprocessing as flat `Compose` objects, one function per stage.

MONAI Label and MONAI Deploy look for `LoadImaged` and `SaveImaged` at the top level of a pipeline: nothing is nested.
Training, validation and inference share `_to_network_grid`, so what a model was trained on is what it is given later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import (
    CastToTyped,
    Compose,
    Invertd,
    Lambdad,
    Orientationd,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    ScaleIntensityRanged,
    Transform,
)

from monai_vggunet.data.model_spec import AXCODES, ModelSpec, Preprocessing
from monai_vggunet.data.switches import is_on
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.transforms.augment import ForegroundSlicesd, RandColorJitterd, RandGrayscaled, RandSliceSamplesd
from monai_vggunet.transforms.clicks import KeepClicksd
from monai_vggunet.transforms.in_plane_spacing import InPlaneSpacingd
from monai_vggunet.transforms.intensity import NormalizeImageNetd, SliceChannels
from monai_vggunet.transforms.loading import loading_steps
from monai_vggunet.transforms.percentiles import ScaleByPercentilesd
from monai_vggunet.transforms.pictures import PICTURE_RANGE
from monai_vggunet.transforms.sides import sided_class
from monai_vggunet.transforms.volume_checks import CheckModalityd, CheckPlaned

__all__ = [
    "inference_postprocessing",
    "inference_preprocessing",
    "network_grid_preprocessing",
    "slice_channels",
    "training_preprocessing",
]

# MR has no unit: the volume's own percentiles become 0 and 1, so that a few bright vessels do not set the scale.
MR_PERCENTILES = (0.5, 99.5)


def inference_preprocessing(
    spec: ModelSpec,
    with_label: bool = False,
    reslice: bool | str = False,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
) -> Compose:
    """From a case to the volume the network's slices are cut from, as `spec` says; the label stays on its grid.

    Args:
        spec: of the model.
        with_label: also load `label`, for evaluation on the source's grid.
        reslice: segment a series of another plane across its slices; see `is_on`.
        reader_options: arguments of `DicomSeriesReader`.
        segments: of labels in DICOM SEG or RTSTRUCT, see `loading`.

    Returns:
        An invertible pipeline: `image` `(C, rows, columns, slices)`.
    """
    return Compose(
        [
            *_loading_for(spec, with_label, reader_options, segments),
            CheckModalityd("image", spec.preprocessing.modality),
            *([KeepClicksd("image", spec.class_names)] if spec.preprocessing.n_guidance else []),
            *_to_network_grid(spec.preprocessing, False, is_on(reslice, "reslice"), can_reslice=not with_label),
        ]
    )


def network_grid_preprocessing(
    spec: ModelSpec,
    with_label: bool = True,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
) -> Compose:
    """From a case to the volume that slices are cut from, its label on the same grid by nearest neighbor.

    For what compares slices rather than masks: calibration and checks of exports. Arguments as of
    `inference_preprocessing`.
    """
    return Compose(
        [
            *_loading_for(spec, with_label, reader_options, segments),
            CheckModalityd("image", spec.preprocessing.modality),
            *_to_network_grid(spec.preprocessing, with_label),
        ]
    )


def training_preprocessing(
    spec: ModelSpec,
    num_samples: int = 2,
    foreground_share: float = 0.67,
    affine_prob: float = 0.8,
    rotate_degrees: float = 15.0,
    scale_range: float = 0.15,
    flip_prob: float = 0.5,
    elastic_prob: float = 0.0,
    gamma_prob: float = 0.2,
    jitter_prob: float = 0.5,
    jitter_strength: float = 0.2,
    noise_prob: float = 0.15,
    smooth_prob: float = 0.1,
    gray_prob: float = 0.2,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
) -> Compose:
    """From a case to augmented slices: everything before the first random transform can be cached.

    Spatial draws are shared by image and label (label by nearest neighbor), intensity changes the image alone.

    Args:
        spec: of the model to be trained.
        num_samples: slices drawn per case and batch.
        foreground_share: share of them with foreground.
        affine_prob, rotate_degrees, scale_range: rotation within plus or minus the angle, zoom within `1 ± range`.
        flip_prob: mirror columns, the patient's left and right; none where class names tell the sides apart.
        elastic_prob, gamma_prob, jitter_prob, noise_prob, smooth_prob, gray_prob: of the other draws; gray and color
            jitter's hue act on color pictures alone.
        jitter_strength: brightness and contrast change within `1 ± jitter_strength`.
        reader_options: arguments of `DicomSeriesReader`.
        segments: of labels in DICOM SEG or RTSTRUCT, see `loading`.

    Returns:
        A pipeline that gives a list of `num_samples` dictionaries: `image` `(C', h, w)` normalized, and `label`
        `(1, h, w)`.
    """
    prep = spec.preprocessing
    both, nearest = ("image", "label"), ("bilinear", "nearest")
    sided = sided_class(spec.class_names) is not None
    random_transforms: list[Transform] = [
        RandSliceSamplesd(slice_channels(prep), prep.roi_size, num_samples, foreground_share),
        RandAffined(
            both,
            prob=affine_prob,
            spatial_size=prep.roi_size,
            rotate_range=math.radians(rotate_degrees),
            scale_range=(scale_range, scale_range),
            translate_range=tuple(size * 0.05 for size in prep.roi_size),
            mode=nearest,
            padding_mode="zeros",
        ),
        RandFlipd(both, prob=0.0 if sided else flip_prob, spatial_axis=1),
    ]
    if elastic_prob > 0:
        random_transforms.append(
            Rand2DElasticd(
                both, spacing=(24, 24), magnitude_range=(1, 3), prob=elastic_prob, mode=nearest, padding_mode="zeros"
            )
        )
    color = prep.channels == "color"
    random_transforms += [
        RandGrayscaled("image", prob=gray_prob if color else 0.0),
        RandColorJitterd("image", jitter_prob, jitter_strength, jitter_strength, color=color),
        RandAdjustContrastd("image", prob=gamma_prob, gamma=(0.7, 1.5)),
        RandGaussianSmoothd("image", prob=smooth_prob, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0)),
        RandGaussianNoised("image", prob=noise_prob, std=0.05),
        NormalizeImageNetd("image"),
    ]
    return Compose(
        [
            *_loading_for(spec, True, reader_options, segments),
            *_to_network_grid(prep, with_label=True),
            CastToTyped(both, dtype=(torch.float16, torch.uint8)),  # half of float32's bytes in the cache
            ForegroundSlicesd("label"),
            *random_transforms,
        ]
    )


def inference_postprocessing(preprocessing: Compose, *last: Transform, nearest: bool = True) -> Compose:
    """Bring the predicted label map back onto the image's own grid, then whatever follows (such as saving).

    Args:
        preprocessing: the pipeline whose steps are undone.
        last: transforms on the key `pred` that come after, for instance `SaveImaged`.
        nearest: False interpolates linearly and rounds, for probabilities 0..255 as float.
    """
    invert = Invertd("pred", transform=preprocessing, orig_keys="image", nearest_interp=nearest, to_tensor=True)
    rounding = [] if nearest else [Lambdad("pred", torch.round)]
    return Compose([invert, *rounding, CastToTyped("pred", dtype=torch.uint8), *last])


def slice_channels(preprocessing: Preprocessing) -> SliceChannels:
    """Return how this model's slices become channels; one object serves training and inference."""
    return SliceChannels(preprocessing.channels, preprocessing.windows, preprocessing.n_neighbors)


def _loading_for(
    spec: ModelSpec, with_label: bool, options: Mapping[str, Any] | None, segments: Mapping[str, int] | None
) -> list[Transform]:
    """Load what the model takes: images with its number of channels, labels with its classes."""
    channels, n_classes = spec.preprocessing.image_channels, len(spec.class_names)
    return loading_steps(with_label, channels, n_classes, options, segments, spec.label_values)


def _to_network_grid(
    prep: Preprocessing, with_label: bool, reslice: bool = False, can_reslice: bool = False
) -> list[Transform]:
    """Reorient, bring to the in-plane spacing and scale intensities: the deterministic part, invertible on images."""
    keys = ("image", "label") if with_label else ("image",)
    if prep.plane in AXCODES:
        steps: list[Transform] = [
            CheckPlaned("image", prep.plane, reslice, can_reslice),
            Orientationd(keys, axcodes=AXCODES[prep.plane], labels=None),
            InPlaneSpacingd(keys, prep.spacing_mm, mode=("bilinear", "nearest")[: len(keys)]),
        ]
    else:
        steps = []
    if prep.modality == PICTURE:
        steps.append(ScaleIntensityRanged("image", *PICTURE_RANGE, b_min=0.0, b_max=1.0, clip=True))
    elif prep.modality != "CT":  # which stays in HU: `SliceChannels` takes its windows
        steps.append(ScaleByPercentilesd("image", *MR_PERCENTILES))
    return steps
