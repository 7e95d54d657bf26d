from __future__ import annotations

import dataclasses
from pathlib import Path

import gdcm
import helper_tasks
import numpy as np
import pydicom
import pytest
from dicom_phantoms import rewritten, stored_values, write_enhanced, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from monai_vggunet.dicom import DicomVolume, read_volume, scan_files, scan_folder
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.parallel import spread as helpers
from monai_vggunet.dicom.pixels.planes import read_pixels
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
    assert "MONOCHROME1" in volume.findings[-1].text


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
    with pytest.raises(DicomPixelError, match=r"3 samples per pixel, RGB; expected one sample"):
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
    with pytest.raises(DicomPixelError, match=r"IM_98 .*holds no pixel data"):
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
    assert "1 identical copy left out: COPY_99" in volume.findings[0].text


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
    with pytest.raises(
        DicomGeometryError, match=r"2 planes at one position with different.*none of the attributes that usually do"
    ):
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


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_every_uncompressed_syntax_is_read(tmp_path: Path, transfer_syntax: str) -> None:
    for path in write_series(tmp_path):
        rewritten(path, transfer_syntax)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored_values()))


def test_values_above_an_overlay_bit_are_shifted_down_in_compressed_and_big_endian_files(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    bits = {"BitsStored": 12, "HighBit": 15}
    write_series(tmp_path / "rle", (values << 4) | 0x3, transfer_syntax=RLELossless, **bits)
    for path in write_series(tmp_path / "big", ((values << 4) | 0x3).astype(np.int16), **bits, PixelRepresentation=0):
        rewritten(path, ExplicitVRBigEndian)
    for folder in ("rle", "big"):
        np.testing.assert_array_equal(read(tmp_path / folder).array, as_volume(values))


@pytest.mark.parametrize("transfer_syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_signed_values_of_twelve_bits_keep_their_sign(tmp_path: Path, transfer_syntax: str) -> None:
    stored = stored_values(rows=48, columns=40)
    write_series(tmp_path, stored, transfer_syntax=transfer_syntax, BitsStored=12)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


@pytest.mark.parametrize("fragments", [1, 3])
def test_jpeg_lossless_in_one_or_several_fragments(tmp_path: Path, fragments: int) -> None:
    stored = np.abs(stored_values(rows=32, columns=40)).astype(np.uint16)
    for path in write_series(tmp_path, stored):
        as_jpeg_lossless(path, fragments)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


def as_jpeg_lossless(path: Path, fragments: int) -> None:
    """Compress a file by GDCM (process 14, selection value 1), pydicom having no such encoder."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame], fragments_per_frame=fragments, has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)


@pytest.mark.parametrize("transfer_syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_frame_of_another_size_than_its_header_says_is_refused(tmp_path: Path, transfer_syntax: str) -> None:
    stored = np.abs(stored_values(slices=2, rows=48, columns=40)).astype(np.uint16)
    write_series(tmp_path, stored, transfer_syntax=transfer_syntax)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Rows = 24
        dataset.save_as(path)
    with pytest.raises(DicomPixelError, match=r"declares \(48, 40\) rows and columns, expected \(24, 40\)"):
        read(tmp_path)


def test_native_frames_of_one_file_are_found_by_their_place(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 100, (5, 3, 3)).astype(np.uint16)
    write_enhanced(tmp_path / "enhanced", stored, [[0, 0, 3.0 * (4 - k)] for k in range(5)])
    expected = as_volume(stored) * np.float32([1, 2, 3, 4, 5])
    np.testing.assert_array_equal(read(tmp_path).array, expected[..., ::-1])


def test_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (3, 3, 5)).astype(np.uint8)
    for path, plane in zip(write_series(tmp_path, stored), stored):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = plane.tobytes() + b"\0"
        dataset.save_as(path)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("1", "-1024"), ("-1", "7"), ("200", "-8192"), ("1000", "5"), ("0.3", "-0.1"), ("1", "0.5")],
)
@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.1", RLELossless])
def test_rescaled_values_are_the_nearest_float32(
    tmp_path: Path, slope: str, intercept: str, transfer_syntax: str
) -> None:
    stored = np.linspace(-32768, 32767, 512).astype(np.int16).reshape(2, 16, 16)
    write_series(tmp_path, stored, transfer_syntax=transfer_syntax, RescaleSlope=slope, RescaleIntercept=intercept)
    exact = stored.astype(np.float64) * float(slope) + float(intercept)
    np.testing.assert_array_equal(read(tmp_path).array, exact.astype(np.float32).transpose(2, 1, 0))


def test_slices_lie_in_one_piece(tmp_path: Path) -> None:
    write_series(tmp_path)
    assert read(tmp_path).array.T.flags.c_contiguous


def frame_claiming(path: Path, rows: int, columns: int) -> FrameRecord:
    """Return a file's plane as a damaged header may describe it."""
    (series,) = scan_files([path]).series
    return dataclasses.replace(series.stacks[0].frames[0], rows=rows, columns=columns)


def test_absurd_size_of_a_compressed_plane_is_refused_before_memory_is_set_aside(tmp_path: Path) -> None:
    path = write_series(tmp_path, np.abs(stored_values(slices=1)).astype(np.uint16), transfer_syntax=RLELossless)[0]
    with pytest.raises(DicomPixelError, match=r"claim 4294836225 pixels .* a damaged header"):
        read_pixels([frame_claiming(path, 65535, 65535)])


def test_a_plane_is_decoded_before_much_memory_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.abs(stored_values(slices=2, rows=48, columns=40)).astype(np.uint16)
    files = write_series(tmp_path, stored, transfer_syntax=JPEG2000Lossless)
    monkeypatch.setattr("monai_vggunet.dicom.pixels.planes._HARMLESS_PIXELS", 1000)
    monkeypatch.setattr("monai_vggunet.dicom.pixels.planes._allocate", lambda _: pytest.fail("memory was set aside"))
    with pytest.raises(DicomPixelError, match="declares"):
        read_pixels([frame_claiming(path, 4000, 256) for path in files])


def test_jpeg_ls_without_an_end_is_refused(tmp_path: Path) -> None:
    stored = np.abs(stored_values(slices=2, rows=32, columns=32)).astype(np.uint16)
    files = write_series(tmp_path, stored, transfer_syntax=JPEGLSLossless)
    dataset = pydicom.dcmread(files[0])
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1)).rstrip(b"\0")
    dataset.PixelData = encapsulate([frame[:-2]])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(files[0])
    with pytest.raises(DicomPixelError, match=r"pixels of IM_99 .*cut short"):
        read(tmp_path)


