from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, stored_values, write_series

from monai_vggunet.dicom import lps_to_ras, ras_to_lps, read_volume, scan_folder, volume_geometry
from monai_vggunet.errors import DicomGeometryError

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}


def frames_in(folder: Path) -> tuple:
    return scan_folder(folder).choose_series().stack.frames


@pytest.mark.parametrize("step_mm", [2.5, -2.5])
@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_marked_voxel_lies_where_its_header_says(tmp_path: Path, plane: str, step_mm: float) -> None:
    orientation, spacing, origin = ORIENTATIONS[plane], (0.8, 0.6), np.array([-30.0, 12.5, -100.0])
    stored = np.zeros((4, 6, 5), np.int16)
    stored[1, 4, 2] = 777  # slice 1, row 4, column 2
    write_series(tmp_path, stored, orientation=orientation, pixel_spacing=spacing, step_mm=step_mm)
    volume = read_volume(scan_folder(tmp_path).choose_series())
    voxel = np.argwhere(volume.array == 777)
    assert voxel.shape == (1, 3)
    lps = (volume.geometry.affine_lps @ [*voxel[0], 1])[:3]
    column_step, row_step = np.array(orientation[0]) * spacing[1], np.array(orientation[1]) * spacing[0]
    expected = origin + step_mm * np.cross(*orientation) + 4 * row_step + 2 * column_step
    np.testing.assert_allclose(lps, expected, atol=1e-5)
    assert volume.array.shape == (5, 6, 4)
    assert volume.geometry.spacing_mm == pytest.approx((0.6, 0.8, 2.5), abs=1e-5)
    assert volume.geometry.findings == ()


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_slices_grow_along_the_normal_whatever_their_order(tmp_path: Path, plane: str) -> None:
    write_series(tmp_path, orientation=ORIENTATIONS[plane], step_mm=-3.0)
    affine = volume_geometry(frames_in(tmp_path)).affine_lps
    assert np.linalg.det(affine[:3, :3]) > 0


def test_lps_to_ras_turns_x_and_y_and_is_its_own_inverse() -> None:
    affine = np.random.default_rng(1).normal(size=(4, 4))
    np.testing.assert_array_equal(lps_to_ras(affine), affine * np.array([[-1], [-1], [1], [1]]))
    np.testing.assert_array_equal(ras_to_lps(lps_to_ras(affine)), affine)
    np.testing.assert_array_equal(lps_to_ras(lps_to_ras(affine)), affine)


@pytest.mark.parametrize("shear_mm", [0.8, -0.8])
def test_tilted_gantry_gives_an_exact_sheared_affine_and_is_reported(tmp_path: Path, shear_mm: float) -> None:
    write_series(tmp_path, shear_mm=shear_mm)
    geometry = volume_geometry(frames_in(tmp_path))
    np.testing.assert_allclose(geometry.affine_lps[:3, 2], [0, shear_mm, 2.5], atol=1e-6)
    assert geometry.gantry_tilt_deg == pytest.approx(np.degrees(np.arctan2(shear_mm, 2.5)), abs=1e-4)
    assert "17.7 degrees off their normal" in geometry.findings[0].text


def test_tilted_gantry_is_refused_on_request(tmp_path: Path) -> None:
    write_series(tmp_path, shear_mm=0.8)
    with pytest.raises(DicomGeometryError, match=r"17\.7 degrees off their normal.*on_tilt='keep'"):
        volume_geometry(frames_in(tmp_path), on_tilt="error")


def test_missing_slice_is_reported_with_place_and_size(tmp_path: Path) -> None:
    files = write_series(tmp_path, stored_values(slices=6))
    files[3].unlink()
    with pytest.raises(DicomGeometryError, match=r"gap of 5 mm after IM_97 .*InstanceNumber 98.*1 slice miss"):
        volume_geometry(frames_in(tmp_path))


def test_missing_slice_is_kept_on_request_and_its_cost_is_said(tmp_path: Path) -> None:
    write_series(tmp_path, offsets_mm=[0, 2.5, 5, 10])
    geometry = volume_geometry(frames_in(tmp_path), on_gap="keep")
    assert len(geometry.frames) == 4
    assert "displaces slices by up to" in geometry.findings[0].text


def test_missing_slice_is_found_in_a_long_stack(tmp_path: Path) -> None:
    offsets = [float(k) for k in range(61) if k != 30]
    write_series(tmp_path, stored_values(slices=60, rows=2, columns=2), offsets_mm=offsets)
    with pytest.raises(DicomGeometryError, match="slice gap of 2 mm"):
        volume_geometry(frames_in(tmp_path))


