"""Gaps and tilt resampled on request: values and places against a field that is linear in the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import AXIAL, oblique, write_series
from monai.transforms import LoadImage
from volume_meta import instance_uids

from monai_vggunet.data import DicomSeriesReader
from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.errors import DicomGeometryError

SLOPE = np.array([2.0, -3.0, 5.0])  # of the field, per mm of LPS
FINE = "0.001"  # rescale slope, so that the field's values survive as integers


def write_field(folder: Path, places_mm: list[float], shear_per_mm: float = 0.0, orientation=AXIAL) -> None:  # type: ignore[no-untyped-def]
    """Write a series whose value at every voxel is `SLOPE @ position`."""
    rows, columns, spacing, origin = 12, 10, (0.8, 0.6), np.array([-3.0, 2.5, -10.0])
    normal = np.cross(*orientation)
    stored, per_slice = [], []
    for place in places_mm:
        corner = origin + place * normal + place * shear_per_mm * np.array(orientation[1])
        i, j = np.meshgrid(np.arange(columns) * spacing[1], np.arange(rows) * spacing[0])
        field = SLOPE @ corner + i * (SLOPE @ orientation[0]) + j * (SLOPE @ orientation[1])
        stored.append(np.round(field * 1000).astype(np.int32))
        per_slice.append({"ImagePositionPatient": [f"{v:.8g}" for v in corner]})
    options = {"orientation": orientation, "pixel_spacing": spacing, "RescaleSlope": FINE}
    write_series(folder, np.array(stored), per_slice=per_slice, offsets_mm=places_mm, **options)  # type: ignore[arg-type]


def worst_error(array: np.ndarray, affine_lps: np.ndarray) -> float:
    """Return how far voxels lie from the field, but for those without a measured value, which hold the smallest."""
    index = np.indices(array.shape).reshape(3, -1)
    world = affine_lps[:3, :3] @ index + affine_lps[:3, 3:]
    measured = array.reshape(-1) > array.min() + 1e-3
    assert measured.mean() > 0.5
    return float(np.abs(SLOPE @ world - array.reshape(-1))[measured].max())


@pytest.mark.parametrize("orientation", [AXIAL, oblique()], ids=["axial", "oblique"])
@pytest.mark.parametrize("shear", [0.0, 0.3], ids=["straight", "tilted"])
def test_missing_slices_are_interpolated_at_even_steps(tmp_path: Path, orientation, shear: float) -> None:  # type: ignore[no-untyped-def]
    write_field(tmp_path, [0.0, 2.5, 5.0, 10.0, 12.5], shear, orientation)
    selection = scan_folder(tmp_path).choose_series()
    volume = read_volume(selection, on_gap="resample")
    assert volume.array.shape == (10, 12, 6)
    assert volume.geometry.gantry_tilt_deg == pytest.approx(np.degrees(np.arctan(shear)), abs=0.01)
    assert worst_error(volume.array, volume.geometry.affine_lps) < 0.02
    kept = read_volume(selection, on_gap="keep").array
    np.testing.assert_array_equal(volume.array[..., [0, 1, 2, 4, 5]], kept)  # measured slices stay as they were
    assert any("interpolated" in finding.text for finding in volume.findings)
    assert any("resampled to 10 x 12 x 6" in finding.text for finding in volume.findings)


@pytest.mark.parametrize("shear", [0.27, -0.33])
@pytest.mark.parametrize("orientation", [AXIAL, oblique()], ids=["axial", "oblique"])
@pytest.mark.parametrize("places", [[0.0, 2.5, 5.0, 7.5], [0.0, 2.5, 7.5, 10.0]], ids=["whole", "gap"])
def test_tilt_becomes_orthogonal_and_nothing_is_cut_off(tmp_path: Path, orientation, places, shear: float) -> None:  # type: ignore[no-untyped-def]
    write_field(tmp_path, places, shear, orientation)
    volume = read_volume(scan_folder(tmp_path).choose_series(), on_gap="resample", on_tilt="resample")
    axes = volume.geometry.affine_lps[:3, :3]
    products = axes.T @ axes
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-6)
    assert volume.geometry.spacing_mm == pytest.approx((0.6, 0.8, 2.5), abs=1e-4)
    assert volume.array.shape[2] == round(places[-1] / 2.5) + 1
    assert volume.array.shape[1] >= 12 + abs(shear) * places[-1] / 0.8
    assert worst_error(volume.array, volume.geometry.affine_lps) < 0.02


def test_resampled_slices_carry_no_instance(tmp_path: Path) -> None:
    write_field(tmp_path, [0.0, 2.5, 7.5])
    image = LoadImage(reader=DicomSeriesReader(on_gap="resample"))(tmp_path)
    assert tuple(image.shape) == (10, 12, 4)
    assert instance_uids(image.meta) == [""] * 4


def test_a_regular_series_is_not_touched_by_the_policies(tmp_path: Path) -> None:
    write_field(tmp_path, [0.0, 2.5, 5.0])
    selection = scan_folder(tmp_path).choose_series()
    asked, plain = read_volume(selection, on_gap="resample", on_tilt="resample"), read_volume(selection)
    np.testing.assert_array_equal(asked.array, plain.array)
    np.testing.assert_array_equal(asked.geometry.affine_lps, plain.geometry.affine_lps)
    assert len(asked.geometry.frames) == 3


def test_more_gap_than_image_is_refused(tmp_path: Path) -> None:
    write_field(tmp_path, [0.0, 2.5, 50.0])
    with pytest.raises(DicomGeometryError, match="without a measured one"):
        read_volume(scan_folder(tmp_path).choose_series(), on_gap="resample")
