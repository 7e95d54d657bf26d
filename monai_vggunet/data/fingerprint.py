"""What is measured on a training set: plane, spacing, sizes, intensities and classes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.case_names import Case
from monai_vggunet.data.datalist import Datalist
from monai_vggunet.data.image_digest import image_digest
from monai_vggunet.data.modality import modality_name
from monai_vggunet.data.model_spec import AXCODES, PICTURE_PLANE, ModelSpec
from monai_vggunet.data.stack_axis import PLANES, acquisition_plane, spacing_of
from monai_vggunet.errors import DatasetError, LabelContentError, ModelMismatchError
from monai_vggunet.file_kinds import PICTURE_ENDINGS, ends_with
from monai_vggunet.names import counted
from monai_vggunet.privacy import clean_text

__all__ = ["Fingerprint", "class_weights", "compute_fingerprint"]

FOREGROUND_SAMPLES = 10_000  # voxels per case: enough for percentiles to within a few HU
FOREGROUND_PERCENTILES = (0.5, 50.0, 99.5)
AIR_HU = -500.0  # a volume of unstated modality that reaches below this is a CT in HU
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
        contents: case -> `image_digest`, of the validation cases too; not stored in `model.json`, see `record_cases`.
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
    contents: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def stored(self) -> dict[str, Any]:
        """Return what `model.json` holds of it."""
        return {name: value for name, value in asdict(self).items() if name != "contents"}

    @property
    def class_weights(self) -> list[float]:
        """Weights of the cross-entropy: 1 for background, the rarer a foreground class, the more (square root)."""
        return _weights_of(self.class_voxels)

    def summary(self) -> str:
        """Return what a user wants to see before training, on a few lines."""
        low, middle, high = self.foreground_percentiles
        classes = ", ".join(
            f"{name} {volume[1]:.3g} mL" for name, volume in zip(self.class_names[1:], self.class_volumes_ml[1:])
        )
        rows, columns = self.in_plane_spacing_mm
        return (
            f"{counted(self.n_cases, 'training case')}, {self.modality}, {self.plane} slices\n"
            f"in-plane spacing {rows:.3g} x {columns:.3g} mm, slices every {self.slice_spacing_mm:.3g} mm, "
            f"{self.n_slices} per case, up to {self.in_plane_size[0]} x {self.in_plane_size[1]} pixels\n"
            f"intensity inside the classes: {low:.4g} to {high:.4g}, median {middle:.4g}\n"
            f"classes (median volume): {classes}"
        )


def class_weights(spec: ModelSpec) -> list[float]:
    """Return the cross-entropy's weight of each class: see `Fingerprint.class_weights`.

    Raises:
        ModelMismatchError: the model's fingerprint does not say how many voxels each class has.
    """
    if len(spec.fingerprint.get("class_voxels", ())) != len(spec.class_names):
        raise ModelMismatchError(
            f"model.json has no fingerprint with the voxels of its {len(spec.class_names)} classes, which training "
            "weighs; restore the file that training wrote"
        )
    return _weights_of(spec.fingerprint["class_voxels"])


def _weights_of(class_voxels: Sequence[int]) -> list[float]:
    voxels = np.array(class_voxels[1:], dtype=float)
    weights = np.sqrt(voxels.mean() / np.maximum(voxels, 1.0))
    return [1.0, *(round(float(w), 3) for w in weights.clip(*CLASS_WEIGHT_RANGE))]


def compute_fingerprint(
    datalist: Datalist, load: Callable[[Case], Mapping[str, Any]], modality: str | None = None
) -> Fingerprint:
    """Read every case once: training cases are measured, validation cases are checked.

    Args:
        datalist: the split.
        load: from a case to `image` `(C, X, Y, Z)` and `label` `(1, X, Y, Z)` with RAS affines, one grid.
        modality: of images that do not state theirs (a DICOM series does); wins over `dataset.json`.

    Raises:
        VGGUNetError: of the kind that fits, for the first case that cannot be used.
        DatasetError: cases of several modalities or numbers of channels, or no labeled voxel at all.
    """
    stated = modality_name(modality or datalist.modality)
    validation = [case for case in datalist.validation if case not in datalist.training]
    measured = [
        _measure(load_case(load, case), stated)
        for case in tqdm([*datalist.training, *validation], desc="reading the data set", unit="case")
    ]
    for what in ("modality", "channels"):
        found = sorted({str(m[what]) for m in measured})
        if len(found) > 1:
            raise DatasetError(
                f"the cases differ in {what}: {', '.join(found)}; train one model per {what}, or state the modality of "
                "NIfTI files in dataset.json"
            )
    training = measured[: len(datalist.training)]
    names = _class_names(datalist.class_names, training)
    for case, findings in zip([*datalist.training, *validation], measured):
        if len(findings["voxels"]) > len(names):
            raise LabelContentError(
                f"case {case['case']}: the label holds class {len(findings['voxels']) - 1}, but there are "
                f"{len(names)} classes (0 to {len(names) - 1}, {_origin(datalist)}): name the others in dataset.json, "
                "or correct the label"
            )
    contents = {case["case"]: found["content"] for case, found in zip([*datalist.training, *validation], measured)}
    return _summarized(training, names, contents)


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
        "content": image_digest(image),
    }


def _class_names(stated: Sequence[str], training: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names that the data set states, else one for every class number of the training labels."""
    n_classes = max(len(m["voxels"]) for m in training)
    return list(stated) or ["background", *(f"class {number}" for number in range(1, n_classes))]


def _origin(datalist: Datalist) -> str:
    return "as dataset.json names them" if datalist.class_names else "as the training labels hold them"


def _summarized(measured: Sequence[Mapping[str, Any]], names: Sequence[str], contents: dict[str, str]) -> Fingerprint:
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
        contents=contents,
    )


def _volume_range(volumes_ml: np.ndarray) -> tuple[float, float, float]:
    present = volumes_ml[volumes_ml > 0]
    if not len(present):
        return 0.0, 0.0, 0.0
    return tuple(round(float(f(present)), 4) for f in (np.min, np.median, np.max))  # type: ignore[return-value]


def _modality(image: Any, stated: str) -> str:
    if ends_with(str(image.meta.get("filename_or_obj", "")), PICTURE_ENDINGS):
        return "PICTURE"
    found = clean_text(str(image.meta.get("modality") or stated or ""))
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