def test_uneven_spacing_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, offsets_mm=[0, 2.5, 5, 8.5])
    with pytest.raises(DicomGeometryError, match=r"uneven slice spacing: 3\.5 mm after IM_97.*expected 2\.5 mm"):
        volume_geometry(frames_in(tmp_path))


def test_rounded_positions_are_accepted(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=8), offsets_mm=[0.0, 0.6, 1.2, 1.9, 2.5, 3.1, 3.8, 4.4])
    geometry = volume_geometry(frames_in(tmp_path))
    assert geometry.spacing_mm[2] == pytest.approx(0.63, abs=0.01)


def test_slice_shifted_sideways_is_refused(tmp_path: Path) -> None:
    per_slice = [{"ImagePositionPatient": [0, 2.0 if k == 2 else 0, 2.5 * k]} for k in range(4)]
    write_series(tmp_path, per_slice=per_slice)
    with pytest.raises(DicomGeometryError, match=r"IM_97.*is shifted or turned by 1\.\d+ mm"):
        volume_geometry(frames_in(tmp_path))


def test_slightly_turned_slice_is_refused(tmp_path: Path) -> None:
    turned = [np.cos(0.009), np.sin(0.009), 0, -np.sin(0.009), np.cos(0.009), 0]
    per_slice = [{"ImageOrientationPatient": turned} if k == 3 else {} for k in range(4)]
    write_series(tmp_path, np.zeros((4, 64, 64), np.int16), per_slice=per_slice)
    with pytest.raises(DicomGeometryError, match="shifted or turned by"):
        volume_geometry(frames_in(tmp_path))


def test_all_slices_at_one_position_are_no_volume(tmp_path: Path) -> None:
    write_series(tmp_path, offsets_mm=[0, 0, 0, 0])
    with pytest.raises(DicomGeometryError, match="all 4 planes lie at one position"):
        read_volume(scan_folder(tmp_path).choose_series())


def test_planes_side_by_side_are_several_volumes(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, series_uid="1.2.9", origin=(70.0, 12.5, -100.0), prefix="B_")
    with pytest.raises(DicomGeometryError, match="side by side in one plane, up to 100 mm apart"):
        read_volume(scan_folder(tmp_path).choose_series())


@pytest.mark.parametrize(
    ("attributes", "depth_mm", "said"),
    [
        ({"SliceThickness": "4"}, 4.0, "SliceThickness"),
        ({"SliceThickness": "4", "SpacingBetweenSlices": "5"}, 5.0, "SpacingBetweenSlices"),
        ({}, 1.0, "depth set to 1.0 mm"),
    ],
)
def test_single_slice_takes_its_depth_from_the_header(
    tmp_path: Path, attributes: dict[str, str], depth_mm: float, said: str
) -> None:
    write_series(tmp_path, stored_values(slices=1), **attributes)
    geometry = volume_geometry(frames_in(tmp_path))
    assert geometry.spacing_mm == pytest.approx((0.6, 0.8, depth_mm))
    assert said in geometry.findings[0].text


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_named(tmp_path: Path, keyword: str) -> None:
    write_series(tmp_path, stored_values(slices=1), **{keyword: None})
    with pytest.raises(DicomGeometryError, match=f"IM_99 .* has no usable {keyword}"):
        volume_geometry(frames_in(tmp_path))


def test_zero_pixel_spacing_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, pixel_spacing=(0.0, 0.6))
    with pytest.raises(DicomGeometryError, match=r"PixelSpacing .* expected above 0"):
        volume_geometry(frames_in(tmp_path))


def test_skewed_orientation_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, orientation=((1.0, 0.0, 0.0), (0.3, 1.0, 0.0)))
    with pytest.raises(DicomGeometryError, match="not a pair of perpendicular unit vectors"):
        volume_geometry(frames_in(tmp_path))


def test_mosaic_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=1), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(DicomGeometryError, match=r"Siemens mosaic.*dcm2niix"):
        volume_geometry(frames_in(tmp_path))


def test_decimal_strings_longer_than_the_standard_allows_keep_their_digits(tmp_path: Path) -> None:
    files = write_series(tmp_path, stored_values(slices=1), pixel_spacing=(0.8, 0.6))
    raw = files[0].read_bytes()
    short = b"\x28\x00\x30\x00DS\x08\x000.8\\0.6 "
    longer = b"0.699987828731537123\\0.666666686534882456 "
    assert short in raw
    files[0].write_bytes(raw.replace(short, b"\x28\x00\x30\x00DS" + len(longer).to_bytes(2, "little") + longer))
    geometry = volume_geometry(frames_in(tmp_path))
    assert geometry.spacing_mm[:2] == pytest.approx((0.666666686534882456, 0.699987828731537123), abs=1e-15)
