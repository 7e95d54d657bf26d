"""NIfTI files of every kind that people have: transforms, units, byte orders, dimensions, damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage
from volume_meta import finding_texts

from monai_vggunet.data import NiftiVolumeReader
from monai_vggunet.errors import ImageContentError, ImageReadError, VGGUNetError, refusal_behind

AFFINE = np.array([[-0.7, 0.1, 0.0, 30.0], [0.1, 0.7, 0.2, -20.0], [0.0, -0.14, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
ORTHOGONAL = np.array([[0.0, -0.7, 0.0, 30.0], [0.8, 0.0, 0.0, -20.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
VALUES = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3) - 30


def write(
    path: Path,
    array: np.ndarray = VALUES,
    *,
    sform: np.ndarray | None = ORTHOGONAL,
    scode: int = 1,
    qform: np.ndarray | None = None,
    qcode: int = 0,
    unit: str | None = "mm",
    endianness: str = "<",
) -> Path:
    header = nib.Nifti1Header(endianness=endianness)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header["descrip"] = b"Secret^Person"
    if unit:
        header.set_xyzt_units(unit)
    image = nib.Nifti1Image(array, None, header)
    if qform is not None:
        image.set_qform(qform, qcode)
    if sform is not None:
        image.set_sform(sform, scode)
    nib.save(image, path)
    return path


def load(path: Path):  # type: ignore[no-untyped-def]
    return LoadImage(reader=NiftiVolumeReader)(path)


def refusal(path: Path) -> VGGUNetError:
    with pytest.raises(Exception) as caught:  # noqa: PT011 MONAI may wrap it
        load(path)
    found = refusal_behind(caught.value)
    assert found is not None, caught.value
    return found


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "float32", "float64"])
def test_values_and_affine(tmp_path: Path, name: str, endianness: str, dtype: str) -> None:
    values = np.abs(VALUES) if dtype == "uint8" else VALUES
    image = load(write(tmp_path / name, values.astype(dtype), sform=AFFINE, endianness=endianness))
    np.testing.assert_array_equal(image.numpy(), values.astype(np.float32))
    np.testing.assert_allclose(image.affine.numpy(), AFFINE, atol=1e-6)
    assert not finding_texts(image.meta)


def test_scaled_values(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, ORTHOGONAL)
    image.header.set_slope_inter(2.0, -1024.0)
    image.to_filename(tmp_path / "a.nii.gz")
    stored = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(load(tmp_path / "a.nii.gz").numpy(), stored.get_fdata().astype(np.float32))


@pytest.mark.parametrize("negative", [True, False], ids=["left-handed", "right-handed"])
def test_both_handednesses(tmp_path: Path, negative: bool) -> None:
    affine = np.diag([-1.0 if negative else 1.0, 1.0, 3.0, 1.0])
    assert np.linalg.det(load(write(tmp_path / "a.nii", sform=affine)).affine.numpy()) == pytest.approx(
        -3 if negative else 3
    )


def test_the_qform_counts_where_no_sform_is_coded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", sform=None, qform=ORTHOGONAL, qcode=1)
    np.testing.assert_allclose(load(path).affine.numpy(), ORTHOGONAL, atol=1e-5)


def test_transforms_that_agree_are_no_finding(tmp_path: Path) -> None:
    image = load(write(tmp_path / "a.nii", qform=ORTHOGONAL, qcode=1))
    assert not finding_texts(image.meta)


def test_contradicting_transforms_are_refused(tmp_path: Path) -> None:
    moved = ORTHOGONAL.copy()
    moved[:3, 3] += (0, 0, 40)
    error = refusal(write(tmp_path / "a.nii", qform=moved, qcode=1))
    assert isinstance(error, ImageContentError)
    assert "40" in str(error)


def test_transforms_to_different_worlds_give_the_sform_and_a_finding(tmp_path: Path) -> None:
    moved = ORTHOGONAL.copy()
    moved[:3, 3] += (0, 0, 40)
    image = load(write(tmp_path / "a.nii", scode=2, qform=moved, qcode=1))
    np.testing.assert_allclose(image.affine.numpy(), ORTHOGONAL, atol=1e-6)
    assert "the sform counts" in finding_texts(image.meta)[0]


def test_a_sheared_sform_is_not_held_against_its_qform(tmp_path: Path) -> None:
    sheared = ORTHOGONAL.copy()
    sheared[0, 2] = 0.6
    image = load(write(tmp_path / "a.nii", sform=sheared, qform=ORTHOGONAL, qcode=1))
    np.testing.assert_allclose(image.affine.numpy(), sheared, atol=1e-6)


@pytest.mark.parametrize("edge", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("qcode", [0, 1])
def test_a_spacing_that_is_none_is_refused(tmp_path: Path, edge: float, qcode: int) -> None:
    """nibabel takes 1 mm for 0, and every volume and every resampling would be wrong."""
    path = write(tmp_path / "a.nii", sform=None, qform=ORTHOGONAL if qcode else None, qcode=qcode)
    content = bytearray(path.read_bytes())
    content[80:84] = np.float32(edge).tobytes()  # the first edge of pixdim
    path.write_bytes(content)
    assert "in its pixdim; expected their size" in str(refusal(path))


def test_no_orientation_is_said(tmp_path: Path) -> None:
    image = load(write(tmp_path / "a.nii", sform=None))
    assert "no orientation" in finding_texts(image.meta)[0]
    np.testing.assert_allclose(image.affine.numpy(), nib.load(tmp_path / "a.nii").affine)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), (None, 1.0)])
def test_units_become_mm(tmp_path: Path, unit: str | None, factor: float) -> None:
    image = load(write(tmp_path / "a.nii", unit=unit))
    np.testing.assert_allclose(image.affine.numpy()[:3], ORTHOGONAL[:3] * factor, rtol=1e-6)
    assert len(finding_texts(image.meta)) == (unit is not None)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 4), (5, 4)),
        ((5, 4, 1), (5, 4, 1)),
        ((5, 4, 3, 1), (5, 4, 3)),
        ((5, 4, 3, 1, 1), (5, 4, 3)),
        ((5, 4, 3, 2), (5, 4, 3, 2)),
    ],
)
def test_dimensions(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert tuple(load(write(tmp_path / "a.nii", np.zeros(shape, np.int16))).shape) == expected


def test_header_text_is_not_carried_along(tmp_path: Path) -> None:
    assert "Secret" not in str(load(write(tmp_path / "a.nii")).meta)


def test_colors_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((3, 3, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii")
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 2), np.complex64), np.eye(4)), tmp_path / "complex.nii")
    for name in ("rgb.nii", "complex.nii"):
        assert "one per voxel" in str(refusal(tmp_path / name))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kept", [0, 40, 200, 360, 420])
def test_truncated_files_are_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = write(tmp_path / name, np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:kept])
    assert isinstance(refusal(path), ImageReadError)


def test_other_damage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no image " * 100)
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"no image " * 100))
    for name in ("text.nii", "text.nii.gz", "missing.nii"):
        assert isinstance(refusal(tmp_path / name), ImageReadError)


def test_a_singular_sform_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[280 : 280 + 48] = bytes(48)  # srow_x, srow_y, srow_z of the NIfTI-1 header
    path.write_bytes(bytes(content))
    assert "sform that is not a transform" in str(refusal(path))
