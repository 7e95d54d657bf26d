"""NIfTI files that promise more than they hold, hold more than they promise, or are made to fill memory."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bombs import MEMBER_BYTES, SPARSE_BYTES, extension, nifti_bomb, nifti_header, zeros_in_gzip

from monai_vggunet.data import nifti_file, promise
from monai_vggunet.data.nifti_file import read_nifti_file
from monai_vggunet.dicom import FindingKind
from monai_vggunet.errors import ImageContentError, ImageReadError

GIB = 1 << 30


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of bytes that were inflated, one per call."""
    counts: list[int] = []

    class Counting(nifti_file._GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            counts.append(len(data))
            return data

    monkeypatch.setattr(nifti_file, "_GzipFile", Counting)
    return counts


def with_free_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: free)


def test_a_blank_image_of_12_gb_in_8_mb_is_not_inflated(
    tmp_path: Path, inflated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free_memory(monkeypatch, 1 << 50)
    bomb = nifti_bomb(tmp_path / "bomb.nii.gz", (2000, 2000, 1000), 8 * GIB)
    assert bomb.stat().st_size < 9 << 20
    with pytest.raises(ImageReadError, match=r"promises 2000 x 2000 x 1000 voxels .* blank, or made to fill memory"):
        read_nifti_file(bomb)
    assert sum(inflated) < 1000  # the header


def test_more_than_memory_holds_is_not_inflated(
    tmp_path: Path, inflated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free_memory(monkeypatch, GIB)
    bomb = nifti_bomb(tmp_path / "bomb.nii.gz", (600, 600, 600), GIB)
    with pytest.raises(ImageReadError, match=r"it needs 1\.2 GiB of memory, of which 1\.0 GiB are free"):
        read_nifti_file(bomb)
    assert sum(inflated) < 1000


@pytest.mark.parametrize(("dtype", "scl_slope", "gib"), [("float64", 1, 2.4), ("int8", 1, 1.0), ("int8", 2, 4.2)])
def test_values_that_widen_count_as_they_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, scl_slope: float, gib: float
) -> None:
    with_free_memory(monkeypatch, GIB >> 2)
    bomb = nifti_bomb(tmp_path / "bomb.nii.gz", (600, 600, 600), 2 * GIB, dtype, scl_slope=scl_slope, scl_inter=0)
    with pytest.raises(ImageReadError, match=rf"it needs {gib} GiB"):
        read_nifti_file(bomb)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_promise_that_the_file_cannot_hold_is_refused(tmp_path: Path, inflated: list[int], name: str) -> None:
    content = nifti_header((30000, 30000, 30000)) + bytes(5000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(ImageReadError, match=r"promises 30000 x 30000 x 30000 voxels .* cannot hold"):
        read_nifti_file(tmp_path / name)
    assert sum(inflated) < 1000


def test_no_more_is_inflated_than_the_header_promises(tmp_path: Path, inflated: list[int]) -> None:
    bomb = nifti_bomb(tmp_path / "bomb.nii.gz", (100, 100, 100), GIB)
    read = read_nifti_file(bomb)
    assert read.array.shape == (100, 100, 100)
    (finding,) = read.findings
    assert finding.kind is FindingKind.DATA_LEFT_OUT
    assert finding.text.startswith("bomb.nii.gz: there is more data after the voxels that the header promises")
    assert sum(inflated) < 3_000_000


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_sparse_file_without_end_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    content = nifti_header((3, 3, 3)) + bytes(54)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    os.truncate(tmp_path / name, SPARSE_BYTES)
    with pytest.raises(ImageReadError, match=r"in a file of 10,995,116,277,760 bytes; expected up to 16,777,622"):
        read_nifti_file(tmp_path / name)


def test_data_behind_the_voxels_of_an_uncompressed_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(nifti_header((3, 3, 3)) + bytes(54))
    assert not read_nifti_file(tmp_path / "a.nii").findings
    (tmp_path / "a.nii").write_bytes(nifti_header((3, 3, 3)) + bytes(55))
    assert "more data after" in read_nifti_file(tmp_path / "a.nii").findings[0].text


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vox_offset": 3e9}, "begin at byte 3,000,000,000; expected one up to 67,108,864"),
        ({"vox_offset": np.inf}, "cannot be read as NIfTI"),
        ({"vox_offset": np.nan}, "cannot be read as NIfTI"),
        ({"vox_offset": -400}, "cannot be read as NIfTI|begin at byte"),
        ({"dim": [9, 3, 3, 3, 1, 1, 1, 1]}, "cannot be read as NIfTI"),
        ({"dim": [-3, 3, 3, 3, 1, 1, 1, 1]}, "cannot be read as NIfTI|has the dimensions"),
        ({"dim": [3, -3, 3, -3, 1, 1, 1, 1]}, "has the dimensions .* expected numbers of voxels"),
        ({"dim": [7, 30000, 30000, 30000, 30000, 30000, 30000, 30000]}, "cannot hold"),
        ({"scl_slope": np.inf}, "infinite scl_slope"),
        ({"scl_slope": 2.0, "scl_inter": np.inf}, "cannot be read as NIfTI"),
    ],
    ids=lambda value: str(next(iter(value.items()))) if isinstance(value, dict) else "",
)
def test_headers_that_make_no_sense_are_refused(
    tmp_path: Path, inflated: list[int], name: str, fields: dict[str, object], message: str
) -> None:
    content = nifti_header((3, 3, 3), **fields) + bytes(54)
    (tmp_path / name).write_bytes(gzip.compress(content) + zeros_in_gzip(MEMBER_BYTES) if "gz" in name else content)
    with pytest.raises((ImageReadError, ImageContentError), match=message):
        read_nifti_file(tmp_path / name)
    assert sum(inflated) < 1000


