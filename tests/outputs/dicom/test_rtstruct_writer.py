"""RTSTRUCT: our reader gives the mask back on every grid, and every number is a valid one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import AXIAL, CORONAL, SAGITTAL, oblique, write_enhanced, write_series
from mask_phantoms import NAMES, mask_on

from monai_vggunet.dicom import read_volume, scan_folder
from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid
from monai_vggunet.outputs import write_rtstruct

GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {"orientation": AXIAL},
    "sagittal": {"orientation": SAGITTAL},
    "coronal": {"orientation": CORONAL},
    "oblique": {"orientation": oblique(), "origin": (-1000.123456, 12.5, -1234.56789)},
    "tilted": {"orientation": AXIAL, "shear_mm": 0.6},
}


def read_back(folder: Path, file: Path) -> np.ndarray:
    chosen = scan_folder(folder).choose_series()
    volume = read_volume(chosen)
    grid = ImageGrid(
        volume.geometry.affine_lps,
        volume.array.shape,  # type: ignore[arg-type]
        "the series",
        chosen.stack.origin.frame_of_reference_uid,
        chosen.stack.origin.study_uid,
        chosen.series.series_uid,
    )
    return read_annotation(file, grid, {name: n for n, name in enumerate(NAMES) if n}).array


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_mask_comes_back(tmp_path: Path, geometry: str) -> None:
    write_series(tmp_path / "ct", np.zeros((4, 30, 23), np.int16), **GEOMETRIES[geometry])
    mask = mask_on(tmp_path / "ct")
    write_rtstruct(tmp_path / "rtstruct.dcm", mask)
    np.testing.assert_array_equal(read_back(tmp_path / "ct", tmp_path / "rtstruct.dcm"), mask.labels)


def test_contours_of_an_enhanced_object_name_its_frames(tmp_path: Path) -> None:
    (tmp_path / "mr").mkdir()
    positions = [[-30.0, 12.5, 10.0 + 3.0 * k] for k in (2, 0, 3, 1)]
    write_enhanced(tmp_path / "mr" / "enhanced.dcm", np.zeros((4, 12, 9), np.int16), positions)
    mask = mask_on(tmp_path / "mr")
    write_rtstruct(tmp_path / "rtstruct.dcm", mask)
    np.testing.assert_array_equal(read_back(tmp_path / "mr", tmp_path / "rtstruct.dcm"), mask.labels)
    dataset = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        frame = contour.ContourImageSequence[0].ReferencedFrameNumber
        assert float(contour.ContourData[2]) == positions[frame - 1][2]


def test_every_class_is_declared_and_every_number_fits(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", np.zeros((4, 30, 23), np.int16), **GEOMETRIES["oblique"])
    write_rtstruct(tmp_path / "rtstruct.dcm", mask_on(tmp_path / "ct"))
    dataset = pydicom.dcmread(tmp_path / "rtstruct.dcm")
    assert [(roi.ROINumber, roi.ROIName) for roi in dataset.StructureSetROISequence] == list(enumerate(NAMES))[1:]
    assert "ContourSequence" not in dataset.ROIContourSequence[2]  # absent
    texts = [
        str(value.original_string)
        for roi in dataset.ROIContourSequence
        for contour in roi.get("ContourSequence", [])
        for value in contour.ContourData
    ]
    assert texts
    assert max(map(len, texts)) <= 16
    images = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert len({item.ReferencedSOPInstanceUID for item in images.ContourImageSequence}) == 4


def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    write_series(tmp_path / "ct", np.zeros((4, 30, 23), np.int16), PatientSex="")
    write_rtstruct(tmp_path / "rtstruct.dcm", mask_on(tmp_path / "ct"))
    done = subprocess.run(["dciodvfy", tmp_path / "rtstruct.dcm"], capture_output=True, text=True, errors="replace")
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
    assert "RTStructureSet" in done.stderr + done.stdout
