"""RTSTRUCT as label maps, on tilted and oblique series; and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from annotation_phantoms import contour, grid_of, series, write_rtstruct
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, stored_values
from outlines import COLUMNS, ROWS, SLICES, circle, inside
from pydicom.dataset import Dataset

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.errors import DicomReadError, GridMismatchError, LabelContentError

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": oblique()}


def place(folder: Path, outline: np.ndarray, slice_index: float, files: list[Path]) -> np.ndarray:
    """Return an outline (column, row) in LPS mm, from the headers of the slice's own file (PS3.3 C.7.6.2.1.1)."""
    header = pydicom.dcmread(files[round(slice_index)], stop_before_pixels=True)
    along, down = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    rows_mm, columns_mm = map(float, header.PixelSpacing)
    position = np.array(header.ImagePositionPatient, dtype=float)
    position = position + (slice_index - round(slice_index)) * 2.5 * np.cross(along, down)
    return position + outline[:, :1] * columns_mm * along + outline[:, 1:] * rows_mm * down


def case(tmp_path: Path, **options: object) -> tuple[list[Path], ImageGrid]:
    files = series(tmp_path / "ct", stored_values(SLICES, ROWS, COLUMNS), **options)  # type: ignore[arg-type]
    return files, grid_of(tmp_path / "ct")


def write(
    tmp_path: Path, files: list[Path], structures: dict[str, list[tuple[float, np.ndarray]]], **own: object
) -> None:
    """Write structures given as (slice, outline)."""
    items = {
        name: [contour(place(tmp_path, outline, k, files)) for k, outline in outlines]
        for name, outlines in structures.items()
    }
    write_rtstruct(tmp_path / "rs.dcm", items, files[0], **own)


@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
@pytest.mark.parametrize(("shear_mm", "step_mm"), [(0.0, 2.5), (0.9, 2.5), (0.0, -2.5)])
def test_structures_land_on_their_series(tmp_path: Path, orientation: str, shear_mm: float, step_mm: float) -> None:
    """A shell with a hole, larger from slice to slice, and a second structure: oblique, tilted, sorted otherwise."""
    options = {"orientation": ORIENTATIONS[orientation], "shear_mm": shear_mm, "step_mm": step_mm}
    files, grid = case(tmp_path, **options)
    shell = [(k, circle((17.2, 18.1), r + k)) for k in range(1, 5) for r in (10.05, 4.07)]
    spot = [(2, circle((4.1, 33.3), 3.03))]
    write(tmp_path, files, {"Shell": shell, "Spot": spot})
    array = read_annotation(tmp_path / "rs.dcm", grid, {"shell": 1, "spot": 2}).array
    expected = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    for k in range(1, 5):
        expected[..., k] = inside(circle((17.2, 18.1), 10.05 + k), circle((17.2, 18.1), 4.07 + k))
    expected[..., 2] += 2 * inside(spot[0][1]).astype(np.uint8)
    assert expected.max() == 2
    np.testing.assert_array_equal(array, expected[..., ::-1] if step_mm < 0 else expected)


def test_a_contour_a_little_off_its_slice_belongs_to_it(tmp_path: Path) -> None:
    """Planning systems round positions; on a tilted gantry the way back is along the normal, not along the tilt."""
    files, grid = case(tmp_path, shear_mm=2.0)
    write(tmp_path, files, {"a": [(2.15, circle((17.3, 18.2), 8.05))]})
    array = read_annotation(tmp_path / "rs.dcm", grid).array
    np.testing.assert_array_equal(array[..., 2], inside(circle((17.3, 18.2), 8.05)))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (
            2.4,
            r"lies 1 mm off the nearest slice of the series, between slices 2 and 3 \(counted from 0; allowed: 0\.5 mm",
        ),
        (1.5, r"lies 1\.25 mm off the nearest slice"),
    ],
)
def test_a_contour_between_slices_is_refused(tmp_path: Path, at: float, text: str) -> None:
    files, grid = case(tmp_path)
    write(tmp_path, files, {"a": [(at, circle((17, 18), 8))]})
    with pytest.raises(GridMismatchError, match=text):
        read_annotation(tmp_path / "rs.dcm", grid)


def test_a_contour_of_another_plane_is_refused(tmp_path: Path) -> None:
    files, grid = case(tmp_path)
    points = place(tmp_path, circle((17, 18), 8), 2, files)
    write_rtstruct(tmp_path / "rs.dcm", {"a": [contour(points[:, [0, 2, 1]] + [0, 85, -50])]}, files[0])
    with pytest.raises(
        GridMismatchError, match=r"runs through .* mm across the slices of the series; expected it to lie"
    ):
        read_annotation(tmp_path / "rs.dcm", grid)


