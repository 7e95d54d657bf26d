"""Submitted labels: on the image's grid or refused, every version kept."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from phantoms import affine_of, label_array, write_case, write_nifti

from monai_vggunet.annotation.submissions import fitted_label, keep_version
from monai_vggunet.errors import GridMismatchError, ImageReadError, LabelContentError

CLASSES = ["background", "liver", "spleen"]


@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_a_label_stored_along_other_axes_comes_back_onto_the_image(tmp_path: Path, plane: str) -> None:
    case = write_case(tmp_path, "a", plane)
    truth, affine = label_array(), affine_of(plane)
    # the same label as a viewer may store it: the second axis reversed, the first and third exchanged
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 1] * (truth.shape[1] - 1)
    flipped[:3, 1] *= -1
    stored = write_nifti(tmp_path / "stored.nii.gz", truth[:, ::-1].transpose(2, 1, 0), flipped[:, [2, 1, 0, 3]])
    array, found = fitted_label(stored, case["image"], CLASSES)
    np.testing.assert_array_equal(array, truth)
    np.testing.assert_allclose(found, affine, atol=1e-4)


def test_a_label_of_another_grid_is_refused(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    other = write_nifti(tmp_path / "other.nii.gz", label_array((20, 16, 5)), affine_of())
    with pytest.raises(GridMismatchError, match="not on one grid"):
        fitted_label(other, case["image"], CLASSES)


def test_a_class_the_model_lacks_is_refused(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    with pytest.raises(LabelContentError, match="expected whole class numbers from 0 to 1"):
        fitted_label(case["label"], case["image"], CLASSES[:2])


def test_numbers_mean_what_the_client_says(tmp_path: Path) -> None:
    """3D Slicer numbers the segments of its list: without a liver the spleen comes as 1."""
    case = write_case(tmp_path, "a")
    spleen = (label_array() == 2).astype(np.uint8)
    stored = write_nifti(tmp_path / "stored.nii.gz", spleen, affine_of())
    array, _ = fitted_label(stored, case["image"], CLASSES, [{"name": "spleen", "idx": 1}])
    np.testing.assert_array_equal(array, 2 * spleen)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(ImageReadError, match=r"the label cannot be read as NIfTI .*damaged file"):
        fitted_label(tmp_path / "broken.nii.gz", case["image"], CLASSES)


@pytest.mark.parametrize("ending", [".bin", ".dcm", ""])
def test_a_label_of_another_kind_is_refused(tmp_path: Path, ending: str) -> None:
    """As older versions of OHIF send it: voxels alone. The client's name for it is not repeated."""
    case, label = write_case(tmp_path, "a"), tmp_path / f"Doe{ending}"
    label.write_bytes(label_array().tobytes())
    with pytest.raises(
        LabelContentError, match=r"the label is a (\.\w+|file without an ending); expected NIfTI"
    ) as told:
        fitted_label(label, case["image"], CLASSES)
    assert "Doe" not in str(told.value)


@pytest.mark.parametrize("name", ["label.seg.nrrd", "label.nrrd"])
def test_a_segmentation_of_slicer_numbers_its_own_segments(tmp_path: Path, name: str) -> None:
    case = write_case(tmp_path, "a")
    volume = SimpleITK.ReadImage(case["label"])
    volume.SetMetaData("Segment0_Name", "spleen")
    volume.SetMetaData("Segment0_LabelValue", "1")
    SimpleITK.WriteImage(volume, str(tmp_path / name))
    with pytest.raises(LabelContentError, match=r"set 'File Extension' to \.nii\.gz"):
        fitted_label(tmp_path / name, case["image"], CLASSES, [{"name": "liver", "idx": 1}])


def test_a_refusal_names_no_file_of_the_server(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    half = write_nifti(tmp_path / "half.nii.gz", np.full(label_array().shape, 0.5, np.float32), affine_of())
    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\ntype: int\n\n")
    for label in (half, tmp_path / "broken.nrrd"):
        with pytest.raises(LabelContentError) as told:
            fitted_label(label, case["image"], CLASSES)
        assert str(tmp_path) not in str(told.value)


def test_every_version_is_kept_with_what_changed(tmp_path: Path) -> None:
    label, affine = label_array(), affine_of("oblique")
    first = keep_version(tmp_path, "a", label, affine, {"tag": "final"})
    corrected = label.copy()
    corrected[0, 0, :3] = 2
    second = keep_version(tmp_path, "a", corrected, affine, {"tag": "final", "client_id": "reader"})
    assert (first["version"], first["changed_voxels"]) == (1, None)
    assert (second["version"], second["changed_voxels"]) == (2, 3)
    assert json.loads((tmp_path / "a" / "history.json").read_text()) == [first, second]
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a" / "0001.nii.gz").dataobj), label)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a" / "0002.nii.gz").dataobj), corrected)


def test_a_version_whose_predecessor_is_gone_is_kept_all_the_same(tmp_path: Path) -> None:
    label = label_array()
    keep_version(tmp_path, "a", label, affine_of(), {})
    (tmp_path / "a" / "0001.nii.gz").unlink()
    entry = keep_version(tmp_path, "a", label, affine_of(), {})
    assert (entry["version"], entry["changed_voxels"]) == (2, None)
