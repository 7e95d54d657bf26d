"""Padded pixels are background: they never read as bright tissue, and they count in nothing that is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import rewritten, write_enhanced, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from monai_vggunet.dicom import DicomVolume, FindingKind, read_volume, scan_folder

LOWEST, HIGHEST = 24, 3000


def real_values(dtype: type = np.uint16) -> np.ndarray:
    """Return stored values (3, 8, 6), the lowest of which is 24."""
    values = np.random.default_rng(0).integers(LOWEST, HIGHEST, (3, 8, 6)).astype(dtype)
    values[1, 4, 4] = LOWEST
    return values


def padded(values: np.ndarray, *padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Put padding values into the first two columns; return stored values and the mask (slices, rows, columns)."""
    values, mask = values.copy(), np.zeros(values.shape, dtype=bool)
    mask[:, :, :2] = True
    values[mask] = np.resize(np.array(padding, dtype=values.dtype), mask.sum())
    return values, mask


def add_padding(files: list[Path], vr: str, value: Any, limit: Any = None) -> None:
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", vr, limit)
        dataset.save_as(path)


def read(folder: Path) -> DicomVolume:
    return read_volume(scan_folder(folder).choose_series())


def as_volume(stored: np.ndarray) -> np.ndarray:
    return stored.astype(np.float32).transpose(2, 1, 0)


def assert_background(
    volume: DicomVolume, stored: np.ndarray, mask: np.ndarray, background: float, shift: float
) -> None:
    """Check padded and other voxels, the count in the finding, and what the volume says about its padding."""
    expected = as_volume(stored) + np.float32(shift)
    expected[mask.transpose(2, 1, 0)] = background
    np.testing.assert_array_equal(volume.array, expected)
    (finding,) = [one for one in volume.findings if one.kind is FindingKind.PADDING]
    assert finding.count == int(mask.sum())
    assert volume.padding is not None
    assert volume.padding.voxels == int(mask.sum())
    assert volume.padding.share == pytest.approx(mask.mean())
    assert volume.padding.background == background


def test_padding_that_would_read_as_bright_is_the_lowest_real_value(tmp_path: Path) -> None:
    stored, mask = padded(real_values(), 63536)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024"), "US", 63536)
    assert_background(read(tmp_path), stored, mask, LOWEST - 1024, -1024)


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_padding_far_below_an_image_without_units_is_its_lowest_real_value(tmp_path: Path, modality: str) -> None:
    stored, mask = padded(real_values(np.int16), -32768)
    add_padding(write_series(tmp_path, stored, Modality=modality), "SS", -32768)
    assert_background(read(tmp_path), stored, mask, LOWEST, 0)


def test_padding_below_all_that_a_ct_measured_stays_as_the_scanner_wrote_it(tmp_path: Path) -> None:
    stored, mask = padded(real_values(np.int16), -2000)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024"), "SS", -2000)
    assert_background(read(tmp_path), stored, mask, -3024, -1024)


def test_padding_below_what_a_ct_can_measure_stays_beside_its_own_traces(tmp_path: Path) -> None:
    stored, mask = padded(real_values(np.int16), -2000)
    stored[0, 0, 5] = -2900  # as lossy compression leaves it
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024"), "SS", -2000)
    assert_background(read(tmp_path), stored, mask, -3024, -1024)


@pytest.mark.parametrize(
    ("dtype", "vr", "value", "inside"),
    [
        (np.int16, "US", 63536, -2000),
        (np.uint16, "SS", -2000, 63536),
        (np.uint8, "US", 255, 255),
        (np.int8, "SS", -100, -100),
        (np.int32, "SS", -2000, -2000),
        (np.uint16, "IS", "63536", 63536),
    ],
)
def test_the_bits_of_a_padding_value_count_however_it_is_written(
    tmp_path: Path, dtype: type, vr: str, value: Any, inside: int
) -> None:
    values = (real_values() % 90).astype(dtype)
    stored, mask = padded(values, inside)
    add_padding(write_series(tmp_path, stored, Modality="MR"), vr, value)
    assert_background(read(tmp_path), stored, mask, values[~mask].min(), 0)


@pytest.mark.parametrize(("value", "limit"), [(60000, 63536), (63536, 60000)])
def test_a_range_of_padding_values_has_either_end_first(tmp_path: Path, value: int, limit: int) -> None:
    stored, mask = padded(real_values(), 60000, 61234, 63536)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024"), "US", value, limit)
    assert_background(read(tmp_path), stored, mask, LOWEST - 1024, -1024)


def test_a_range_below_all_that_a_ct_measured_is_one_value(tmp_path: Path) -> None:
    stored, mask = padded(real_values(np.int16), -2000, -1500)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024"), "SS", -1500, -2000)
    assert_background(read(tmp_path), stored, mask, -3024, -1024)