@pytest.mark.parametrize(
    ("at", "center", "text"),
    [
        (7, (17, 18), r"lies outside of the series, 7\.5 mm beyond its first or last slice and 0 mm beyond the edges"),
        (-1, (17, 18), r"lies outside of the series, 2\.5 mm beyond"),
        (
            2,
            (33, 18),
            r"lies outside of the series, 0 mm beyond its first or last slice and 3\.\d+ mm beyond the edges",
        ),
        (2, (17, 1e9), r"lies outside of the series"),
        (2, (28.5, 18), r"0 mm beyond its first or last slice and 0\.9\d* mm beyond the edges"),
    ],
    ids=["after", "before", "right", "absurd", "one voxel"],
)
def test_a_structure_outside_of_the_image_is_refused(
    tmp_path: Path, at: float, center: tuple[float, float], text: str
) -> None:
    files, grid = case(tmp_path)
    points = place(tmp_path, circle(center, 8), 0, files) + np.array([0, 0, 2.5 * at])
    write_rtstruct(tmp_path / "rs.dcm", {"a": [contour(points)]}, files[0])
    with pytest.raises(GridMismatchError, match=text):
        read_annotation(tmp_path / "rs.dcm", grid)


def test_a_structure_may_reach_beyond_the_outermost_centers_by_less_than_a_voxel(tmp_path: Path) -> None:
    files, grid = case(tmp_path)
    outline = circle((27.95, 8.05 - 0.9), 8.0)
    write(tmp_path, files, {"a": [(2, outline)]})
    np.testing.assert_array_equal(read_annotation(tmp_path / "rs.dcm", grid).array[..., 2], inside(outline))


def test_slices_without_contour_stay_empty_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, grid = case(tmp_path)
    write(tmp_path, files, {"a": [(k, circle((17.3, 18.2), 8.05)) for k in (0, 2, 4)]})
    array = read_annotation(tmp_path / "rs.dcm", grid).array
    assert array.any(axis=(0, 1)).tolist() == [True, False, True, False, True]
    assert "structure 1 'a': no contour in 2 of the 5 slices from its first to its last" in caplog.text


def test_points_and_open_lines_enclose_nothing_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, grid = case(tmp_path)
    points = place(tmp_path, circle((17.3, 18.2), 8.05), 2, files)
    others = [contour(points, "OPEN_PLANAR"), contour(points[:1], "POINT"), contour(points, "OPEN_NONPLANAR")]
    structures = {"a": [*others, contour(points, "CLOSEDPLANAR_XOR")], "isocenter": others[1:2]}
    write_rtstruct(tmp_path / "rs.dcm", structures, files[0])
    array = read_annotation(tmp_path / "rs.dcm", grid).array  # one structure with an area: no map is needed
    np.testing.assert_array_equal(array[..., 2], inside(circle((17.3, 18.2), 8.05)))
    assert "structure 1 'a': 3 contours enclose nothing, left out (OPEN_NONPLANAR, OPEN_PLANAR, POINT)" in caplog.text
    write_rtstruct(tmp_path / "rs.dcm", {"isocenter": others}, files[0])
    with pytest.raises(DicomReadError, match="holds 1 structures, none of which has a closed contour"):
        read_annotation(tmp_path / "rs.dcm", grid)


def test_contours_that_cross_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, grid = case(tmp_path)
    write(tmp_path, files, {"a": [(2, circle((14, 18), 6)), (2, circle((19, 18), 6)), (3, circle((14, 18), 6))]})
    read_annotation(tmp_path / "rs.dcm", grid)
    assert "structure 1 'a': contours cross or occur twice in 1 slice: where they cross, the overlap" in caplog.text


def test_structures_become_classes_by_name_and_number(tmp_path: Path) -> None:
    files, grid = case(tmp_path)
    left, right = circle((10, 18), 5.05), circle((25, 18), 5.05)
    write(tmp_path, files, {"Lung L": [(2, left)], "LUNG R": [(2, right)], "Body": [(2, circle((17, 18), 14.9))]})
    array = read_annotation(tmp_path / "rs.dcm", grid, {"lung l": 1, "lung r": 1, "3": 2}).array
    np.testing.assert_array_equal(array[..., 2], 2 * inside(circle((17, 18), 14.9)).astype(np.uint8))
    array = read_annotation(tmp_path / "rs.dcm", grid, {"lung l": 2, "lung r": 2, "Body": 1}).array
    np.testing.assert_array_equal(array[..., 2] == 2, inside(left) | inside(right))
    with pytest.raises(LabelContentError, match=r'write "segments": \{"Lung L": 1, "LUNG R": 2, "Body": 3\} into'):
        read_annotation(tmp_path / "rs.dcm", grid)


# Another examination, and damage


@pytest.mark.parametrize("how", ["structure", "reference"])
def test_another_frame_of_reference_is_refused(tmp_path: Path, how: str) -> None:
    files, grid = case(tmp_path)
    rs = _valid(tmp_path, files)
    if how == "structure":
        rs.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "9.8"
    else:
        del rs.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
        rs.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "9.8"
    rs.save_as(tmp_path / "rs.dcm")
    with pytest.raises(GridMismatchError, match=r"is drawn in frame of reference 9\.8, the series lies in"):
        read_annotation(tmp_path / "rs.dcm", grid)


