from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import stored_values, write_enhanced, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from monai_vggunet.dicom import DicomVolume, read_volume, scan_folder
from monai_vggunet.errors import DicomGeometryError, DicomPixelError


def read(folder: Path, **policies: str) -> DicomVolume:
    return read_volume(scan_folder(folder).choose_series(), **policies)


def as_volume(stored: np.ndarray) -> np.ndarray:
    return stored.astype(np.float32).transpose(2, 1, 0)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.int8, np.int32])
def test_stored_values_of_every_width_and_sign_are_read(tmp_path: Path, dtype: type) -> None:
    stored = np.random.default_rng(0).integers(-100 if np.dtype(dtype).kind == "i" else 0, 100, (3, 6, 4)).astype(dtype)
    write_series(tmp_path, stored)
    volume = read(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, as_volume(stored))


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    stored = stored_values(slices=3)
    slopes, intercepts = ["1", "0.5", "2.25"], ["-1024", "3", "0"]
    per_slice = [{"RescaleSlope": s, "RescaleIntercept": i} for s, i in zip(slopes, intercepts)]
    write_series(tmp_path, stored, per_slice=per_slice)
    expected = as_volume(stored) * np.float32([1, 0.5, 2.25]) + np.float32([-1024, 3, 0])
    np.testing.assert_allclose(read(tmp_path).array, expected)


def test_absent_rescale_leaves_stored_values(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(), RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored_values()))


@pytest.mark.parametrize(
    ("transfer_syntax", "dtype"),
    [
        (JPEG2000Lossless, np.int16),
        (JPEG2000Lossless, np.uint16),
        (JPEGLSLossless, np.uint16),
        (RLELossless, np.int16),
        (RLELossless, np.uint16),
    ],
)
def test_compressed_series_are_lossless(tmp_path: Path, transfer_syntax: str, dtype: type) -> None:
    stored = stored_values(rows=48, columns=40)  # JPEG 2000 halves an image five times: it needs some size
    stored = np.abs(stored) if dtype == np.uint16 else stored
    write_series(tmp_path, stored.astype(dtype), transfer_syntax=transfer_syntax)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


@pytest.mark.parametrize("signed", [True, False])
def test_garbage_in_unused_bits_is_dropped(tmp_path: Path, signed: bool) -> None:
    values = np.random.default_rng(0).integers(-2048 if signed else 0, 2048, (3, 4, 5)).astype(np.int16)
    garbage = (values.view(np.uint16) & 0x0FFF) | 0xA000
    write_series(tmp_path, garbage.view(np.int16) if signed else garbage, BitsStored=12)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(values))


def test_values_above_an_overlay_bit_are_shifted_down(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    write_series(tmp_path, (values << 4) | 0x3, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(values))


def test_monochrome1_changes_no_value_and_is_reported(tmp_path: Path) -> None:
    write_series(tmp_path, PhotometricInterpretation="MONOCHROME1")
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, as_volume(stored_values()))
    assert "MONOCHROME1" in volume.findings[-1]


def test_modality_lut_is_applied(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = (
        [8, 0, 16],
        "US",
        (np.arange(8, dtype=np.uint16) * 100).tobytes(),
    )
    stored = np.random.default_rng(0).integers(0, 8, (3, 4, 5)).astype(np.uint16)
    write_series(tmp_path, stored, ModalityLUTSequence=[lut], RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored * 100))


def test_color_is_refused(tmp_path: Path) -> None:
    pixels = np.zeros((2, 6, 5, 3), np.uint8)
    write_series(
        tmp_path, pixels, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, RescaleSlope=None
    )
    with pytest.raises(DicomPixelError, match=r"3 sample\(s\) per pixel, RGB; expected one sample"):
        read(tmp_path)


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.1", JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_truncated_pixels_are_refused_by_file_name(tmp_path: Path, transfer_syntax: str) -> None:
    stored = np.abs(stored_values(rows=64, columns=64)).astype(np.uint16)
    files = write_series(tmp_path, stored, transfer_syntax=transfer_syntax)
    files[2].write_bytes(files[2].read_bytes()[:-2000])
    with pytest.raises(DicomPixelError, match="IM_97"):
        read(tmp_path)


