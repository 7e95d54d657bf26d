"""What a training set says of itself: plane, spacing, intensities, classes; and the plan that follows from it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
import torch
from tqdm import tqdm

from monai_vggunet.data.datalist import Case, Datalist
from monai_vggunet.data.model_spec import AXCODES, PICTURE_PLANE, ModelSpec, Preprocessing
from monai_vggunet.data.stack_axis import PLANES, acquisition_plane, spacing_of
from monai_vggunet.errors import DatasetError, LabelContentError, VGGUNetError

__all__ = ["Fingerprint", "compute_fingerprint", "plan_batch_size", "plan_model"]

FOREGROUND_SAMPLES = 10_000  # voxels per case: enough for percentiles to within a few HU
FOREGROUND_PERCENTILES = (0.5, 50.0, 99.5)
AIR_HU = -500.0  # a volume of unstated modality that reaches below this is a CT in HU
WINDOW_MARGIN = 0.25  # the window reaches this share of the foreground's range beyond it on both sides
MIN_WINDOW_HU = 200.0  # a narrower window would amplify noise and leave no contrast around the organs
# Longest crop side in pixels and pixels per training step. On a CPU about two seconds a step on two cores; on a GPU
# a step of 2**20 pixels takes about 6 GB, which is halved until it fits into half of what is free.
CROP_LIMIT = {"cpu": 160, "cuda": 384}
STEP_PIXELS = {"cpu": 1 << 16, "cuda": 1 << 20}
BYTES_PER_PIXEL = 6 << 10  # activations, gradients included, of one training step in float32
BATCH_RANGE = (4, 64)
CLASS_WEIGHT_RANGE = (0.5, 2.0)  # the Dice term balances classes already: rare ones are favored mildly

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fingerprint:
    """Measured on the training cases alone, stored in `model.json`.

    Attributes:
        n_cases: training cases.
        modality: `CT`, `MR`, ... or `PICTURE`.
        plane: of acquisition, the most frequent one.
        in_plane_spacing_mm: median (rows, columns), the plane standing as radiologists see it.
        slice_spacing_mm: median distance of slices.
        in_plane_size: 95th percentile of the slices' size (rows, columns) at the median spacing.
        n_slices: median number of slices.
        image_channels: 1, or 3 for color pictures.
        foreground_percentiles: intensity percentiles 0.5, 50 and 99.5 inside the labeled classes.
        class_names: background first.
        class_voxels: voxels of each class over all cases.
        class_volumes_ml: smallest, median and largest volume per class over the cases that hold it.
    """

    n_cases: int
    modality: str
    plane: str
    in_plane_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    in_plane_size: tuple[int, int]
    n_slices: int
    image_channels: int
    foreground_percentiles: tuple[float, float, float]
    class_names: tuple[str, ...]
    class_voxels: tuple[int, ...]
    class_volumes_ml: tuple[tuple[float, float, float], ...]

    @property
    def class_weights(self) -> list[float]:
        """Weights of the cross-entropy: 1 for background, the rarer a foreground class, the more (square root)."""
        voxels = np.array(self.class_voxels[1:], dtype=float)
        weights = np.sqrt(voxels.mean() / np.maximum(voxels, 1.0))
        return [1.0, *(round(float(w), 3) for w in weights.clip(*CLASS_WEIGHT_RANGE))]

    def summary(self) -> str:
        """Return what a user wants to see before training, on a few lines."""
        low, middle, high = self.foreground_percentiles
        classes = ", ".join(
            f"{name} {volume[1]:.3g} mL" for name, volume in zip(self.class_names[1:], self.class_volumes_ml[1:])
        )
        rows, columns = self.in_plane_spacing_mm
        return (
            f"{self.n_cases} training cases, {self.modality}, {self.plane} slices\n"
            f"in-plane spacing {rows:.3g} x {columns:.3g} mm, slices every {self.slice_spacing_mm:.3g} mm, "
            f"{self.n_slices} per case, up to {self.in_plane_size[0]} x {self.in_plane_size[1]} pixels\n"
            f"intensity inside the classes: {low:.4g} to {high:.4g}, median {middle:.4g}\n"
            f"classes (median volume): {classes}"
        )


def compute_fingerprint(
    datalist: Datalist, load: Callable[[Case], Mapping[str, Any]], modality: str | None = None
) -> Fingerprint:
    """Read every case once: training cases are measured, validation cases are checked.

    Args:
        datalist: the split.
        load: from a case to `image` `(C, X, Y, Z)` and `label` `(1, X, Y, Z)` with RAS affines, one grid.
        modality: overrides what the data set and the images say.

    Raises:
        VGGUNetError: of the kind that fits, for the first case that cannot be used.
        DatasetError: cases of several modalities or numbers of channels, or no labeled voxel at all.
    """
    measured = []
    validation = [case for case in datalist.validation if case not in datalist.training]
    for number, case in enumerate(tqdm([*datalist.training, *validation], desc="reading the data set", unit="case")):
        findings = _measure(_loaded(load, case), modality or datalist.modality)
        if number < len(datalist.training):
            measured.append(findings)
    for what in ("modality", "channels"):
        found = sorted({str(m[what]) for m in measured})
        if len(found) > 1:
            raise DatasetError(
                f"the training cases differ in {what}: {', '.join(found)}; train one model per {what}, or state the "
                "modality in dataset.json"
            )
    return _summarized(measured, datalist.class_names)


def plan_model(
    fingerprint: Fingerprint,
    device: torch.device | str = "cpu",
    overrides: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Decide preprocessing and network from the fingerprint; what the user states wins.

    Args:
        fingerprint: of the training set.
        device: sets how large a crop may be.
        overrides: attributes of `Preprocessing` by name.
        network: arguments of `VGG16UNet` other than its channels.
    """
    kind = torch.device(device).type
    limit = CROP_LIMIT.get(kind, CROP_LIMIT["cpu"])
    modality = fingerprint.modality
    preprocessing = Preprocessing(
        modality=modality,
        plane=fingerprint.plane,
        spacing_mm=fingerprint.in_plane_spacing_mm,
        roi_size=tuple(min(limit, _next_multiple(size)) for size in fingerprint.in_plane_size),  # type: ignore[arg-type]
        windows=(_window(fingerprint),),
        channels=_channel_mode(fingerprint),
        image_channels=fingerprint.image_channels,
    ).overridden(overrides)
    arguments = {"batch_norm": True, "decoder_channels": [256, 128, 64, 32], "upsample": "deconv", "dropout": 0.0}
    arguments |= dict(network or {})
    arguments |= {"spatial_dims": 2, "in_channels": preprocessing.in_channels}
    spec = ModelSpec(
        network={**arguments, "out_channels": len(fingerprint.class_names)},
        preprocessing=preprocessing,
        class_names=list(fingerprint.class_names),
        fingerprint=asdict(fingerprint),
    )
    _log.info("fingerprint of the training set\n%s", fingerprint.summary())
    _log.info("planned from it: %s", preprocessing)
    return spec