def test_a_plan_s_own_study_is_fine_when_it_refers_to_the_image_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, grid = case(tmp_path)
    rs = _valid(tmp_path, files)
    rs.StudyInstanceUID = "9.8.7"
    rs.save_as(tmp_path / "rs.dcm")
    assert read_annotation(tmp_path / "rs.dcm", grid).array.any()
    assert caplog.text == ""
    study = rs.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.ReferencedSOPInstanceUID = "9.8.6"
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = "9.8.6.1"
    rs.save_as(tmp_path / "rs.dcm")
    with pytest.raises(GridMismatchError, match=r"belongs to study 9\.8\.6, 9\.8\.7, the series to 1\.2\.3\.4\.5"):
        read_annotation(tmp_path / "rs.dcm", grid)


def _valid(tmp_path: Path, files: list[Path]) -> Dataset:
    points = place(tmp_path, circle((17.3, 18.2), 8.05), 2, files)
    return write_rtstruct(tmp_path / "rs.dcm", {"a": [contour(points)]}, files[0])


def _first(rs: Dataset) -> Dataset:
    return rs.ROIContourSequence[0].ContourSequence[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rs: delattr(rs, "ROIContourSequence"), "holds 1 structures, none of which has a closed contour"),
        (lambda rs: delattr(rs, "StructureSetROISequence"), "holds no structure"),
        (lambda rs: rs.ROIContourSequence[0].ContourSequence.clear(), "none of which has a closed contour"),
        (lambda rs: delattr(_first(rs), "ContourData"), "ContourData that are not numbers"),
        (lambda rs: setattr(_first(rs), "ContourData", [1.0] * 10), "has 10 coordinates, .* each of its 60 points"),
        (lambda rs: setattr(_first(rs), "NumberOfContourPoints", 59), "has 180 coordinates, .* each of its 59 points"),
        (lambda rs: delattr(rs.StructureSetROISequence[0], "ROINumber"), "without a readable ROINumber"),
        (lambda rs: rs.StructureSetROISequence.append(rs.StructureSetROISequence[0]), "a ROINumber twice"),
    ],
)  # fmt: skip
def test_a_damaged_structure_set_is_refused(tmp_path: Path, change: object, text: str) -> None:
    files, grid = case(tmp_path)
    rs = _valid(tmp_path, files)
    change(rs)  # type: ignore[operator]
    rs.save_as(tmp_path / "rs.dcm")
    with pytest.raises(DicomReadError, match=text):
        read_annotation(tmp_path / "rs.dcm", grid)


def test_coordinates_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    files, grid = case(tmp_path)
    _valid(tmp_path, files)
    whole = (tmp_path / "rs.dcm").read_bytes()
    start = whole.index(b"\\", whole.index(b"CLOSED_PLANAR") + 40)
    for word, text in ((b"\\x", "not numbers"), (b"\\nan", "of which 179 are finite")):
        end = whole.index(b"\\", start + 1)
        (tmp_path / "rs.dcm").write_bytes(whole[:start] + word.ljust(end - start) + whole[end:])
        with pytest.raises(DicomReadError, match=text):
            read_annotation(tmp_path / "rs.dcm", grid)


def test_no_cut_of_a_file_gives_a_part_of_its_contours(tmp_path: Path) -> None:
    files, grid = case(tmp_path)
    write(tmp_path, files, {"a": [(k, circle((17.3, 18.2), 8.05, points=6)) for k in range(5)]})
    whole, array = (tmp_path / "rs.dcm").read_bytes(), read_annotation(tmp_path / "rs.dcm", grid).array
    refused = 0
    for length in range(0, len(whole), 41):
        (tmp_path / "rs.dcm").write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(read_annotation(tmp_path / "rs.dcm", grid).array, array)
        except DicomReadError:
            refused += 1
    assert refused >= len(range(0, len(whole), 41)) - 1  # all but a cut within what follows the contours


# Real data


def test_a_real_structure_equals_the_mask_made_of_it_by_others(shared_data: Path) -> None:
    """A tumor drawn on a CT of 48 slices; the mask is the source project's own, voxel for voxel the same."""
    folder = shared_data / "dicom" / "d07_ct_rtstruct"
    annotation = read_annotation(folder / "rtstruct", grid_of(folder / "dicom"))
    reference = nib.load(folder / "mask_ref.nii.gz")
    np.testing.assert_allclose(
        np.diag([-1, -1, 1, 1]) @ grid_of(folder / "dicom").affine_lps, reference.affine, atol=1e-3
    )
    np.testing.assert_array_equal(annotation.array, np.asarray(reference.dataobj))
    assert annotation.array.sum() == 17090
