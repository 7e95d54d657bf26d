"""Evaluation, inference and export by the bundle's own commands, and masks that lie on their images."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from mask_phantoms import labels_by_hand
from nibabel.orientations import io_orientation

from monai_vggunet import VGG16UNet
from monai_vggunet.data import load_model_spec
from monai_vggunet.errors import ModelMismatchError

from .conftest import Run, figures_per_case, run_bundle, run_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def masks(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("masks")
    run_bundle(
        "run",
        config_file="configs/inference.json",
        dataset_dir=trained.data / "unseen" / "images",
        ckpt_dir=trained.folder / "models",
        output_dir=output,
    )
    return output


def test_every_series_has_a_mask_on_its_own_grid(trained: Run, masks: Path) -> None:
    for label_file in sorted((trained.data / "unseen" / "labels").iterdir()):
        label = nib.load(label_file)
        mask = nib.load(masks / label_file.name.removesuffix(".nii.gz") / "mask.nii.gz")
        assert mask.shape == label.shape
        np.testing.assert_allclose(mask.affine, label.affine, atol=1e-3)
        assert mask.get_data_dtype() == np.uint8
        assert mask.header.get_xyzt_units()[0] == "mm"
        assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 1)


def test_masks_lie_on_what_dcm2niix_makes_of_the_series(trained: Run, masks: Path, tmp_path: Path) -> None:
    dcm2niix = pytest.importorskip("dcm2niix")
    for series in sorted((trained.data / "unseen" / "images").iterdir()):
        command = [dcm2niix.bin, "-z", "n", "-f", series.name, "-o", str(tmp_path), str(series)]
        subprocess.run(command, check=True, capture_output=True)
        reference, mask = nib.load(tmp_path / f"{series.name}.nii"), nib.load(masks / series.name / "mask.nii.gz")
        turn = nib.orientations.ornt_transform(io_orientation(mask.affine), io_orientation(reference.affine))
        moved = mask.as_reoriented(turn)
        assert moved.shape == reference.shape
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in moved.shape], [1], indexing="ij"), float).reshape(4, -1)
        np.testing.assert_allclose(moved.affine @ corners, reference.affine @ corners, atol=0.01)


def test_dicom_seg_lies_beside_the_mask_when_asked_for(trained: Run, tmp_path: Path) -> None:
    run_bundle(
        "run",
        config_file="configs/inference.json",
        dataset_dir=trained.data / "unseen" / "images",
        ckpt_dir=trained.folder / "models",
        output_dir=tmp_path,
        dicom_seg=True,
    )
    for folder in tmp_path.iterdir():
        mask, seg = nib.load(folder / "mask.nii.gz"), pydicom.dcmread(folder / "seg.dcm")
        np.testing.assert_array_equal(labels_by_hand(seg, mask.affine, mask.shape), np.asarray(mask.dataobj))
        assert [item.SegmentLabel for item in seg.SegmentSequence] == ["spleen", "liver", "kidney"]


def test_evaluation_reports_every_class_and_case(trained: Run, tmp_path: Path) -> None:
    output = run_bundle(
        "run",
        config_file="['configs/train.json','configs/evaluate.json']",
        dataset_dir=trained.data / "unseen",
        ckpt_dir=trained.folder / "models",
        output_dir=tmp_path,
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(figures_per_case(tmp_path)) == {"unseen_000", "unseen_001"}
    assert set(metrics["per_class"]["val_mean_dice"]) == {"spleen", "liver", "kidney"}
    assert set(metrics["mean"]) == {"val_mean_dice", "val_hd95_mm", "val_surface_dice"}
    assert "hd95_mm" in output
    assert (tmp_path / "unseen_000" / "mask.nii.gz").is_file()
    judged = json.loads((tmp_path / "datalist.json").read_text())["validation"]  # where `report` finds the images
    assert {case["case"] for case in judged} == {"unseen_000", "unseen_001"}


def test_evaluation_leaves_out_what_the_model_was_trained_on(trained: Run, tmp_path: Path) -> None:
    """In a data set that was moved after the training."""
    shutil.copytree(trained.data, tmp_path / "moved")
    output = run_bundle(
        "run",
        config_file="['configs/train.json','configs/evaluate.json']",
        dataset_dir=tmp_path / "moved",
        ckpt_dir=trained.folder / "models",
        output_dir=tmp_path,
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["trained"], metrics["all_trained_known"]) == ([], True)
    split = json.loads((trained.folder / "models" / "datalist.json").read_text())
    assert set(figures_per_case(tmp_path)) == {case["case"] for case in split["validation"]}
    assert f"without the {len(split['training'])} that the model was trained on" in output


def test_inference_refuses_weights_of_another_run(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes((trained.folder / "models" / "model.json").read_bytes())
    spec = load_model_spec(tmp_path / "model.json")
    torch.save(VGG16UNet(**spec.network).state_dict(), tmp_path / "model.pt")
    paths = {"dataset_dir": trained.data / "unseen" / "images", "ckpt_dir": tmp_path, "output_dir": tmp_path / "out"}
    with pytest.raises(ModelMismatchError, match="put the two files of one training run side by side"):
        run_here("inference", **paths)
    assert not (tmp_path / "out").exists()


def test_the_torchscript_export_equals_the_network(trained: Run, tmp_path: Path) -> None:
    models = trained.folder / "models"
    run_bundle(
        "ckpt_export",
        net_id="network_def",
        filepath=tmp_path / "model.ts",
        ckpt_file=models / "model.pt",
        meta_file="configs/metadata.json",
        config_file="configs/inference.json",
        ckpt_dir=models,
    )
    spec = load_model_spec(models / "model.json")
    network = VGG16UNet(**spec.network).eval()
    network.load_state_dict(torch.load(models / "model.pt", weights_only=True))
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    image = torch.randn(2, spec.network["in_channels"], 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(exported(image), network(image), rtol=1e-4, atol=1e-4)
