"""The stages of preprocessing as flat `Compose` objects, one function per stage.

MONAI Label and MONAI Deploy look for `LoadImaged` and `SaveImaged` at the top level of a pipeline: nothing is nested.
Training, validation and inference share `_to_network_grid`, so what a model was trained on is what it is given later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import (
    CastToTyped,
    Compose,
    Invertd,
    Lambdad,
    Orientationd,
    ScaleIntensityRanged,
    Transform,
)

from monai_vggunet.data.model_spec import AXCODES, ModelSpec, Preprocessing
from monai_vggunet.data.switches import is_on
from monai_vggunet.file_kinds import PICTURE
from monai_vggunet.transforms.augment import ForegroundSlicesd
from monai_vggunet.transforms.augmentation import augmentation_of, random_steps
from monai_vggunet.transforms.clicks import KeepClicksd
from monai_vggunet.transforms.in_plane_spacing import InPlaneSpacingd
from monai_vggunet.transforms.intensity import NormalizeImageNetd, SliceChannels
from monai_vggunet.transforms.loading import loading_steps
from monai_vggunet.transforms.percentiles import ScaleByPercentilesd
from monai_vggunet.transforms.pictures import PICTURE_RANGE
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
    augmentation: str = "standard",
    foreground_share: float | None = None,
    affine_prob: float | None = None,
    rotate_degrees: float | None = None,
    zoom: tuple[float, float] | None = None,
    flip_prob: float | None = None,
    elastic_prob: float | None = None,
    gamma_prob: float | None = None,
    jitter_prob: float | None = None,
    jitter_strength: float | None = None,
    noise_prob: float | None = None,
    smooth_prob: float | None = None,
    gray_prob: float | None = None,
    reader_options: Mapping[str, Any] | None = None,
    segments: Mapping[str, int] | None = None,
) -> Compose:
    """From a case to augmented slices: everything before the first random transform can be cached.

    Spatial draws are shared by image and label (label by nearest neighbor), intensity changes the image alone.

    Args:
        spec: of the model to be trained.
        num_samples: slices drawn per case and batch.
        augmentation: `article`, `standard` or `strong`: see `Augmentation`.
        foreground_share, affine_prob, rotate_degrees, zoom, flip_prob: see `Augmentation`; the level's own if None, as
            for the next ones.
        elastic_prob, gamma_prob, jitter_prob, jitter_strength, noise_prob, smooth_prob, gray_prob: see `Augmentation`.
        reader_options: arguments of `DicomSeriesReader`.
        segments: of labels in DICOM SEG or RTSTRUCT, see `loading`.

    Returns:
        A pipeline that gives a list of `num_samples` dictionaries: `image` `(C', h, w)` normalized, and `label`
        `(1, h, w)`.

    Raises:
        ConfigurationError: there is no such level.
    """
    prep = spec.preprocessing
    own = {
        "foreground_share": foreground_share,
        "affine_prob": affine_prob,
        "rotate_degrees": rotate_degrees,
        "zoom": zoom,
        "flip_prob": flip_prob,
        "elastic_prob": elastic_prob,
        "gamma_prob": gamma_prob,
        "jitter_prob": jitter_prob,
        "jitter_strength": jitter_strength,
        "noise_prob": noise_prob,
        "smooth_prob": smooth_prob,
        "gray_prob": gray_prob,
    }
    level = augmentation_of(augmentation, **{name: value for name, value in own.items() if value is not None})
    both = ("image", "label")
    return Compose(
        [
            *_loading_for(spec, True, reader_options, segments),
            *_to_network_grid(prep, with_label=True),
            CastToTyped(both, dtype=(torch.float16, torch.uint8)),  # half of float32's bytes in the cache
            ForegroundSlicesd("label"),
            *random_steps(level, spec, slice_channels(prep), num_samples),
            NormalizeImageNetd("image"),
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
