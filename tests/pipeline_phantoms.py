"""A model's specification and a DICOM case with its label, for the tests of pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, write_series
from monai.data import MetaTensor
from monai.transforms import Orientation
from phantoms import ct_array, label_array, write_nifti

from monai_vggunet.data import ModelSpec, Preprocessing
from monai_vggunet.data.model_spec import AXCODES
from monai_vggunet.transforms import InPlaneSpacing, loading

SHAPE = (20, 16, 6)
SERIES_ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}


def spec_of(names: tuple[str, ...] = ("background", "liver", "spleen"), **changes: Any) -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-100.0, 300.0),)).overridden(changes)
    network = {"in_channels": prep.in_channels, "out_channels": len(names)}
    return ModelSpec(network, prep, list(names))


def write_dicom_case(root: Path, name: str = "a", plane: str = "axial") -> dict[str, str]:
    """Write a CT series of 0.8 mm between rows and 0.6 mm between columns, and its label as NIfTI on its grid."""
    label = label_array(SHAPE)
    folder = root / "images" / name
    write_series(folder, ct_array(label).transpose(2, 1, 0), orientation=SERIES_ORIENTATIONS[plane])
    affine = loading(with_label=False)({"image": str(folder)})["image"].affine.numpy()
    labels = write_nifti(root / "labels" / f"{name}.nii.gz", label, affine)
    return {"image": str(folder), "label": str(labels), "case": name}


def on_network_grid(label: MetaTensor, spec: ModelSpec) -> MetaTensor:
    """Bring a label where the network's predictions lie."""
    prep = spec.preprocessing
    return InPlaneSpacing(prep.spacing_mm, "nearest")(Orientation(axcodes=AXCODES[prep.plane], labels=None)(label))
