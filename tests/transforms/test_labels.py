"""Labels in DICOM SEG and RTSTRUCT through the pipelines: the same as NIfTI, on the image's own array."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from annotation_phantoms import contour, series, write_rtstruct, write_seg
from bombs import nifti_bomb
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import LoadImaged
from phantoms import ct_array, label_array, write_nifti

from monai_vggunet.data import Datalist, ModelSpec, Preprocessing, compute_fingerprint, nifti_reader
from monai_vggunet.errors import DicomReadError, GridMismatchError, LabelContentError, refusal_behind
from monai_vggunet.transforms import LoadLabeld, inference_preprocessing, loading, training_preprocessing

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}
SEGMENTS = {"liver": 1, "spleen": 2}
SHAPE = (20, 16, 6)


def rectangles(classes: np.ndarray, value: int, affine_lps: np.ndarray) -> list:
    """Return each run of voxels of a class as a contour around it: together exactly the class's voxels."""
    found = []
    for k in range(classes.shape[2]):
        for j in range(classes.shape[1]):
            edges = np.flatnonzero(np.diff(np.pad((classes[:, j, k] == value).astype(int), 1)))
            for start, end in edges.reshape(-1, 2) - 0.5:
                corners = np.array(
                    [(u, v, k) for u, v in ((start, j - 0.5), (end, j - 0.5), (end, j + 0.5), (start, j + 0.5))]
                )
                found.append(contour(corners @ affine_lps[:3, :3].T + affine_lps[:3, 3]))
    return found


def write_case(root: Path, name: str = "a", kind: str = "seg", seed: int = 0, **options: object) -> dict[str, str]:
    """Write a CT series and its label in one of three formats; the label is `label_array`."""
    label = label_array(SHAPE)
    files = series(root / "images" / name, ct_array(label, seed).transpose(2, 1, 0), **options)  # type: ignore[arg-type]
    case = {"image": str(root / "images" / name), "case": name}
    if kind == "seg":
        path = root / "labels" / f"{name}.dcm"
        write_seg(path, files, label.transpose(2, 1, 0), names=("Liver", "Spleen"))
        return case | {"label": str(path)}
    affine = loading(with_label=False)({"image": case["image"]})["image"].affine.numpy()
    if kind == "nifti":
        return case | {"label": str(write_nifti(root / "labels" / f"{name}.nii.gz", label, affine))}
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    structures = {"Liver": rectangles(label, 1, lps), "Spleen": rectangles(label, 2, lps)}
    write_rtstruct(root / "labels" / name / "rs", structures, files[0])
    return case | {"label": str(root / "labels" / name)}


def spec() -> ModelSpec:
    prep = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-100.0, 300.0),))
    return ModelSpec({"in_channels": prep.in_channels, "out_channels": 3}, prep, ["background", "liver", "spleen"])


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
@pytest.mark.parametrize("shear_mm", [0.0, 0.9])
def test_a_dicom_label_lands_on_the_image_s_own_array(
    tmp_path: Path, kind: str, orientation: str, shear_mm: float
) -> None:
    case = write_case(tmp_path, kind=kind, orientation=ORIENTATIONS[orientation], shear_mm=shear_mm)
    data = loading(segments=SEGMENTS)(case)
    assert isinstance(data["label"], MetaTensor)
    assert data["label"].dtype == torch.uint8
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array(SHAPE))
    assert torch.equal(data["label"].affine, data["image"].affine)
    assert str(data["label"].meta["filename_or_obj"]).startswith(case["label"])


def test_nifti_labels_are_loaded_as_before_and_formats_may_be_mixed_in_a_batch(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, kind, kind, seed=3) for kind in ("nifti", "seg", "rtstruct")]
    load = loading(segments=SEGMENTS)
    for case in cases:
        np.testing.assert_array_equal(load(case)["label"].numpy()[0], label_array(SHAPE))
    batch = next(iter(DataLoader(Dataset(cases, training_preprocessing(spec(), segments=SEGMENTS)), batch_size=3)))
    assert batch["label"].shape == (6, 1, 32, 32)
    network_grid = [inference_preprocessing(spec(), with_label=True, segments=SEGMENTS)(case) for case in cases]
    for data in network_grid:
        assert torch.equal(data["label"].as_tensor(), network_grid[0]["label"].as_tensor())


def test_the_fingerprint_of_dicom_labels_is_that_of_the_same_in_nifti(tmp_path: Path) -> None:
    found = [
        compute_fingerprint(
            Datalist([write_case(tmp_path / kind, kind=kind)], [], ["background", "liver", "spleen"]),
            loading(segments=SEGMENTS),
        )
        for kind in ("nifti", "seg", "rtstruct")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0].class_voxels == tuple(np.bincount(label_array(SHAPE).ravel()))


