"""Contours that would take minutes or gigabytes are refused, and honest dense ones are filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_phantoms import contour, grid_of, series, write_rtstruct
from outlines import filled
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.errors import DicomReadError


def refused(tmp_path: Path, contours: list[Dataset], message: str) -> None:
    (source, *_) = series(tmp_path / "ct", np.zeros((2, 64, 64), np.int16))
    write_rtstruct(tmp_path / "rs.dcm", {"Liver": contours}, source)
    with pytest.raises(DicomReadError, match=message):
        read_annotation(tmp_path / "rs.dcm", grid_of(tmp_path / "ct"), {"Liver": 1})


def in_first_slice(tmp_path: Path, outline: np.ndarray) -> Dataset:
    """Return a contour of (column, row) points in slice 0 of the series that `refused` writes."""
    if not (tmp_path / "ct").is_dir():
        series(tmp_path / "ct", np.zeros((2, 64, 64), np.int16))
    affine = grid_of(tmp_path / "ct").affine_lps
    points = np.c_[outline, np.zeros(len(outline)), np.ones(len(outline))]
    return contour((points @ affine.T)[:, :3])


def test_a_contour_that_goes_up_and_down_without_end_is_refused(tmp_path: Path) -> None:
    """Every edge crosses all rows: a megabyte of text would become gigabytes of crossings."""
    zigzag = np.stack([np.linspace(1, 60, 20_000), np.tile([1.0, 60.0], 10_000)], axis=1)
    refused(tmp_path, [in_first_slice(tmp_path, zigzag)], "20,000 points that goes up and down over 1,180,000 rows")


def test_an_outline_as_dense_as_the_pixels_is_filled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("monai_vggunet.dicom.annotations.structure_set._HARMLESS_CROSSINGS", 0)
    comb = [(0.5, 60.5), (0.5, 0.5)]
    for column in range(1, 60, 2):  # a tooth of one pixel's width in every other column
        comb += [(column + 0.5, 0.5), (column + 0.5, 58.5), (column + 1.5, 58.5), (column + 1.5, 0.5)]
    comb += [(61.5, 0.5), (61.5, 60.5)]
    drawn = [in_first_slice(tmp_path, np.array(comb))]
    write_rtstruct(tmp_path / "rs.dcm", {"Liver": drawn}, next((tmp_path / "ct").iterdir()))
    array = read_annotation(tmp_path / "rs.dcm", grid_of(tmp_path / "ct"), {"Liver": 1}).array
    assert np.count_nonzero(array[..., 0]) == np.count_nonzero(filled(np.array(comb), shape=(64, 64)))


def test_contours_without_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.dicom.annotations.structure_set._MOST_CONTOURS", 40)
    drawn = [in_first_slice(tmp_path, np.array([[1.0, 1], [2, 1], [2, 2]]) + 0.01 * k) for k in range(41)]
    refused(tmp_path, drawn, r"in slice 0, has 41 contours, .* expected up to 40")


def test_contours_that_cover_a_slice_again_and_again_are_refused(tmp_path: Path) -> None:
    whole = np.array([[0.5, 0.5], [62, 0.5], [62, 62], [0.5, 62]])
    drawn = [in_first_slice(tmp_path, whole + 0.001 * k) for k in range(70)]
    refused(tmp_path, drawn, r"has 70 contours, with boxes of .* no more than 64 times the slice")


def test_a_coordinate_without_end_is_refused(tmp_path: Path) -> None:
    """numpy gives every text of an array the length of the longest one."""
    item = in_first_slice(tmp_path, np.array([[1.0, 1], [2, 1], [2, 2]]))
    content = b"\\".join([b"1." + b"0" * 100_000, *[b"1"] * 89_999])
    item[0x30060050] = RawDataElement(BaseTag(0x30060050), "DS", len(content), content, 0, False, True)
    item.NumberOfContourPoints = 30_000
    refused(tmp_path, [item], "has ContourData that are not numbers")
