"""Tests of scripts/make_phantom_dataset.py: its geometry is computed a second time, from the files alone."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pydicom
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "make_phantom_dataset.py"
TINY = ["--cases", "6", "--unseen", "2", "--size", "48", "--slices", "10"]
SFORM_TOLERANCE_MM = 1e-4  # float32
QFORM_TOLERANCE_MM = 0.02  # float32 too, and near half turns, as from LPS to RAS, its quaternion loses half the digits


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_phantom_dataset", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


phantoms = load_script()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "data"
    assert phantoms.main([str(out), *TINY]) == 0
    return out


def pairs(root: Path) -> list[tuple[Path, Path]]:
    return [
        (root / part / entry["image"], root / part / entry["label"])
        for part in ("", "unseen")
        for entry in json.loads((root / part / "dataset.json").read_text())["training"]
    ]


def read_series(folder: Path) -> list[pydicom.Dataset]:
    """Read a series in order of its slice normal."""
    series = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(series, key=lambda d: float(np.dot(normal_of(d), d.ImagePositionPatient)))


def normal_of(d: pydicom.Dataset) -> np.ndarray:
    return np.cross(d.ImageOrientationPatient[:3], d.ImageOrientationPatient[3:])


def ct_numbers(series: list[pydicom.Dataset]) -> np.ndarray:
    """CT numbers as (column, row, slice)."""
    frames = [d.pixel_array.astype(float) * d.RescaleSlope + d.RescaleIntercept for d in series]
    return np.stack(frames, axis=-1).transpose(1, 0, 2)


def interior(mask: np.ndarray) -> np.ndarray:
    """Voxels whose four neighbors in the slice are in the mask too, away from blur."""
    return mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_same_bytes_and_another_seed_others(tmp_path):
    tiny = ["--cases", "2", "--unseen", "1", "--size", "24", "--slices", "4"]
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert phantoms.main([str(tmp_path / name), *tiny, "--seed", seed]) == 0
    first, again, other = (digest(tmp_path / name) for name in "abc")
    assert first == again
    labels = [name for name in first if name.endswith(".nii.gz")]
    assert len(labels) == 3
    assert all(first[name] != other[name] for name in labels)


def test_label_voxels_lie_where_the_dicom_headers_say(dataset):
    for image, label in pairs(dataset):
        nifti, series = nib.load(label), read_series(image)
        assert nifti.shape == (series[0].Columns, series[0].Rows, len(series))
        assert nifti.get_data_dtype() == np.uint8
        assert nifti.header.get_xyzt_units()[0] == "mm"
        for k in (0, len(series) // 2, len(series) - 1):
            d = series[k]
            for column, row in ((0, 0), (7, 0), (0, 11), (d.Columns - 1, d.Rows - 1)):
                across = np.array(d.ImageOrientationPatient[:3]) * d.PixelSpacing[1] * column
                down = np.array(d.ImageOrientationPatient[3:]) * d.PixelSpacing[0] * row
                expected_ras = (np.array(d.ImagePositionPatient) + across + down) * [-1, -1, 1]
                index = [column, row, k, 1]
                sform, qform = nifti.get_sform(coded=True)[0], nifti.get_qform(coded=True)[0]
                np.testing.assert_allclose((sform @ index)[:3], expected_ras, atol=SFORM_TOLERANCE_MM, rtol=0)
                np.testing.assert_allclose((qform @ index)[:3], expected_ras, atol=QFORM_TOLERANCE_MM, rtol=0)


def test_classes_occur_in_every_case_within_their_range_of_ct_numbers(dataset):
    for image, label in pairs(dataset):
        hu, labels = ct_numbers(read_series(image)), np.asarray(nib.load(label).dataobj)
        assert set(np.unique(labels)) == {0, *phantoms.CLASSES}, image
        for value, (low, high) in phantoms.CLASS_HU.items():
            inside = hu[interior(labels == value)]
            slack = phantoms.TEXTURE_HU + 4 * phantoms.NOISE_HU[1] / np.sqrt(len(inside))
            assert low - slack < inside.mean() < high + slack, (image, value)


def test_class_ranges_leave_gaps_wider_than_the_texture():
    edges = [phantoms.BODY_HU, *(phantoms.CLASS_HU[value] for value in sorted(phantoms.CLASS_HU))]
    gaps = [upper[0] - lower[1] for lower, upper in itertools.pairwise(edges)]
    assert min(gaps) > 2 * phantoms.TEXTURE_HU


def test_some_slices_hold_no_organ(dataset):
    volumes = [np.asarray(nib.load(label).dataobj) for _, label in pairs(dataset)]
    assert any((volume == 0).all(axis=(0, 1)).any() for volume in volumes)


def test_geometry_and_pixel_encoding_vary(dataset):
    heads = [read_series(image) for image, _ in pairs(dataset)]
    assert any(np.abs(s[0].ImageOrientationPatient).max() < 0.9999 for s in heads), "none is oblique"
    assert any(normal_of(s[0])[2] < -0.9 for s in heads), "none has its normal to the feet"
    assert any(s[0].InstanceNumber > s[-1].InstanceNumber for s in heads), "none is numbered backwards"
    assert any(s[0].PixelSpacing[0] != s[0].PixelSpacing[1] for s in heads), "none has non-square pixels"
    assert any(s[0].Rows != s[0].Columns for s in heads), "all matrices are square"
    assert {int(s[0].RescaleIntercept) for s in heads} == {0, -1024}
    assert {s[0].PixelRepresentation for s in heads} == {0, 1}


def test_series_are_consistent_ct_objects_with_shuffled_file_names(dataset):
    seen = set()
    for image, _ in pairs(dataset):
        series = read_series(image)
        assert len({(d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID) for d in series}) == 1
        assert {d.SOPClassUID for d in series} == {pydicom.uid.CTImageStorage}
        assert all(d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID for d in series)
        seen.update(d.SOPInstanceUID for d in series)
        by_name = [pydicom.dcmread(path).InstanceNumber for path in sorted(image.iterdir())]
        assert by_name not in (sorted(by_name), sorted(by_name, reverse=True))
    assert len(seen) == sum(len(list(image.iterdir())) for image, _ in pairs(dataset))


def test_header_values_fit_their_representation(dataset):
    with pydicom.config.disable_value_validation():
        series = [pydicom.dcmread(path) for image, _ in pairs(dataset) for path in image.iterdir()]
    texts = [str(v.original_string) for d in series for v in [*d.ImagePositionPatient, *d.ImageOrientationPatient]]
    assert max(map(len, texts)) <= 16  # PS3.5, 6.2: a decimal string


def test_one_patient_has_two_series_and_unseen_patients_are_others(dataset):
    patients = {image.name: read_series(image)[0] for image, _ in pairs(dataset)}
    first, second = patients["case_002"], patients["case_003"]
    assert first.PatientID == second.PatientID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert len({d.PatientID for d in patients.values()}) == len(patients) - 1


def test_complete_folder_is_left_alone(dataset, capsys):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert phantoms.main([str(dataset), *TINY]) == 0
    assert "already complete" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_other_options_are_refused(dataset, capsys):
    assert phantoms.main([str(dataset), *TINY, "--seed", "1"]) == 2
    assert "'seed': 1" in capsys.readouterr().err


def test_foreign_folder_is_refused_and_untouched(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert phantoms.main([str(tmp_path), *TINY]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_missing_files_are_noticed(tmp_path, capsys):
    tiny = [str(tmp_path / "data"), "--cases", "1", "--unseen", "0", "--size", "16", "--slices", "2"]
    assert phantoms.main(tiny) == 0
    (tmp_path / "data" / "labels" / "case_000.nii.gz").unlink()
    assert phantoms.main(tiny) == 2
    assert "expected 3" in capsys.readouterr().err


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(phantoms, "_write_series", fail)
    with pytest.raises(OSError, match="disk full"):
        phantoms.main([str(tmp_path / "data"), *TINY])
    assert list(tmp_path.iterdir()) == []


def test_option_below_its_least_value_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        phantoms.main([str(tmp_path / "data"), "--cases", "0"])
    assert "--cases 0, expected at least 1" in capsys.readouterr().err
