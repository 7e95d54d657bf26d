"""Properties that hold for any series: a volume equals the phantom's truth, and damage is refused or does no harm."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_enhanced, write_series
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from monai_vggunet.dicom import DicomVolume, read_volume, scan_folder
from monai_vggunet.errors import DicomGeometryError, VGGUNetError

CORNER_TOLERANCE_MM = 1e-3
# Files are written and read for each example; a busy disk must not fail a test.
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

angles = st.floats(-np.pi, np.pi)
lengths_mm = st.floats(0.2, 5.0).map(lambda value: round(value, 4))
sizes = st.integers(2, 7)


@st.composite
def orientations(draw) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Draw any rotation: direction of a growing column index, and of a growing row index."""
    a, b, c = draw(angles), draw(angles), draw(angles)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    again = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = about_z @ about_x @ again
    return tuple(turn[:, 0]), tuple(turn[:, 1])


@st.composite
def codings(draw) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Draw stored words with garbage in unused bits, the values that they mean, and the attributes that say so."""
    shape = draw(sizes), draw(sizes), draw(sizes)
    used, signed = draw(st.sampled_from([8, 12, 16])), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = (-(1 << used - 1), 1 << used - 1) if signed else (0, 1 << used)
    values = rng.integers(low, high, shape)
    garbage = rng.integers(0, 1 << 16, shape) << used
    words = ((values & ((1 << used) - 1)) | garbage).astype(np.uint16)
    attributes = {"BitsStored": used, "HighBit": used - 1, "PixelRepresentation": int(signed)}
    return words.view(np.int16) if signed else words, values, attributes


def read(folder: Path) -> DicomVolume:
    return read_volume(scan_folder(folder, num_workers=1).choose_series(), num_workers=1)


@SETTINGS
@given(
    coding=codings(),
    orientation=orientations(),
    spacing=st.tuples(lengths_mm, lengths_mm),
    step_mm=lengths_mm,
    backwards=st.booleans(),
    shear_mm=st.sampled_from([0.0, 0.0, 0.4, -1.3]),
    rescale=st.lists(st.tuples(st.sampled_from([1, 0.5, -2, 0.0173]), st.sampled_from([0, -1024, 3.5])), min_size=7),
    names=st.randoms(use_true_random=False),
)
def test_volume_is_the_phantom(
    coding: tuple,
    orientation: tuple,
    spacing: tuple,
    step_mm: float,
    backwards: bool,
    shear_mm: float,
    rescale: list,
    names: random.Random,
) -> None:
    words, values, attributes = coding
    per_slice = [{"RescaleSlope": str(s), "RescaleIntercept": str(i)} for s, i in rescale[: len(words)]]
    origin, step = np.array([-30.0, 12.5, -100.0]), -step_mm if backwards else step_mm
    with tempfile.TemporaryDirectory() as folder:
        files = write_series(
            Path(folder),
            words,
            orientation=orientation,
            pixel_spacing=spacing,
            step_mm=step,
            shear_mm=shear_mm,
            per_slice=per_slice,
            **attributes,
        )
        shuffled = [file.with_name(f"file{number}") for number, file in enumerate(files)]
        names.shuffle(shuffled)
        for file, name in zip(files, shuffled):
            shutil.move(file, name)
        volume = read(Path(folder))
    # slice k of the phantom is slice k of the volume, or the k-th from its end if the phantom grows against its normal
    order = range(len(words))[:: -1 if backwards else 1]
    truth = np.stack([values[k] * rescale[k][0] + rescale[k][1] for k in order]).transpose(2, 1, 0)
    np.testing.assert_allclose(volume.array, truth, rtol=1e-6, atol=1e-4)
    columns, rows, slices = volume.array.shape
    right, down = np.array(orientation[0]) * spacing[1], np.array(orientation[1]) * spacing[0]
    along = step * np.cross(*orientation) + shear_mm * np.array(orientation[1])
    for k, number in ((0, order[0]), (slices - 1, order[-1])):
        for i, j in ((0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)):
            expected = origin + number * along + i * right + j * down
            got = volume.geometry.affine_lps @ [i, j, k, 1]
            np.testing.assert_allclose(got[:3], expected, atol=CORNER_TOLERANCE_MM)


@SETTINGS
@given(order=st.permutations(range(5)), step_mm=lengths_mm, seed=st.integers(0, 99))
def test_frames_of_a_multiframe_file_are_sorted_by_position(order: list[int], step_mm: float, seed: int) -> None:
    stored = np.random.default_rng(seed).integers(-900, 900, (5, 4, 6)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        write_enhanced(Path(folder, "e"), stored, [[1, 2, place * step_mm] for place in order])
        volume = read(Path(folder))
    for frame, place in enumerate(order):
        np.testing.assert_array_equal(volume.array[:, :, place].T, stored[frame] * np.float32(frame + 1))
    np.testing.assert_allclose(volume.geometry.affine_lps[:3, 2], [0, 0, step_mm], atol=1e-6)


@SETTINGS
@given(missing=st.integers(1, 5), slices=st.integers(7, 9), step_mm=lengths_mm, orientation=orientations())
def test_a_missing_slice_is_always_noticed(missing: int, slices: int, step_mm: float, orientation: tuple) -> None:
    stored = np.random.default_rng(0).integers(0, 9, (slices, 3, 3)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder), stored, step_mm=step_mm, orientation=orientation)[missing].unlink()
        with pytest.raises(DicomGeometryError, match=r"1 slice missing"):
            read(Path(folder))


keywords = st.sampled_from(
    [
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"),
        *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
        *("NumberOfFrames", "ImageType"),
    ]
)
contents = st.one_of(st.binary(max_size=24), st.from_regex(rb"\A[-+0-9.eE\\ ]{0,24}\Z"), st.just(b""))


@settings(SETTINGS, max_examples=200)
@given(which=st.sets(st.integers(0, 3), min_size=1), keyword=keywords, content=contents)
def test_damaged_element_is_refused_or_does_no_harm(which: set[int], keyword: str, content: bytes) -> None:
    stored = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
    with tempfile.TemporaryDirectory() as folder:
        files = write_series(Path(folder), stored)
        for number in which:
            dataset = pydicom.dcmread(files[number])
            tag = Tag(keyword)
            vr = "IS" if keyword == "NumberOfFrames" else dataset[tag].VR
            value = content + b" " * (len(content) % 2)
            dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
            try:
                dataset.save_as(files[number])
            except Exception:  # pydicom cannot write this nonsense: not this test's matter
                assume(False)
        try:
            volume = read(Path(folder))
        except VGGUNetError:
            return
    # whatever the damage, a volume that is returned is finite, invertible, and not larger than what was written
    assert np.isfinite(volume.array).all()
    assert abs(np.linalg.det(volume.geometry.affine_lps[:3, :3])) > 0
    assert volume.array.size <= stored.size
    if keyword in ("ImageType", "NumberOfFrames"):  # these do not change what the pixels mean
        np.testing.assert_array_equal(volume.array, stored.transpose(2, 1, 0))


@settings(SETTINGS, max_examples=100)
@given(which=st.integers(0, 3), share=st.floats(0, 1, exclude_max=True))
def test_truncated_file_is_refused_or_named(which: int, share: float) -> None:
    stored = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
    with tempfile.TemporaryDirectory() as folder:
        file = write_series(Path(folder), stored)[which]
        data = file.read_bytes()
        file.write_bytes(data[: int(share * len(data))])
        try:
            volume = read(Path(folder))
        except VGGUNetError:
            return
    assert file.name in " ".join(map(str, volume.findings))
    assert volume.array.shape[2] == 3