def plan_batch_size(spec: ModelSpec, device: torch.device | str = "cpu") -> int:
    """Return how many slices of the crop size fit into one training step, an even number within bounds."""
    kind = torch.device(device).type
    pixels = STEP_PIXELS.get(kind, STEP_PIXELS["cpu"])
    free = torch.cuda.mem_get_info()[0] if kind == "cuda" else psutil.virtual_memory().available
    while pixels * BYTES_PER_PIXEL > free / 2 and pixels > 1:
        pixels //= 2
    rows, columns = spec.preprocessing.roi_size
    low, high = BATCH_RANGE
    return min(high, max(low, pixels // (rows * columns) // 2 * 2))


def _loaded(load: Callable[[Case], Mapping[str, Any]], case: Case) -> Mapping[str, Any]:
    try:
        return load(case)
    except RuntimeError as error:  # MONAI's Compose wraps what a transform raises
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, VGGUNetError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise type(cause)(f"case {case['case']}: {cause}") from error
        raise DatasetError(f"case {case['case']} cannot be read: {str(error).splitlines()[0]}") from error


def _measure(data: Mapping[str, Any], stated_modality: str) -> dict[str, Any]:
    """Return one case's spacing, size, plane, intensities and voxels per class."""
    image, label = data["image"], data["label"]
    affine = np.asarray(image.affine, dtype=np.float64)
    values, classes = image.as_tensor(), label.as_tensor()[0].long()
    modality = _modality(image, stated_modality)
    plane = PICTURE_PLANE if modality == "PICTURE" else acquisition_plane(affine, image.meta)
    spacing, shape = _as_plane(plane, affine, image.shape[1:])
    inside = values.float().mean(0)[classes > 0]
    step = max(1, len(inside) // FOREGROUND_SAMPLES)
    counts = torch.bincount(classes.flatten(), minlength=2)
    return {
        "modality": modality,
        "channels": int(image.shape[0]),
        "plane": plane,
        "spacing": spacing,
        "shape": shape,
        "foreground": inside[::step].numpy(),
        "voxels": counts.numpy(),
        "voxel_ml": abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0,
    }


def _summarized(measured: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> Fingerprint:
    n_classes = max(len(m["voxels"]) for m in measured)
    if class_names and n_classes > len(class_names):
        raise LabelContentError(
            f"labels hold class {n_classes - 1}, dataset.json names {len(class_names)} classes (0 to "
            f"{len(class_names) - 1}): name the others, or mend the labels"
        )
    names = list(class_names) or ["background", *(f"class {number}" for number in range(1, n_classes))]
    voxels = np.array([np.pad(m["voxels"], (0, len(names) - len(m["voxels"]))) for m in measured])
    foreground = np.concatenate([m["foreground"] for m in measured])
    if not len(foreground):
        raise DatasetError(f"none of the {len(measured)} training labels holds a voxel other than 0 (background)")
    volumes = voxels * np.array([[m["voxel_ml"]] for m in measured])
    spacing = np.median([m["spacing"] for m in measured], axis=0)
    sizes = np.array([m["shape"][:2] * m["spacing"][:2] / spacing[:2] for m in measured])
    planes = Counter(m["plane"] for m in measured)
    if len(planes) > 1:
        _log.warning("training cases of several planes: %s; the most frequent is taken", dict(planes))
    return Fingerprint(
        n_cases=len(measured),
        modality=measured[0]["modality"],
        plane=planes.most_common(1)[0][0],
        in_plane_spacing_mm=tuple(round(float(s), 6) for s in spacing[:2]),  # type: ignore[arg-type]
        slice_spacing_mm=round(float(spacing[2]), 6),
        in_plane_size=tuple(int(np.ceil(s - 1e-6)) for s in np.percentile(sizes, 95, axis=0)),  # type: ignore[arg-type]
        n_slices=int(np.median([m["shape"][2] for m in measured])),
        image_channels=measured[0]["channels"],
        foreground_percentiles=tuple(  # type: ignore[arg-type]
            round(float(p), 4) for p in np.percentile(foreground, FOREGROUND_PERCENTILES)
        ),
        class_names=tuple(names),
        class_voxels=tuple(int(v) for v in voxels.sum(axis=0)),
        class_volumes_ml=tuple(_volume_range(volumes[:, number]) for number in range(len(names))),
    )


def _volume_range(volumes_ml: np.ndarray) -> tuple[float, float, float]:
    present = volumes_ml[volumes_ml > 0]
    if not len(present):
        return 0.0, 0.0, 0.0
    return tuple(round(float(f(present)), 4) for f in (np.min, np.median, np.max))  # type: ignore[return-value]


def _modality(image: Any, stated: str) -> str:
    if str(image.meta.get("filename_or_obj", "")).lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")):
        return "PICTURE"
    found = str(image.meta.get("modality") or stated or "")
    if found:
        return found
    return "CT" if float(image.min()) < AIR_HU else "MR"


def _as_plane(plane: str, affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return spacing and size in the order rows, columns, slices of a plane."""
    if plane == PICTURE_PLANE:
        return np.ones(3), np.array(shape, dtype=float)
    from nibabel.orientations import io_orientation

    array_axis_of = {PLANES[int(axis)]: index for index, axis in enumerate(io_orientation(affine)[:, 0])}
    axis_of_letter = {"L": "sagittal", "R": "sagittal", "P": "coronal", "A": "coronal", "I": "axial", "S": "axial"}
    order = [array_axis_of[axis_of_letter[letter]] for letter in AXCODES[plane]]
    return spacing_of(affine)[order], np.array(shape, dtype=float)[order]


def _window(fingerprint: Fingerprint) -> tuple[float, float]:
    """Return the intensity range the network sees: around the foreground's values for CT, 0..1 for the others."""
    if fingerprint.modality != "CT":
        return 0.0, 1.0
    low, _, high = fingerprint.foreground_percentiles
    margin = max(WINDOW_MARGIN * (high - low), (MIN_WINDOW_HU - (high - low)) / 2)
    return round(low - margin), round(high + margin)


def _channel_mode(fingerprint: Fingerprint) -> str:
    if fingerprint.image_channels == 3:
        return "color"
    return "neighbors" if fingerprint.n_slices > 1 else "window"


def _next_multiple(size: int, of: int = 16) -> int:
    return max(2 * of, -(-size // of) * of)
