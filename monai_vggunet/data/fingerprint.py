"""What is measured on a training set: plane, spacing, sizes, intensities and classes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.case_names import Case
from monai_vggunet.data.datalist import Datalist
from monai_vggunet.data.image_digest import image_digest
from monai_vggunet.data.label_values import CLASS_NUMBERS, decided_values, listed_values, values_in
from monai_vggunet.data.modality import modality_name
from monai_vggunet.data.model_classes import unnamed_classes
from monai_vggunet.data.model_limits import MOST_CLASSES
from monai_vggunet.data.model_spec import AXCODES, PICTURE_PLANE, ModelSpec
from monai_vggunet.data.padded_voxels import is_measured
from monai_vggunet.data.stack_axis import PLANES, acquisition_plane, spacing_of
from monai_vggunet.errors import DatasetError, LabelContentError, ModelMismatchError
from monai_vggunet.file_kinds import PICTURE, PICTURE_ENDINGS, ends_with
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
        label_values: value of each class in the masks; DICOM labels have none.
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
    label_values: tuple[int, ...] = ()
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
        inside = f"intensity inside the classes: {low:.4g} to {high:.4g}, median {middle:.4g}"
        size = f"up to {self.in_plane_size[0]} x {self.in_plane_size[1]} pixels"
        if self.modality == PICTURE:
            shares = (100 * count / sum(self.class_voxels) for count in self.class_voxels[1:])
            classes = ", ".join(f"{name} {share:.3g} %" for name, share in zip(self.class_names[1:], shares))
            return (
                f"{counted(self.n_cases, 'training picture')}, {size}\n{inside}\nclasses (share of pixels): {classes}"
            )
        classes = ", ".join(
            f"{name} {volume[1]:.3g} mL" for name, volume in zip(self.class_names[1:], self.class_volumes_ml[1:])
        )
        rows, columns = self.in_plane_spacing_mm
        return (
            f"{counted(self.n_cases, 'training case')}, {self.modality}, {self.plane} slices\n"
            f"in-plane spacing {rows:.3g} x {columns:.3g} mm, slices every {self.slice_spacing_mm:.3g} mm, "
            f"{self.n_slices} per case, {size}\n"
            f"{inside}\n"
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
        load: from a case to `image` `(C, X, Y, Z)` and `label` `(1, X, Y, Z)` with RAS affines, one grid; the label
            holds class numbers where the case or a DICOM label states them, else the mask's own values.
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
    values = _label_values(datalist, training)
    names = list(datalist.class_names) or unnamed_classes(len(values))
    checked = [
        _by_class(case, one, values, _origin(datalist))
        for case, one in zip([*datalist.training, *validation], measured)
    ]
    contents = {case["case"]: one["content"] for case, one in zip([*datalist.training, *validation], measured)}
    return replace(_summarized(checked[: len(training)], names, values), contents=contents)


def _measure(data: Mapping[str, Any], stated_modality: str) -> dict[str, Any]:
    """Return one case's spacing, size, plane, intensities and voxels per value of its label."""
    image, label = data["image"], data["label"]
    affine = np.asarray(image.affine, dtype=np.float64)
    values, classes = image.as_tensor(), label.as_tensor()[0].long()
    modality = _modality(image, stated_modality)
    plane = PICTURE_PLANE if modality == PICTURE else acquisition_plane(affine, image.meta)
    spacing, shape = _as_plane(plane, affine, image.shape[1:])
    voxels, intensities = _counted(classes), values.float().mean(0)
    chosen = classes != 0 if 0 in voxels else torch.ones_like(classes, dtype=torch.bool)
    measured = is_measured(intensities, image.meta)
    chosen = chosen if measured is None else chosen & measured
    inside = classes[chosen]
    step = max(1, len(inside) // FOREGROUND_SAMPLES)
    return {
        "modality": modality,
        "channels": int(image.shape[0]),
        "plane": plane,
        "spacing": spacing,
        "shape": shape,
        "sampled": (inside[::step].numpy(), intensities[chosen][::step].numpy()),
        "values": voxels,
        "numbered": bool(label.meta.get(CLASS_NUMBERS) or values_in(data)),
        "voxel_ml": abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0,
        "content": image_digest(image),
    }


def _counted(label: torch.Tensor) -> dict[int, int]:
    """Return how many voxels hold each value; linear for class numbers, of which volumes have hundreds of millions."""
    low, high = map(int, label.aminmax())
    if low >= 0 and high < MOST_CLASSES:
        counts = torch.bincount(label.flatten()).tolist()
        return {value: count for value, count in enumerate(counts) if count}
    values, counts = torch.unique(label, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


def _label_values(datalist: Datalist, training: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Return the value of each class: as the data set states it, else as the masks of the training cases hold it."""
    of_case = next((values_in(case) for case in datalist.training if values_in(case)), ())
    stated = tuple(value for value in of_case if value is not None)
    if stated or datalist.class_names:
        return stated or tuple(range(len(datalist.class_names)))
    masks: Counter[int] = Counter()
    for one in training:
        masks.update({} if one["numbered"] else one["values"])
    return decided_values(masks)


def _by_class(case: Case, one: Mapping[str, Any], values: tuple[int, ...], origin: str) -> dict[str, Any]:
    """Return what was measured on a case, its voxels by class, and its intensities inside the classes.

    Raises:
        LabelContentError: the label holds a value that is no class.
    """
    plain = tuple(range(len(values)))
    own = plain if one["numbered"] else values
    unknown = {value: count for value, count in one["values"].items() if value not in own}
    if unknown:
        found = f"class {max(unknown)}" if own == plain else f"the values {listed_values(unknown)}"
        known = f"0 to {len(own) - 1}" if own == plain else ", ".join(map(str, own))
        raise LabelContentError(
            f"case {case['case']}: the label holds {found}, but there are {len(own)} classes ({known}, {origin}): name "
            "the others in dataset.json, or correct the label"
        )
    classes, intensities = one["sampled"]
    voxels = [one["values"].get(value, 0) for value in own]
    return {**one, "voxels": voxels, "foreground": intensities[classes != own[0]]}


def _origin(datalist: Datalist) -> str:
    return "as dataset.json names them" if datalist.class_names else "as the training labels hold them"


def _summarized(measured: Sequence[Mapping[str, Any]], names: Sequence[str], values: tuple[int, ...]) -> Fingerprint:
    voxels = np.array([m["voxels"] for m in measured])
    foreground = np.concatenate([m["foreground"] for m in measured])
    if not len(foreground):
        labels = counted(len(measured), "training label")
        raise DatasetError(f"no class has a voxel in {labels}; expected some: draw the classes, or correct the labels")
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
        label_values=values,
    )


def _volume_range(volumes_ml: np.ndarray) -> tuple[float, float, float]:
    present = volumes_ml[volumes_ml > 0]
    if not len(present):
        return 0.0, 0.0, 0.0
    return tuple(round(float(f(present)), 4) for f in (np.min, np.median, np.max))  # type: ignore[return-value]


def _modality(image: Any, stated: str) -> str:
    if ends_with(str(image.meta.get("filename_or_obj", "")), PICTURE_ENDINGS):
        return PICTURE
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
