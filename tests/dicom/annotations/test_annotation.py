"""Which file is an annotation: the one in a folder, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from annotation_phantoms import NAMES, contour, write_rtstruct, write_seg
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
)
from segment_drawings import case, drawn, on_axes

from monai_vggunet.dicom.annotations.annotation import annotation_file, read_annotation
from monai_vggunet.errors import (
    DicomReadError,
    SeriesSelectionError,
)


def test_what_is_no_annotation_is_refused_by_its_kind(tmp_path: Path) -> None:
    files, grid, _ = case(tmp_path)
    with pytest.raises(DicomReadError, match="is of the kind 'CT Image Storage'; expected a label as DICOM SEG"):
        read_annotation(files[0], grid)
    (tmp_path / "text.dcm").write_text("no DICOM at all " * 20)
    with pytest.raises(DicomReadError, match="is not a DICOM file"):
        read_annotation(tmp_path / "text.dcm", grid)
    with pytest.raises(DicomReadError, match="does not exist"):
        read_annotation(tmp_path / "absent.dcm", grid)


def test_a_folder_is_searched_for_its_one_annotation(tmp_path: Path) -> None:
    files, _, pixels = case(tmp_path)
    with pytest.raises(DicomReadError, match="holds neither a DICOM SEG nor an RTSTRUCT"):
        annotation_file(tmp_path)
    write_seg(tmp_path / "ct" / "deep" / "seg", files, pixels)
    (tmp_path / "notes.txt").write_text("x")
    assert annotation_file(tmp_path) == tmp_path / "ct" / "deep" / "seg"
    write_rtstruct(tmp_path / "rs.dcm", {"a": [contour(np.eye(3))]})
    listed = r"holds 2 annotations: ct/deep/seg \(Segmentation Storage\), rs.dcm \(RT Structure Set Storage\); expected"
    with pytest.raises(
        SeriesSelectionError, match=listed + r" one: name the file as the case's 'label' in dataset\.json"
    ):
        annotation_file(tmp_path)


def test_an_annotation_without_file_meta_says_its_kind_in_its_data_set(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, pixels)
    del seg.file_meta.MediaStorageSOPClassUID
    pydicom.dcmwrite(tmp_path / "seg.dcm", seg, enforce_file_format=False)
    np.testing.assert_array_equal(drawn(tmp_path, grid), on_axes(pixels))
    assert seg.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert isinstance(seg.SegmentSequence, Sequence)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == list(NAMES)
