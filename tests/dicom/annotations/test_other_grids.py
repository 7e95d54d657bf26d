"""A segmentation of another grid, frame of reference, study or series than the image's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_phantoms import grid_of, series, write_seg
from dicom_phantoms import SAGITTAL, oblique
from segment_drawings import case, drawn, on_axes

from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.errors import (
    GridMismatchError,
)


def moved(grid: ImageGrid, shift_voxels: tuple[float, float, float] = (0, 0, 0), zoom: float = 1.0) -> ImageGrid:
    affine = grid.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ shift_voxels
    affine[:3, :2] *= zoom
    return ImageGrid(affine, grid.shape, grid.name, grid.frame_of_reference_uid, grid.study_uid, grid.series_uid)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize(
    ("shift", "zoom", "text"),
    [
        ((0, 0, 0.5), 1.0, r"lies 1\.25 mm off the nearest slice, between slices"),
        ((0.5, 0, 0), 1.0, r"lies up to 0\.3 and .* mm beside the image's voxels"),
        ((0, 0, 0), 1.3, r"pixels of 0\.8 x 0\.6 mm \(rows x columns\), the image has 1\.04 x 0\.78 mm"),
    ],
    ids=["between slices", "half a pixel", "other pixels"],
)
def test_a_segmentation_of_another_grid_is_refused_with_millimeters(
    tmp_path: Path, kind: str, shift: tuple[float, float, float], zoom: float, text: str
) -> None:
    files, grid, pixels = case(tmp_path, orientation=oblique())
    write_seg(tmp_path / "seg.dcm", files, pixels, kind)
    with pytest.raises(GridMismatchError, match=text):
        drawn(tmp_path, moved(grid, shift, zoom))


def test_a_segmentation_of_another_plane_is_refused(tmp_path: Path) -> None:
    files, _, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    series(tmp_path / "other", orientation=SAGITTAL)
    with pytest.raises(GridMismatchError, match=r"another plane than the image's slices: its corners are .* mm apart"):
        drawn(tmp_path, grid_of(tmp_path / "other"))


def test_positions_rounded_by_the_writer_still_fit(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path, orientation=oblique())
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    for group in seg.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{float(value):.2f}" for value in place.ImagePositionPatient]
    seg.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))


@pytest.mark.parametrize("shift", [(0, 0, 2), (0, 0, -2), (2, 0, 0), (0, -3, 0), (100, 0, 0)])
def test_foreground_outside_of_the_image_is_an_error(tmp_path: Path, shift: tuple[float, float, float]) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(GridMismatchError, match=r"has \d+ voxels outside of the series, which has 5 columns, 6 rows"):
        drawn(tmp_path, moved(grid, shift))


def test_another_frame_of_reference_is_an_error(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels, attributes={"FrameOfReferenceUID": "9.8.7"})
    with pytest.raises(
        GridMismatchError, match=r"drawn in frame of reference 9\.8\.7, the series lies in …\S{8}: their"
    ):
        drawn(tmp_path, grid)


def test_another_study_is_an_error_unless_the_series_is_named(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels, attributes={"StudyInstanceUID": "9.8.7"})
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))  # a study of its own, drawn on this series
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "9.8.7.6"
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(GridMismatchError, match=r"belongs to study 9\.8\.7, the series to 1\.2\.3\.4\.5"):
        drawn(tmp_path, grid)


@pytest.mark.parametrize("side", ["image", "annotation"])
def test_what_cannot_be_compared_is_said_and_geometry_decides(
    tmp_path: Path, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    if side == "image":
        grid = ImageGrid(grid.affine_lps, grid.shape)
    else:
        del seg.FrameOfReferenceUID, seg.StudyInstanceUID
        seg.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))
    assert f"placed by geometry alone, without comparing FrameOfReferenceUID (the {side} states none)" in caplog.text
    assert f"study (the {side} states none)" in caplog.text


def test_a_segmentation_of_another_series_of_the_study_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    other = ImageGrid(grid.affine_lps, grid.shape, "x", grid.frame_of_reference_uid, grid.study_uid, "1.2.3")
    drawn(tmp_path, other)
    assert "drawn on another series of the study" in caplog.text
    caplog.clear()
    drawn(tmp_path, grid)
    assert caplog.text == ""