def test_volume_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path)
    monkeypatch.setattr("monai_vggunet.memory.NEGLIGIBLE_BYTES", 0)
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 400)
    with pytest.raises(DicomPixelError, match=r"4 planes of 5x6 pixels.*it needs .* of memory.*fits into memory"):
        read(tmp_path)


def test_helper_processes_decode_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.abs(stored_values(slices=40, rows=64, columns=48)).astype(np.uint16)
    write_series(tmp_path, stored, transfer_syntax=JPEGLSLossless)
    for name in ("START_SEC", "WORTH_STARTING_SEC"):
        monkeypatch.setattr(helpers, name, 0.0)
    for _ in range(2):  # helpers that start meanwhile, then helpers that are there
        np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))
    files = sorted(tmp_path.iterdir())
    files[3].write_bytes(files[3].read_bytes()[:-1500])
    with pytest.raises(DicomPixelError, match=files[3].name):
        read(tmp_path)
    helpers._end_all()


def test_a_file_of_another_content_under_the_same_name_is_decoded_anew(tmp_path: Path) -> None:
    for factor in (1, 2):
        stored = (np.abs(stored_values()) * factor).astype(np.uint16)
        write_series(tmp_path, stored, transfer_syntax=RLELossless)
        np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


@pytest.mark.parametrize("slices", [1, 4])
def test_a_codec_that_crashes_on_any_file_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    stored = np.abs(stored_values(slices=slices)).astype(np.uint16)
    write_series(tmp_path, stored, transfer_syntax=RLELossless)
    with monkeypatch.context() as patch:
        patch.setattr("monai_vggunet.dicom.pixels.decoding.decode_planes", helper_tasks.crash)
        with pytest.raises(DicomPixelError, match=r"pixels of IM_.* cannot be decoded: the codec crashed"):
            read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path).array, as_volume(stored))


def test_decoded_values_that_do_not_fit_into_bits_stored_are_refused(tmp_path: Path) -> None:
    """Cut to the bits that the header allows, they would be other values without a word."""
    plane = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    write_series(tmp_path, plane[None], transfer_syntax=JPEG2000Lossless)
    (file,) = tmp_path.iterdir()
    dataset = pydicom.dcmread(file)
    dataset.BitsStored, dataset.HighBit = 8, 7
    dataset.save_as(file)
    with pytest.raises(DicomPixelError, match="from 0 to 4095 do not fit into BitsStored 8"):
        read_volume(scan_folder(tmp_path).choose_series(stack=0))