def test_padding_beyond_bits_stored_is_padding_and_no_wrong_value(tmp_path: Path) -> None:
    stored, mask = padded(real_values(), 63536)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024", BitsStored=12), "US", 63536)
    volume = read(tmp_path)
    assert_background(volume, stored, mask, LOWEST - 1024, -1024)
    assert FindingKind.BITS_BEYOND not in {finding.kind for finding in volume.findings}


def test_padding_is_found_below_the_bits_of_an_overlay(tmp_path: Path) -> None:
    values, mask = padded(real_values(), 4095)
    add_padding(write_series(tmp_path, values | np.uint16(0x8000), BitsStored=12, Modality="MR"), "US", 4095)
    assert_background(read(tmp_path), values, mask, LOWEST, 0)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_compressed_pixels_are_padded_as_others_are(tmp_path: Path, syntax: str) -> None:
    stored, mask = padded(real_values(), 63536)
    add_padding(write_series(tmp_path, stored, RescaleIntercept="-1024", transfer_syntax=syntax), "US", 63536)
    assert_background(read(tmp_path), stored, mask, LOWEST - 1024, -1024)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_of_the_header_tells_the_padding(tmp_path: Path, syntax: str) -> None:
    stored, mask = padded(real_values(np.int16), -32768)
    files = write_series(tmp_path, stored, Modality="MR")
    add_padding(files, "SS", -32768)
    for path in files:
        rewritten(path, syntax)
    assert_background(read(tmp_path), stored, mask, LOWEST, 0)


def test_frames_of_one_object_are_padded_by_their_own_rescale(tmp_path: Path) -> None:
    stored, mask = padded(real_values(np.int16), -32768)
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, stored, [[0.0, 0.0, 3.0 * k] for k in range(3)])
    add_padding([path], "SS", -32768)
    volume = read(tmp_path)
    real = stored * np.array([1, 2, 3])[:, None, None]
    expected = as_volume(real)
    expected[mask.transpose(2, 1, 0)] = real[~mask].min()
    np.testing.assert_array_equal(volume.array, expected)


def test_padding_is_left_out_before_a_modality_lut(tmp_path: Path) -> None:
    stored, mask = padded(real_values(np.uint16) % 100, 255)
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [256, 0, 16], "US"
    lut.LUTData = (np.arange(256, dtype=np.uint16) * 7).tobytes()
    lut["LUTDescriptor"].VR, lut["LUTData"].VR = "US", "OW"
    files = write_series(tmp_path, stored, Modality="MR", ModalityLUTSequence=Sequence([lut]), RescaleSlope=None)
    add_padding(files, "US", 255)
    expected = stored * 7
    assert_background(read(tmp_path), expected, mask, float(expected[~mask].min()), 0)


def test_planes_without_a_padded_pixel_tell_the_lowest_value_too(tmp_path: Path) -> None:
    stored, mask = padded(real_values(), 63536)
    stored[1], mask[1] = real_values()[1], False
    add_padding(write_series(tmp_path, stored, Modality="MR"), "US", 63536)
    assert_background(read(tmp_path), stored, mask, LOWEST, 0)


@pytest.mark.parametrize(("value", "severity"), [(63536, "note"), (0, "note"), (1500, "warning")])
def test_a_padding_value_among_the_measured_ones_is_a_warning(tmp_path: Path, value: int, severity: str) -> None:
    values = real_values()
    values[values == value] += 1
    stored, mask = padded(values, value)
    add_padding(write_series(tmp_path, stored, Modality="MR"), "US", value)
    volume = read(tmp_path)
    assert_background(volume, stored, mask, LOWEST, 0)
    assert [one.severity for one in volume.findings if one.kind is FindingKind.PADDING] == [severity]


def test_a_padding_value_that_no_pixel_has_changes_nothing(tmp_path: Path) -> None:
    add_padding(write_series(tmp_path, real_values()), "US", 63536)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, as_volume(real_values()))
    assert volume.padding is None
    assert FindingKind.PADDING not in {finding.kind for finding in volume.findings}


def test_a_volume_of_padding_alone_is_said_to_be_one(tmp_path: Path) -> None:
    stored = np.full((3, 8, 6), 7, dtype=np.uint16)
    add_padding(write_series(tmp_path, stored), "US", 7)
    assert_background(read(tmp_path), stored, np.ones(stored.shape, dtype=bool), 7, 0)


def test_an_absent_or_manifold_padding_value_is_none(tmp_path: Path) -> None:
    for vr, value, name in (("US", None, "empty"), ("US", [24, 25], "two"), ("LO", "none", "text")):
        add_padding(write_series(tmp_path / name, real_values()), vr, value)
        assert read(tmp_path / name).padding is None
