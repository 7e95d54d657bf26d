"""The programs that stand in for dcmqi's: a label to DICOM SEG on its series, and back onto the series' own grid."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantoms import oblique, write_series
from monai.transforms import LoadImage

import monai_vggunet.annotation.compat
from monai_vggunet.annotation.segimage import main
from monai_vggunet.data import DicomSeriesReader

SHAPE = (5, 6, 4)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "series", orientation=oblique())
    return tmp_path / "series"


def label_on(series: Path, name: str = "label.nii.gz") -> tuple[Path, np.ndarray, np.ndarray]:
    """A label with two of three classes, the first and the last slice empty, stored along reversed axes."""
    affine = np.asarray(LoadImage(reader=DicomSeriesReader())(series).affine)
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 1:5, 1], label[3, 2:4, 1:3] = 1, 3
    image = nib.Nifti1Image(label, affine).as_reoriented(np.array([[0, -1], [1, -1], [2, 1]]))
    nib.save(image, series.parent / name)
    return series.parent / name, label, affine


def metadata(folder: Path, numbers: tuple[int, ...] = (1, 3)) -> Path:
    """What MONAI Label writes for dcmqi: the same code for whatever structure."""
    code = {"CodeValue": "78961009", "CodingSchemeDesignator": "SCT", "CodeMeaning": "any"}
    segments = [
        {"labelID": number, "SegmentLabel": f"organ {number}", "SegmentedPropertyTypeCodeSequence": code}
        for number in numbers
    ]
    path = folder / "meta.json"
    path.write_text(json.dumps({"segmentAttributes": [segments]}))
    return path


def to_seg(series: Path, label: Path, numbers: tuple[int, ...] = (1, 3)) -> tuple[int, Path]:
    target = series.parent / "seg.dcm"
    words = ["itkimage2segimage", "--inputImageList", str(label), "--inputDICOMDirectory", str(series)]
    words += ["--outputDICOM", str(target), "--inputMetadata", str(metadata(series.parent, numbers))]
    return main(words), target


def test_there_and_back_gives_the_same_label_on_the_same_grid(series: Path) -> None:
    label, truth, affine = label_on(series)
    status, seg = to_seg(series, label)
    assert status == 0
    words = ["segimage2itkimage", "--inputDICOM", str(seg), "--inputDICOMDirectory", str(series)]
    assert main([*words, "--outputDirectory", str(series.parent / "out")]) == 0
    back = nib.load(series.parent / "out" / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), truth)
    np.testing.assert_allclose(back.affine, affine, atol=1e-4)


def test_segments_are_called_as_the_client_says_and_no_code_is_made_up(series: Path) -> None:
    seg = pydicom.dcmread(to_seg(series, label_on(series)[0])[1])
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["organ 1", "class 2", "organ 3"]
    assert "78961009" not in [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in seg.SegmentSequence]
    source = {pydicom.dcmread(path).SOPInstanceUID for path in series.iterdir()}
    referenced = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == source


def test_a_label_off_its_series_is_refused(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = label_on(series)[0]
    image = nib.load(label)
    moved = image.affine.copy()
    moved[0, 3] += 1.0
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), label)
    status, target = to_seg(series, label)
    assert status == 2
    assert not target.exists()
    assert "corners lie up to" in capsys.readouterr().err


def test_metadata_without_a_label_is_refused(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_seg(series, label_on(series)[0], ())[0] == 2
    assert "expected segmentAttributes" in capsys.readouterr().err


def test_the_stand_in_for_pydicom_seg_reads_what_we_write(series: Path) -> None:
    """MONAI Label's own app reads a DICOM SEG with it, without the series: in the world the voxels are the same."""
    label, truth, affine = label_on(series)
    seg = to_seg(series, label)[1]
    path = Path(monai_vggunet.annotation.compat.__file__).parent / "pydicom_seg" / "__init__.py"
    spec = importlib.util.spec_from_file_location("pydicom_seg", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    image = module.MultiClassReader().read(pydicom.dcmread(seg)).image
    assert image.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    for voxel in np.argwhere(truth > 0):
        lps = np.diag([-1, -1, 1, 1]) @ affine @ [*voxel, 1]
        index = image.TransformPhysicalPointToIndex(lps[:3].tolist())
        assert image.GetPixel(*index) == truth[tuple(voxel)]
