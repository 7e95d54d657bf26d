"""Which files are DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import write_series

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.dicom.headers import dicom_files
from monai_vggunet.dicom.headers.dicom_files import is_dicom_file, is_meant_as_dicom, opens_as_dicom
from monai_vggunet.errors import DicomReadError

LONG = bytes(200)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (bytes(128) + b"DICM", True),
        (bytes(128) + b"DICN" + LONG, False),
        (b"\x08\x00\x05\x00" + LONG, True),  # without preamble, from group 0008 on
        (b"\x08\x00\x19\x00" + LONG, False),
        (b"\x08\x00\x05\x00", False),
        (b"", False),
    ],
)
def test_a_file_is_dicom_by_how_it_begins(tmp_path: Path, content: bytes, expected: bool) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert (is_dicom_file(file), opens_as_dicom(file), is_meant_as_dicom(file)) == (expected,) * 3


def test_what_is_called_dicom_is_meant_so_whatever_it_holds(tmp_path: Path) -> None:
    for name in ("a.dcm", "a.DICOM", "a.Ima"):
        (tmp_path / name).write_text("no image")
        assert is_meant_as_dicom(tmp_path / name)
        assert not opens_as_dicom(tmp_path / name)
    assert is_meant_as_dicom(tmp_path)


def test_a_series_is_dicom_whatever_it_is_called(tmp_path: Path) -> None:
    file = write_series(tmp_path)[0].rename(tmp_path / "a.txt")
    assert opens_as_dicom(file)
    assert is_meant_as_dicom(file)


def test_what_cannot_be_opened_is_meant_so_without_an_ending(tmp_path: Path) -> None:
    assert is_meant_as_dicom(tmp_path / "gone")
    assert not is_meant_as_dicom(tmp_path / "gone.nii")
    assert not opens_as_dicom(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        is_dicom_file(tmp_path / "gone")


def test_a_label_that_may_not_be_opened_is_told_with_the_systems_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "label").write_bytes(LONG)
    monkeypatch.setattr(dicom_files, "open_regular", forbid)
    grid = ImageGrid(np.eye(4), (1, 1, 1))
    with pytest.raises(DicomReadError, match=r"label cannot be read: Permission denied$"):
        read_annotation(tmp_path / "label", grid)
