"""A mask opens over its image elsewhere: its affine, units and codes are stated, and nothing of the patient is."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged, SaveImaged

from monai_vggunet.errors import GridMismatchError, OutputWriteError
from monai_vggunet.outputs import CaseFolderLayout, NiftiMaskWriter, mask_image, write_mask

SCANNER = 1


def make_labels(*shape: int, n_classes: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n_classes, shape).astype(np.uint8)


def orthogonal_affine() -> np.ndarray:
    """A rotation about two axes, three different spacings and a position."""
    about_x, about_z = np.deg2rad([20.0, -35.0])
    first = [[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]]
    second = [[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(first) @ np.array(second) @ np.diag([-0.7, 0.8, 2.5])
    affine[:3, 3] = [12.5, -40.25, 300]
    return affine


def tilted_affine() -> np.ndarray:
    """Axial slices that step along a direction 15 degrees off their normal, as under a tilted gantry."""
    affine = np.diag([0.7, 0.7, 3.0, 1.0])
    affine[1, 2] = 3.0 * np.tan(np.deg2rad(15))
    return affine


def make_prediction(labels: np.ndarray, affine: np.ndarray, name: str = "in/a.nii.gz", **meta) -> MetaTensor:
    """What inference hands to `SaveImaged`: labels `(1, X, Y, Z)` with the source's metadata."""
    content = {"filename_or_obj": name, "spatial_shape": np.array(labels.shape), "original_affine": affine.copy()}
    return MetaTensor(torch.as_tensor(labels)[None], affine=torch.as_tensor(affine), meta={**content, **meta})


def save(prediction: MetaTensor, folder: Path, case: str = "case_a") -> Path:
    layout = CaseFolderLayout(folder, [{"image": prediction.meta["filename_or_obj"], "case": case}])
    saver = SaveImaged(
        "pred", writer="monai_vggunet.outputs.NiftiMaskWriter", folder_layout=layout, resample=False, print_log=False
    )
    saver({"pred": prediction})
    return folder / case / "mask.nii.gz"


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-0.5, -0.5, 5, 1]), orthogonal_affine()])
def test_orthogonal_grid_is_stated_by_both_forms(tmp_path, affine):
    labels = make_labels(5, 4, 3)
    write_mask(tmp_path / "mask.nii.gz", labels, affine)
    image = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    for form, code in (image.get_qform(coded=True), image.get_sform(coded=True)):
        np.testing.assert_allclose(form, affine, atol=1e-4)
        assert code == SCANNER
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)


def test_tilted_grid_is_stated_by_the_sform_alone(tmp_path):
    write_mask(tmp_path / "mask.nii.gz", make_labels(5, 4, 3), tilted_affine())
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.header["qform_code"] == 0
    assert image.header["sform_code"] == SCANNER
    np.testing.assert_allclose(image.affine, tilted_affine(), atol=1e-6)


def test_lengths_are_in_mm_and_spacing_is_in_the_header():
    image = mask_image(make_labels(5, 4, 3), orthogonal_affine())
    assert image.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(image.header.get_zooms(), (0.7, 0.8, 2.5), atol=1e-6)


@pytest.mark.parametrize(
    ("largest", "stored"), [(0, np.uint8), (1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
@pytest.mark.parametrize("given", [np.int64, np.float32])
def test_smallest_integer_type_that_holds_the_classes(largest, stored, given):
    labels = np.zeros((3, 3, 2), dtype=given)
    labels[1, 2, 1] = largest
    image = mask_image(labels, np.eye(4))
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)


def test_values_are_stored_without_scaling(tmp_path):
    write_mask(tmp_path / "mask.nii.gz", make_labels(5, 4, 3), np.eye(4))
    proxy = nib.load(tmp_path / "mask.nii.gz").dataobj
    assert (proxy.slope, proxy.inter) == (1, 0)


@pytest.mark.parametrize("affine", [orthogonal_affine(), tilted_affine()])
def test_saved_through_monai_lies_on_its_source(tmp_path, affine):
    labels = make_labels(6, 5, 4)
    path = save(make_prediction(labels, affine), tmp_path)
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    assert image.header["sform_code"] == SCANNER
    assert sorted(p.name for p in path.parent.iterdir()) == ["mask.json", "mask.nii.gz"]


def test_the_sidecar_names_who_made_a_mask_and_its_classes_where_they_are_known(tmp_path):
    writer = NiftiMaskWriter(class_names=["background", "liver"], model_sha256="0815")
    writer.set_data_array(make_labels(4, 3, 2), channel_dim=None)
    writer.set_metadata({"affine": np.eye(4)})
    writer.write(tmp_path / "mask.nii.gz")
    said = json.loads((tmp_path / "mask.json").read_text())
    assert [label["name"] for label in said["Labels"]] == ["background", "liver"]
    assert said["GeneratedBy"][0]["ModelSHA256"] == "0815"
    save(make_prediction(make_labels(4, 3, 2), np.eye(4)), tmp_path)
    assert "Labels" not in json.loads((tmp_path / "case_a" / "mask.json").read_text())


def test_volume_of_one_slice_stays_a_volume(tmp_path):
    path = save(make_prediction(make_labels(6, 5, 1), np.eye(4)), tmp_path)
    assert nib.load(path).shape == (6, 5, 1)


def test_slice_axis_added_to_a_two_dimensional_source_is_dropped(tmp_path):
    prediction = make_prediction(make_labels(6, 5, 1), np.eye(4), spatial_shape=np.array([6, 5]))
    assert nib.load(save(prediction, tmp_path)).shape == (6, 5)


def test_mask_and_its_source_load_with_the_same_affine(tmp_path):
    affine = orthogonal_affine()
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), dtype=np.int16), affine), tmp_path / "source.nii.gz")
    source = LoadImaged("image", ensure_channel_first=True)({"image": str(tmp_path / "source.nii.gz")})["image"]
    labels = torch.as_tensor(make_labels(6, 5, 4))[None]
    path = save(MetaTensor(labels).copy_meta_from(source), tmp_path / "out")
    mask = LoadImaged("image", ensure_channel_first=True)({"image": str(path)})["image"]
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-5)
    assert torch.equal(mask.as_tensor().to(torch.uint8), labels)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"spatial_shape": np.array([6, 5, 8])}, r"shape \(6, 5, 4\)\) does not lie on .* \(shape \(6, 5, 8\)\)"),
        ({"original_affine": np.diag([1, 1, 2.0, 1])}, "another affine.*put Invertd before SaveImaged"),
    ],
)
def test_mask_off_its_source_grid_is_refused(tmp_path, change, text):
    prediction = make_prediction(make_labels(6, 5, 4), np.eye(4), **change)
    writer = NiftiMaskWriter()
    writer.set_data_array(prediction, channel_dim=0)
    with pytest.raises(GridMismatchError, match=text):
        writer.set_metadata(prediction.meta)
    with pytest.raises(RuntimeError, match="GridMismatchError: the mask"):
        save(prediction, tmp_path)
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_class_scores_are_refused():
    with pytest.raises(GridMismatchError, match=r"one channel, got shape \(3, 6, 5, 4\): reduce class scores"):
        NiftiMaskWriter().set_data_array(torch.zeros(3, 6, 5, 4), channel_dim=0)


