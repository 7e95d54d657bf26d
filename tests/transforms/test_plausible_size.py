"""Headers whose lengths would make gigabytes of a few pixels, or of none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import stored_values, write_series
from phantoms import affine_of, meta_tensor

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.affine import doubt_in_scale
from monai_vggunet.dicom.survey import survey
from monai_vggunet.errors import DicomGeometryError, ImageContentError, refusal_behind
from monai_vggunet.transforms import CheckVolume, InPlaneSpacing, loading

IMAGE = np.zeros((1, 51, 51, 3), np.float32)


def image(spacing_mm: tuple[float, float, float], array: np.ndarray = IMAGE):  # type: ignore[no-untyped-def]
    return meta_tensor(array, affine_of("axial", spacing_mm))


@pytest.mark.parametrize(
    "spacing_mm", [(1e-6, 1e-6, 1e-6), (0.004, 0.004, 0.05), (10.0, 10.0, 10.0), (50.0, 50.0, 900.0), (0.7, 0.7, 5.0)]
)
def test_what_microscopes_and_scanners_give_is_plausible(spacing_mm: tuple[float, float, float]) -> None:
    assert doubt_in_scale(affine_of("oblique", spacing_mm)) == ""


@pytest.mark.parametrize("spacing_mm", [(70.0, 70.0, 5.0), (0.7, 51.0, 5.0), (1.0, 1.0, 1e4), (1e-9, 1.0, 1.0)])
def test_what_they_do_not_give_is_not(spacing_mm: tuple[float, float, float]) -> None:
    assert "expected 1e-06 to 50 mm in a slice" in doubt_in_scale(affine_of("axial", spacing_mm))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none_are_in_doubt(value: float) -> None:
    for row, column in ((0, 0), (1, 3)):
        affine = affine_of("axial")
        affine[row, column] = value
        assert doubt_in_scale(affine)


@pytest.mark.parametrize(
    ("spacing_mm", "message"),
    [
        ((70.0, 70.0, 5.0), r"voxels of 70 x 70 x 5 mm; expected .* micrometers"),
        ((70.0, 70.0, 70.0), r"voxels of 70 x 70 x 70 mm"),
        ((1e-9, 1e-9, 1e-9), "cannot be inverted|voxels of 1e-09"),
        ((1.0, 1.0, np.inf), "cannot be inverted"),
    ],
)
def test_a_volume_of_impossible_voxels_is_refused(spacing_mm: tuple[float, float, float], message: str) -> None:
    affine = np.diag([*spacing_mm, 1.0])
    with pytest.raises(ImageContentError, match=message):
        CheckVolume()(meta_tensor(IMAGE, affine))


def test_a_nifti_file_of_impossible_voxels_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(IMAGE[0], affine_of("axial", (70.0, 70.0, 5.0))), tmp_path / "a.nii.gz")
    with pytest.raises(RuntimeError) as caught:
        loading(with_label=False)({"image": str(tmp_path / "a.nii.gz")})
    assert "voxels of 70 x 70 x 5 mm" in str(refusal_behind(caught.value))


@pytest.mark.parametrize(
    ("spacing_mm", "target", "message"),
    [
        ((40.0, 40.0, 5.0), (0.7, 0.7), r"pixels of 40 x 40 mm, the model works at .* at most a factor of 20"),
        ((0.7, 40.0, 5.0), (0.7, 0.7), "at most a factor of 20 between them"),
        ((0.01, 0.01, 5.0), (0.7, 0.7), "at most a factor of 20 between them"),
        ((np.inf, 1.0, 5.0), (0.7, 0.7), "at most a factor of 20 between them"),
        ((np.nan, 1.0, 5.0), (0.7, 0.7), "at most a factor of 20 between them"),
    ],
)
def test_pixels_unlike_the_model_s_are_not_resampled(
    spacing_mm: tuple[float, float, float], target: tuple[float, float], message: str
) -> None:
    with pytest.raises(ImageContentError, match=message):
        InPlaneSpacing(target)(meta_tensor(IMAGE, np.diag([*spacing_mm, 1.0])))


def test_slices_do_not_grow_beyond_any_scanner_s() -> None:
    wide = np.zeros((1, 500, 3, 1), np.float32)
    assert InPlaneSpacing((1.0, 1.0))(image((8.0, 8.0, 5.0), wide)).shape == (1, 4000, 24, 1)
    with pytest.raises(ImageContentError, match=r"slices would become 5000 x 30 pixels, expected up to 4096 a side"):
        InPlaneSpacing((1.0, 1.0))(image((10.0, 10.0, 5.0), wide))


def test_a_slice_that_is_larger_by_itself_may_stay_or_shrink() -> None:
    ribbon = np.zeros((1, 5000, 2, 1), np.float32)
    assert InPlaneSpacing((1.0, 1.0))(image((1.0, 1.0, 5.0), ribbon)).shape == (1, 5000, 2, 1)
    assert InPlaneSpacing((1.0, 1.0))(image((0.9, 0.9, 5.0), ribbon)).shape == (1, 4500, 2, 1)


def test_slices_do_not_grow_beyond_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 1 << 20)
    with pytest.raises(ImageContentError, match=r"resampled to 3500 x 3500 pixels, it needs 0\.3 GiB of memory"):
        InPlaneSpacing((0.1, 0.1))(image((0.7, 0.7, 5.0), np.zeros((1, 500, 500, 3), np.float32)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixel_spacing": (70, 70)}, r"IM_.* has voxels of 70 x 70 x 2.5 mm; expected .* damaged header"),
        ({"pixel_spacing": ("1E-9", "1E-9")}, "has voxels of 1e-09"),
        ({"pixel_spacing": ("1E300", "1E300")}, "no usable PixelSpacing"),
        ({"origin": (1e9, 0, 0)}, "no usable ImagePositionPatient"),
        ({"step_mm": 10_000.0}, "has voxels of 0.6 x 0.8 x 1e\\+04 mm"),
    ],
)
def test_a_series_of_impossible_voxels_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    write_series(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(DicomGeometryError, match=message):
        read_volume(scan_folder(tmp_path).choose_series())
    (case,) = survey(tmp_path)
    assert case.series[0].chosen is None
    assert case.series[0].stacks[0].problem


def test_a_gap_of_ten_meters_is_not_filled(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=5), offsets_mm=[0.0, 1.0, 2.0, 3.0, 3000.0])
    with pytest.raises(DicomGeometryError, match=r"would make 3001 slices, most of them without a measured one"):
        read_volume(scan_folder(tmp_path).choose_series(), on_gap="resample")


@pytest.mark.parametrize(("shear_mm", "message"), [(300.0, "too far to the side of each other"), (1.0, "")])
def test_slices_that_lie_aside_are_not_made_one_volume(tmp_path: Path, shear_mm: float, message: str) -> None:
    write_series(tmp_path, shear_mm=shear_mm)
    if message:
        with pytest.raises(DicomGeometryError, match=message):
            read_volume(scan_folder(tmp_path).choose_series(), on_tilt="resample")
        return
    volume = read_volume(scan_folder(tmp_path).choose_series(), on_tilt="resample")
    assert volume.geometry.gantry_tilt_deg == 0


def test_a_tilt_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path, shear_mm=1.0)
    selection = scan_folder(tmp_path).choose_series()
    monkeypatch.setattr("monai_vggunet.dicom.resample.lack_of_memory", lambda _: "it needs more")
    with pytest.raises(DicomGeometryError, match=r"slices of 5 x 6 voxels would make 4 of .*: it needs more"):
        read_volume(selection, on_tilt="resample")
