"""The files that pydicom carries for its own tests: each is read as pydicom reads it, or refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_vggunet.dicom import read_volume, scan_files
from monai_vggunet.errors import VGGUNetError

ROOT = Path(pydicom.__file__).parent / "data" / "test_files"
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file() and "TINY_ALPHA" not in path.parts)
# Gray, with a place in space, in every transfer syntax: these must not be refused.
GOOD = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "693_J2KI.dcm",
    "examples_overlay.dcm",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892003/MR700/4467",
]

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's own, about files that are meant to be bad


def assert_as_pydicom_reads_it(path: Path) -> None:
    volume = read_volume(scan_files([path]).choose_series())
    dataset = pydicom.dcmread(path, force=True)
    expected = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    np.testing.assert_allclose(volume.array[:, :, 0].T, expected, rtol=1e-6)
    affine = volume.geometry.affine_lps
    np.testing.assert_allclose(affine[:3, 3], [float(value) for value in dataset.ImagePositionPatient], atol=1e-3)
    spacing = [float(value) for value in dataset.PixelSpacing]
    cosines = [float(value) for value in dataset.ImageOrientationPatient]
    np.testing.assert_allclose(affine[:3, 0], np.multiply(cosines[:3], spacing[1]), atol=1e-3)
    np.testing.assert_allclose(affine[:3, 1], np.multiply(cosines[3:], spacing[0]), atol=1e-3)


@pytest.mark.parametrize("name", GOOD)
def test_good_file_is_read(name: str) -> None:
    assert_as_pydicom_reads_it(ROOT / name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_is_right_or_refused(path: Path) -> None:
    with contextlib.suppress(VGGUNetError):
        assert_as_pydicom_reads_it(path)