def test_array_without_channel_or_metadata_is_written_as_it_is(tmp_path):
    labels = make_labels(6, 5, 4)
    writer = NiftiMaskWriter()
    writer.set_data_array(labels, channel_dim=None)
    writer.set_metadata(None)
    writer.write(tmp_path / "mask.nii.gz")
    image = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)
    np.testing.assert_array_equal(image.affine, np.eye(4))


def test_full_disk_leaves_the_former_mask_and_nothing_else(tmp_path, monkeypatch):
    write_mask(tmp_path / "mask.nii.gz", make_labels(3, 3, 3), np.eye(4))
    former = (tmp_path / "mask.nii.gz").read_bytes()

    def fills_the_disk(image, path):
        Path(path).write_bytes(b"half a mask")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", fills_the_disk)
    with pytest.raises(OutputWriteError, match=r"cannot write .*mask\.nii\.gz: No space left on device"):
        write_mask(tmp_path / "mask.nii.gz", make_labels(4, 4, 4), np.eye(4))
    with pytest.raises(OutputWriteError, match="No space left on device"):
        write_mask(tmp_path / "other.nii.gz", make_labels(4, 4, 4), np.eye(4))
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]
    assert (tmp_path / "mask.nii.gz").read_bytes() == former


def test_crash_while_writing_leaves_no_partial_file(tmp_path, monkeypatch):
    def crashes(image, path):
        Path(path).write_bytes(b"half a mask")
        raise KeyboardInterrupt("ctrl-c")

    monkeypatch.setattr(nib, "save", crashes)
    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        write_mask(tmp_path / "mask.nii.gz", make_labels(4, 4, 4), np.eye(4))
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputWriteError, match=r"cannot write .*out/case_a/mask\.nii\.gz.*choose a folder"):
        write_mask(tmp_path / "out" / "case_a" / "mask.nii.gz", make_labels(2, 2, 2), np.eye(4))


def test_header_carries_nothing_of_the_patient(tmp_path):
    meta = {
        "descrip": "Doe^Jane 1970-01-01",
        "db_name": "Doe^Jane",
        "aux_file": "4711",
        "intent_name": "Doe^Jane",
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
    }
    path = save(make_prediction(make_labels(6, 5, 4), np.eye(4), **meta), tmp_path)
    header = nib.load(path).header
    assert [header[name].item() for name in ("descrip", "db_name", "aux_file", "intent_name")] == [b""] * 4
    assert len(header.extensions) == 0
    content = bytes(nib.load(path).header.binaryblock)
    assert b"Doe" not in content
    assert b"4711" not in content


def test_layout_gives_each_case_its_folder(tmp_path):
    layout = CaseFolderLayout(tmp_path, [{"image": "/data/1/series", "case": "one"}, {"image": "b.nii", "case": "two"}])
    assert layout.filename("/data/1/series") == str(tmp_path / "one" / "mask.nii.gz")
    assert layout.filename(subject=Path("b.nii")) == str(tmp_path / "two" / "mask.nii.gz")
    assert layout.filename("elsewhere/c.nii", idx=3) == str(tmp_path / "c.nii" / "mask.nii.gz")
    other = CaseFolderLayout(tmp_path, [], name="scores.nii.gz")
    assert other.filename("c") == str(tmp_path / "c" / "scores.nii.gz")


def test_monais_own_writers_are_there_beside_ours(tmp_path) -> None:
    """In a process of its own: MONAI makes its list when the first writer is asked for."""
    code = (
        "import torch, monai_vggunet.outputs; from monai.data import MetaTensor;"
        "from monai.transforms import SaveImage;"
        f"SaveImage({str(tmp_path)!r}, output_ext='.nii.gz')(MetaTensor(torch.zeros(1, 2, 3, 4)));"
        f"SaveImage({str(tmp_path)!r}, output_ext='.png')(MetaTensor(torch.zeros(1, 2, 3)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".gz", ".png"}