@pytest.mark.parametrize("transfer_syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_frame_cut_short_inside_an_intact_file_is_refused(tmp_path: Path, transfer_syntax: str) -> None:
    stored = np.abs(stored_values(slices=2, rows=32, columns=32)).astype(np.uint16)
    files = write_series(tmp_path, stored, transfer_syntax=transfer_syntax)
    dataset = pydicom.dcmread(files[1])
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(files[1])
    with pytest.raises(DicomPixelError, match=r"pixels of IM_98 .* cannot be decoded"):
        read(tmp_path)


def test_file_without_pixel_data_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    dataset = pydicom.dcmread(files[1])
    del dataset.PixelData
    dataset.save_as(files[1])
    with pytest.raises(DicomPixelError, match="IM_98 holds no pixel data"):
        read(tmp_path)


def test_file_without_preamble_is_read(tmp_path: Path) -> None:
    for file in write_series(tmp_path):
        raw = file.read_bytes()
        meta_end = 132 + 12 + int.from_bytes(raw[140:144], "little")
        file.write_bytes(raw[meta_end:])
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored_values()))


def test_identical_copy_is_dropped_and_reported(tmp_path: Path) -> None:
    stored = stored_values()
    write_series(tmp_path, stored, series_uid="1.2.9")
    write_series(tmp_path, stored[:1], series_uid="1.2.9", prefix="COPY_", InstanceNumber="500")
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, as_volume(stored))
    assert "identical copy left out: COPY_99" in volume.findings[0]


def test_identical_copy_is_refused_on_request(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, series_uid="1.2.9", prefix="COPY_")
    with pytest.raises(DicomGeometryError, match=r"2 identical planes at one position.*on_duplicate='drop'"):
        read(tmp_path, on_duplicate="error")


def test_single_slice_exported_twice_is_one_slice(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(slices=1), series_uid="1.2.9")
    write_series(tmp_path, stored_values(slices=1), series_uid="1.2.9", prefix="COPY_")
    assert read(tmp_path).array.shape == (5, 6, 1)


def test_contradictory_copy_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values(slices=1, seed=7), series_uid="1.2.9", prefix="B_")
    with pytest.raises(DicomGeometryError, match=r"2 planes at one position with different.*no header attribute"):
        read(tmp_path)


def test_copies_with_different_rescale_contradict_each_other(tmp_path: Path) -> None:
    write_series(tmp_path, series_uid="1.2.9")
    write_series(tmp_path, stored_values()[:1], series_uid="1.2.9", prefix="B_", RescaleSlope="2")
    with pytest.raises(DicomGeometryError, match="different pixels"):
        read(tmp_path)


def test_four_dimensional_series_without_distinguishing_header_is_refused(tmp_path: Path) -> None:
    for time in range(3):
        write_series(tmp_path, stored_values(seed=time), series_uid="1.2.9", prefix=f"T{time}_")
    with pytest.raises(DicomGeometryError, match="12 planes at 4 positions, 3 at each: a 4-D series"):
        read(tmp_path)


def test_enhanced_frames_are_sorted_by_position_with_their_own_rescale(tmp_path: Path) -> None:
    stored = np.abs(stored_values(slices=3)).astype(np.uint16)
    write_enhanced(tmp_path / "enhanced", stored, [[0, 0, 6], [0, 0, 0], [0, 0, 3]])
    volume = read(tmp_path)
    expected = as_volume(stored) * np.float32([1, 2, 3])
    np.testing.assert_array_equal(volume.array, expected[..., [1, 2, 0]])
    assert volume.geometry.spacing_mm == pytest.approx((0.6, 0.8, 3.0))
    assert [frame.frame_index for frame in volume.geometry.frames] == [1, 2, 0]


def test_frames_without_functional_groups_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, np.zeros((1, 12, 5), np.uint16), Rows=4, NumberOfFrames=3)
    with pytest.raises(DicomGeometryError, match="no usable ImagePositionPatient"):
        read(tmp_path)