def test_a_scale_that_is_not_stated_leaves_values_as_they_are(tmp_path: Path) -> None:
    values = np.arange(27, dtype=np.int16)
    (tmp_path / "a.nii").write_bytes(nifti_header((3, 3, 3), scl_slope=np.nan) + values.tobytes())
    np.testing.assert_array_equal(read_nifti_file(tmp_path / "a.nii").array.ravel("F"), values)


def test_extensions_are_passed_over_however_long_they_say_they_are(tmp_path: Path, inflated: list[int]) -> None:
    values = np.arange(27, dtype=np.int16)
    header = nifti_header((3, 3, 3), vox_offset=400)[:-4] + b"\1\0\0\0"
    content = header + extension(2**31 - 16) + bytes(40) + values.tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content) + zeros_in_gzip(MEMBER_BYTES))
    np.testing.assert_array_equal(read_nifti_file(tmp_path / "a.nii.gz").array.ravel("F"), values)
    assert sum(inflated) < 2000


def test_a_file_of_many_members_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-99, 99, (40, 30, 20)).astype(np.int16)
    content = nifti_header(values.shape) + values.tobytes("F")
    members = [gzip.compress(content[start : start + 1000]) for start in range(0, len(content), 1000)]
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"").join(members))
    np.testing.assert_array_equal(read_nifti_file(tmp_path / "a.nii.gz").array, values)


def test_values_are_those_that_nibabel_reads(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-3000, 3000, (9, 8, 7)).astype(np.int16)
    content = nifti_header(values.shape, scl_slope=0.3, scl_inter=-0.1) + values.tobytes("F")
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        expected = nib.load(tmp_path / name).get_fdata(dtype=np.float32)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(read_nifti_file(tmp_path / name).array, expected)


def test_damage_that_only_the_checksum_knows_of_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(nifti_header((3, 3, 3)) + bytes(range(54)), compresslevel=0))
    content[-20] ^= 1  # a value, stored as it is
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ImageReadError, match=r"cannot be read as NIfTI \(BadGzipFile\)"):
        read_nifti_file(tmp_path / "a.nii.gz")


def test_what_is_no_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(nifti_header((3, 3, 3)) + bytes(54))
    with pytest.raises(ImageReadError, match=r"cannot be read as NIfTI \(BadGzipFile\)"):
        read_nifti_file(tmp_path / "a.nii.gz")


def test_a_label_may_be_blank_but_not_beyond_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promise, "HARMLESS_VOXELS", 1000)
    empty = nifti_bomb(tmp_path / "label.nii.gz", (400, 400, 400), 64_000_000, "uint8")
    with pytest.raises(ImageReadError, match="blank"):
        read_nifti_file(empty)
    assert read_nifti_file(empty, may_be_blank=True).array.shape == (400, 400, 400)
    with_free_memory(monkeypatch, 1 << 20)
    with pytest.raises(ImageReadError, match="GiB of memory"):
        read_nifti_file(empty, may_be_blank=True)