def test_an_image_from_nifti_takes_a_dicom_label_by_geometry_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = write_case(tmp_path, orientation=oblique())
    image = loading(with_label=False)({"image": case["image"]})["image"]
    turned = nib.Nifti1Image(image.numpy()[0], image.affine.numpy()).as_reoriented(
        np.array([[1, -1], [0, 1], [2, -1]], dtype=float)
    )
    nib.save(turned, tmp_path / "ct.nii.gz")
    data = loading(segments=SEGMENTS)(case | {"image": str(tmp_path / "ct.nii.gz")})
    expected = nib.Nifti1Image(label_array(SHAPE), image.affine.numpy()).as_reoriented(
        np.array([[1, -1], [0, 1], [2, -1]], dtype=float)
    )
    np.testing.assert_array_equal(data["label"].numpy()[0], np.asarray(expected.dataobj))
    assert "placed by geometry alone" in caplog.text
    moved = turned.affine.copy()
    moved[0, 3] += 0.3
    write_nifti(tmp_path / "moved.nii.gz", np.asarray(turned.dataobj), moved)
    with pytest.raises(RuntimeError) as caught:
        loading(segments=SEGMENTS)(case | {"image": str(tmp_path / "moved.nii.gz")})
    assert isinstance(refusal_behind(caught.value), GridMismatchError)


def test_slices_kept_with_a_gap_take_no_label_that_the_affine_displaces(tmp_path: Path) -> None:
    """Up to half a slice the label's own place tells; beyond, a frame could fit the place of another slice."""
    for offsets_mm, text in (
        ([0, 2.5, 5, 8.9, 11.4, 13.9], "off the nearest slice"),
        ([0, 2.5, 5, 7.5, 10, 30], r"kept with gaps, up to .* mm off their mean step of"),
    ):
        case = write_case(tmp_path / text[:3], offsets_mm=offsets_mm)
        with pytest.raises(RuntimeError) as caught:
            loading(segments=SEGMENTS, reader_options={"on_gap": "keep"})(case)
        assert isinstance(refusal_behind(caught.value), GridMismatchError)
        assert re.search(text, str(refusal_behind(caught.value)))
    case = write_case(tmp_path / "small", offsets_mm=[0, 2.5, 5, 8, 10.5, 13])  # 0.2 mm off: no doubt which slice
    data = loading(segments=SEGMENTS, reader_options={"on_gap": "keep"})(case)
    np.testing.assert_array_equal(data["label"].numpy()[0], label_array(SHAPE))


def test_a_single_segment_needs_no_names_several_do(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        loading()(case)
    assert isinstance(refusal_behind(caught.value), LabelContentError)
    label = label_array(SHAPE)
    files = sorted((tmp_path / "images" / "a").iterdir(), reverse=True)
    write_seg(tmp_path / "one.dcm", files, (label == 2).astype(np.uint8).transpose(2, 1, 0), names=("Anything",))
    loaded = loading()(case | {"label": str(tmp_path / "one.dcm")})["label"].numpy()[0]
    np.testing.assert_array_equal(loaded, (label == 2).astype(np.uint8))


def test_a_class_beyond_the_model_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        loading(n_classes=2, segments=SEGMENTS)(write_case(tmp_path))
    assert "expected whole class numbers from 0 to 1" in str(refusal_behind(caught.value))


def test_a_folder_of_images_is_no_label(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        loading(segments=SEGMENTS)(case | {"label": case["image"]})
    assert isinstance(refusal_behind(caught.value), DicomReadError)
    assert "holds neither a DICOM SEG nor an RTSTRUCT" in str(refusal_behind(caught.value))


def test_overlaps_can_be_refused(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    stacked = np.ones((6, 16, 20, 2), np.uint8)
    files = sorted((tmp_path / "images" / "a").iterdir(), reverse=True)
    write_seg(tmp_path / "both.dcm", files, stacked, names=("Liver", "Spleen"))
    image = loading(with_label=False)(case)
    data = image | {"label": str(tmp_path / "both.dcm")}
    assert (LoadLabeld("label", segments=SEGMENTS)(data)["label"] == 2).all()
    with pytest.raises(LabelContentError, match="1920 voxels belong to several of the classes 1, 2"):
        LoadLabeld("label", segments=SEGMENTS, on_overlap="error")(data)


def test_labels_are_loaded_by_a_load_imaged_at_the_top_level() -> None:
    """MONAI Label and MONAI Deploy look for such there."""
    steps = loading().transforms
    assert [type(step).__name__ for step in steps if isinstance(step, LoadImaged)] == ["LoadImageFiled", "LoadLabeld"]


def test_a_label_that_promises_more_voxels_than_its_image_has_is_not_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_case(tmp_path)
    bomb = nifti_bomb(tmp_path / "label.nii.gz", (1000, 1000, 1000), 1 << 30, "uint8")
    monkeypatch.setattr(nifti_reader, "read_nifti_file", lambda *_: pytest.fail("the label was read"))
    with pytest.raises(RuntimeError) as caught:
        loading()(case | {"label": str(bomb)})
    refusal = refusal_behind(caught.value)
    assert isinstance(refusal, GridMismatchError)
    assert re.search(r"promises 1,000,000,000 voxels, its image .* has 1,920", str(refusal))
