"""Images and labels as they are loaded: volumes on one grid, or a refusal behind MONAI's error."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_phantoms import write_series
from phantoms import affine_of, ct_array, label_array, write_case, write_nifti
from pipeline_phantoms import SERIES_ORIENTATIONS, SHAPE, write_dicom_case

from monai_vggunet.errors import GridMismatchError, ImageContentError, LabelContentError, SeriesSelectionError
from monai_vggunet.transforms import loading


def test_nifti_is_loaded_with_its_label(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a", "oblique")
    data = loading()(case)
    assert data["image"].shape == data["label"].shape == (1, *SHAPE)
    np.testing.assert_array_equal(data["image"].numpy()[0], ct_array(label_array()))
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array())
    np.testing.assert_allclose(data["image"].affine.numpy(), nib.load(case["image"]).affine)
    assert data["label"].dtype == torch.uint8
    assert data["case"] == "a"


@pytest.mark.parametrize("plane", list(SERIES_ORIENTATIONS))
def test_dicom_series_is_loaded_with_its_label(tmp_path: Path, plane: str) -> None:
    data = loading()(write_dicom_case(tmp_path, plane=plane))
    np.testing.assert_array_equal(data["image"].numpy()[0], ct_array(label_array()))
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array())
    assert torch.equal(data["image"].affine, data["label"].affine)
    assert data["image"].meta["modality"] == "CT"


def test_label_with_its_axes_in_another_order_is_brought_onto_the_image(tmp_path: Path) -> None:
    case = write_dicom_case(tmp_path, plane="coronal")
    for codes in ("RAS", "LPI", "SAR", "ASL"):
        stored = nib.load(case["label"])
        axes = nib.orientations.ornt_transform(
            nib.io_orientation(stored.affine), nib.orientations.axcodes2ornt(tuple(codes))
        )
        path = tmp_path / f"{codes}.nii.gz"
        nib.save(stored.as_reoriented(axes), path)
        label = loading()(case | {"label": str(path)})["label"]
        np.testing.assert_array_equal(label.numpy()[0], label_array())


@pytest.mark.parametrize("shape", [(20, 16), (20, 16, 1)], ids=["2D", "one slice"])
def test_flat_nifti_becomes_a_volume_of_one_slice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    label = label_array((20, 16, 1)).reshape(shape)
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label, affine_of())
    data = loading()({"image": str(image), "label": str(labels)})
    assert data["image"].shape == data["label"].shape == (1, 20, 16, 1)
    np.testing.assert_allclose(data["image"].affine.numpy(), affine_of())


def test_two_dimensional_label_fits_an_image_of_one_slice(tmp_path: Path) -> None:
    label = label_array((20, 16, 1))
    image = write_nifti(tmp_path / "i.nii", ct_array(label), affine_of())
    labels = write_nifti(tmp_path / "l.nii", label[..., 0], affine_of())
    np.testing.assert_array_equal(
        loading()({"image": str(image), "label": str(labels)})["label"].numpy()[0], label_array((20, 16, 1))
    )


def test_options_reach_the_dicom_reader(tmp_path: Path) -> None:
    for modality in ("CT", "MR"):
        stored = np.full((3, 8, 6), 7 if modality == "MR" else 9, dtype=np.int16)
        write_series(tmp_path / "study", stored, Modality=modality, prefix=f"{modality}_")
    case = {"image": str(tmp_path / "study")}
    assert loading(False, reader_options={"modality": "MR"})(case)["image"].unique().tolist() == [7.0]
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading(False)(case)
    assert isinstance(caught.value.__cause__, SeriesSelectionError)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("nan", ImageContentError, "holds 1 NaN or infinite values"),
        ("4D", ImageContentError, "4 channels or time points"),
        ("3 times", ImageContentError, "3 channels or time points of 6 slices"),
        ("class", LabelContentError, r"holds the values \[9\.?0?\]; expected whole class numbers from 0 to 2"),
        ("grid", GridMismatchError, r"label .*l\.nii does not fit image .*i\.nii"),
        ("shape", GridMismatchError, "are not on one grid"),
    ],
)
def test_case_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, change: str, kind: type[Exception], message: str
) -> None:
    image, label, affine = ct_array(label_array()).astype(np.float32), label_array(), affine_of()
    if change == "nan":
        image[3, 3, 3] = np.nan
    elif change == "4D":
        image = np.stack([image] * 4, -1)
    elif change == "3 times":
        image = np.stack([image] * 3, -1)
    elif change == "class":
        label[0, 0, 0] = 9
    elif change == "shape":
        label = label[:-1]
    image_file = write_nifti(tmp_path / "i.nii", image, affine)
    label_file = write_nifti(tmp_path / "l.nii", label, affine_of("axial", (1, 1, 4)) if change == "grid" else affine)
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        loading(n_classes=3)({"image": str(image_file), "label": str(label_file)})
    with pytest.raises(kind, match=message):
        raise caught.value.__cause__ or caught.value
