"""The bundle trains on labels in DICOM SEG and RTSTRUCT as it does on the same labels in NIfTI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from annotation_phantoms import contour, write_rtstruct, write_seg
from pydicom.dataset import Dataset

from monai_vggunet.transforms import loading

from .conftest import TINY, Run, figures_per_case, run_bundle, run_here, train

pytestmark = pytest.mark.slow
CLASSES = ("spleen", "liver", "kidney")


def test_training_on_dicom_labels_ends_with_the_weights_of_training_on_nifti(trained: Run, tmp_path: Path) -> None:
    """Half of the cases as SEG, half as RTSTRUCT, found by the class names; then the same evaluation."""
    data = dicom_labels(trained.data, tmp_path / "data")
    output = train(data, tmp_path)
    assert "placed by geometry alone" not in output  # every label was compared with its series
    ours, theirs = (torch.load(f / "models" / "model.pt", weights_only=True) for f in (tmp_path, trained.folder))
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    reports = []
    for dataset, folder in ((data, tmp_path), (trained.data, trained.folder)):
        out = tmp_path / f"eval_{folder.name}"
        paths = {"dataset_dir": dataset, "ckpt_dir": folder / "models", "output_dir": out}
        run_here("train", "evaluate", split="all", save_masks=False, **paths, **TINY)
        figures = json.loads((out / "metrics.json").read_text())
        trained_on = len(figures["trained"])  # named by pseudonyms, which differ between the folders
        reports.append({**figures, "per_case": figures_per_case(out), "trained": trained_on})
    assert reports[0] == reports[1]


def test_a_segmentation_that_names_no_class_stops_the_run(trained: Run, tmp_path: Path) -> None:
    data = dicom_labels(trained.data, tmp_path / "data")
    listed = json.loads((data / "dataset.json").read_text()) | {"segments": {"Milz": 1}}
    (data / "dataset.json").write_text(json.dumps(listed))
    paths = {"dataset_dir": data, "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "training"}
    output = run_bundle("run", "training", check=False, config_file="configs/train.json", **paths, **TINY)
    last = output.rsplit("monai-vggunet: ", 1)[-1]
    assert "holds none of the segments that the class map names (Milz)" in last
    assert "it holds 1 'Spleen', 2 'Liver', 3 'Kidney'" in last


def dicom_labels(phantoms: Path, data: Path) -> Path:
    """Copy the phantoms, every other label as SEG, the others as RTSTRUCT; `dataset.json` names the new files."""
    shutil.copytree(phantoms, data, ignore=shutil.ignore_patterns("unseen"))
    listed = json.loads((data / "dataset.json").read_text())
    for number, entry in enumerate(listed["training"]):
        label, name = data / entry["label"], Path(entry["image"]).name
        image = loading(with_label=False)({"image": str(data / entry["image"])})["image"]
        classes = np.asarray(nib.load(label).dataobj).astype(np.uint8)
        np.testing.assert_allclose(nib.load(label).affine, image.affine.numpy(), atol=1e-3)
        files = sorted((data / entry["image"]).iterdir(), key=lambda file: height(file, image.affine.numpy()))
        if number % 2:
            entry["label"] = f"labels/{name}"
            affine = np.diag([-1.0, -1, 1, 1]) @ image.affine.numpy()
            structures = {c.upper(): outlines(classes == k, affine) for k, c in enumerate(CLASSES, 1)}
            source = pydicom.dcmread(files[0], stop_before_pixels=True)
            own = {key: source[key].value for key in ("StudyInstanceUID", "PatientID", "PatientName")}
            rs = write_rtstruct(data / "labels" / name / "rs.dcm", structures, files[0], **own)
            for item in (*rs.StructureSetROISequence, *rs.ReferencedFrameOfReferenceSequence):
                keyword = "FrameOfReferenceUID" if "FrameOfReferenceUID" in item else "ReferencedFrameOfReferenceUID"
                setattr(item, keyword, source.FrameOfReferenceUID)
            rs.save_as(data / "labels" / name / "rs.dcm")
        else:
            entry["label"] = f"labels/{name}.dcm"
            write_seg(data / entry["label"], files, classes.transpose(2, 1, 0), names=tuple(c.title() for c in CLASSES))
        label.unlink()
    (data / "dataset.json").write_text(json.dumps(listed))
    return data


def height(file: Path, affine_ras: np.ndarray) -> float:
    """Return where a slice lies along the stack."""
    header = pydicom.dcmread(file, stop_before_pixels=True)
    position = np.array([*header.ImagePositionPatient, 1], dtype=float) * (-1, -1, 1, 1)
    return float((np.linalg.inv(affine_ras) @ position)[2])


def outlines(mask: np.ndarray, affine_lps: np.ndarray) -> list[Dataset]:
    """Return each run of voxels (along columns) as a contour around it: together exactly the mask."""
    found = []
    for j, k in np.argwhere(mask.any(axis=0)):
        edges = np.flatnonzero(np.diff(np.pad(mask[:, j, k].astype(int), 1)))
        for start, end in edges.reshape(-1, 2) - 0.5:
            corners = [(start, j - 0.5, k), (end, j - 0.5, k), (end, j + 0.5, k), (start, j + 0.5, k)]
            found.append(contour(np.array(corners) @ affine_lps[:3, :3].T + affine_lps[:3, 3]))
    return found
