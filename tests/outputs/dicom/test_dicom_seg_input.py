"""What must be refused, or survived, when a mask is written as a DICOM object."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import write_series
from mask_phantoms import NAMES, labels_by_hand, mask_on
from phantoms import affine_of

from monai_vggunet.errors import (
    ConfigurationError,
    DicomReadError,
    GridMismatchError,
    LabelContentError,
    OutputWriteError,
)
from monai_vggunet.outputs import CaseMask, Classes, DicomSegWriter, write_dicom_seg, write_rtstruct
from monai_vggunet.outputs.dicom.seg import dicom_seg

BOTH = pytest.mark.parametrize("write", [write_dicom_seg, write_rtstruct], ids=["seg", "rtstruct"])
Write = Callable[[Path, CaseMask], None]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", np.random.default_rng(0).integers(0, 9, (4, 12, 9)).astype(np.int16))
    return tmp_path / "ct"


@BOTH
def test_a_class_number_without_a_name_is_refused(series: Path, tmp_path: Path, write: Write) -> None:
    mask = mask_on(series, classes=Classes(NAMES[:4]))
    with pytest.raises(LabelContentError, match="holds the class number 4, but only 0 to 3 have a name"):
        write(tmp_path / "out.dcm", mask)
    assert not (tmp_path / "out.dcm").exists()


def test_negative_and_fractional_labels_are_refused(series: Path) -> None:
    mask = mask_on(series)
    with pytest.raises(LabelContentError, match="holds the class number -1"):
        dicom_seg(replace(mask, labels=mask.labels.astype(np.int16) - 1))
    with pytest.raises(LabelContentError, match="the mask holds fractions"):
        dicom_seg(replace(mask, labels=mask.labels + 0.5))


@BOTH
def test_source_files_that_are_gone_are_named(series: Path, tmp_path: Path, write: Write) -> None:
    mask = mask_on(series)
    next(series.iterdir()).unlink()
    with pytest.raises(DicomReadError, match="1 of the 4 source instances are gone or have changed"):
        write(tmp_path / "out.dcm", mask)
    shutil.rmtree(series)
    with pytest.raises(DicomReadError, match="4 of the 4 source instances are gone"):
        write(tmp_path / "out.dcm", mask)


def test_source_files_that_were_renamed_are_found_by_their_uids(series: Path) -> None:
    mask = mask_on(series)
    for number, file in enumerate(sorted(series.iterdir())):
        file.rename(file.with_name(f"renamed_{number}"))
    np.testing.assert_array_equal(labels_by_hand(dicom_seg(mask), mask.affine, mask.labels.shape), mask.labels)


@BOTH
def test_a_source_whose_geometry_has_changed_is_refused(series: Path, tmp_path: Path, write: Write) -> None:
    mask = mask_on(series)
    for file in series.iterdir():
        header = pydicom.dcmread(file)
        header.PixelSpacing = [1.6, 1.2]
        header.save_as(file)
    with pytest.raises(GridMismatchError, match="its rows and columns have other directions or another spacing"):
        write(tmp_path / "out.dcm", mask)


@BOTH
@pytest.mark.parametrize("all_of_them", [False, True])
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "another"),
        ("IssuerOfPatientID", "another hospital"),
        ("StudyInstanceUID", "1.2.3.4.99"),
        ("SeriesInstanceUID", "1.2.3.4.98"),
        ("FrameOfReferenceUID", "1.2.3.4.97"),
        ("Modality", "PT"),
    ],
)
def test_a_source_whose_identity_has_changed_is_refused(
    series: Path, tmp_path: Path, write: Write, keyword: str, value: str, all_of_them: bool
) -> None:
    mask = mask_on(series)
    for file in sorted(series.iterdir())[None if all_of_them else 3 :]:
        header = pydicom.dcmread(file)
        setattr(header, keyword, value)
        header.save_as(file)
    name = "PatientID" if "Patient" in keyword else keyword
    with pytest.raises(DicomReadError, match=f"has another {name} than the series that was read"):
        write(tmp_path / "out.dcm", mask)
    assert not (tmp_path / "out.dcm").exists()


@BOTH
def test_a_mask_of_another_shape_is_refused(series: Path, tmp_path: Path, write: Write) -> None:
    mask = mask_on(series)
    with pytest.raises(GridMismatchError, match=r"the mask has the shape \(9, 12, 3\), its source \(9, 12, 4\)"):
        write(tmp_path / "out.dcm", replace(mask, labels=mask.labels[..., :3]))


@BOTH
def test_input_that_is_no_dicom_is_refused(tmp_path: Path, write: Write) -> None:
    mask = CaseMask(np.ones((4, 4, 4), np.uint8), affine_of(), {"affine": affine_of()}, Classes(NAMES))
    with pytest.raises(DicomReadError, match="needs a DICOM series to refer to, and this input is none"):
        write(tmp_path / "out.dcm", mask)


@BOTH
def test_interpolated_slices_are_refused(tmp_path: Path, write: Write) -> None:
    write_series(tmp_path / "ct", offsets_mm=[0.0, 2.5, 5.0, 10.0])
    mask = mask_on(tmp_path / "ct", on_gap="resample")
    with pytest.raises(DicomReadError, match="these were interpolated: read with on_gap"):
        write(tmp_path / "out.dcm", mask)


@BOTH
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_source_that_cannot_be_named_is_refused(tmp_path: Path, write: Write, keyword: str) -> None:
    files = write_series(tmp_path / "ct")
    for file in files:
        header = pydicom.dcmread(file)
        header[keyword].value = ""
        if keyword == "SOPInstanceUID":
            del header.file_meta.MediaStorageSOPInstanceUID
        header.save_as(file, enforce_file_format=False)
    with pytest.raises(DicomReadError, match=rf"which lacks {keyword} \(missing or empty\)"):
        write(tmp_path / "out.dcm", mask_on(tmp_path / "ct"))


def test_without_a_frame_of_reference_a_seg_is_placed_by_its_images_and_an_rtstruct_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", FrameOfReferenceUID=None)
    mask = mask_on(tmp_path / "ct")
    seg = dicom_seg(mask)
    assert "FrameOfReferenceUID" not in seg
    assert all(group.DerivationImageSequence[0].SourceImageSequence for group in seg.PerFrameFunctionalGroupsSequence)
    np.testing.assert_array_equal(labels_by_hand(seg, mask.affine, mask.labels.shape), mask.labels)
    with pytest.raises(DicomReadError, match="the series has no FrameOfReferenceUID"):
        write_rtstruct(tmp_path / "rtstruct.dcm", mask)


@BOTH
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_source_lacks_of_patient_and_study_is_written_empty(tmp_path: Path, write: Write, value: Any) -> None:
    keywords = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "AccessionNumber")
    write_series(tmp_path / "ct", **dict.fromkeys(keywords, value))
    write(tmp_path / "out.dcm", mask_on(tmp_path / "ct"))
    written = pydicom.dcmread(tmp_path / "out.dcm")
    for keyword in keywords:
        assert keyword in written
        assert not written[keyword].value


@BOTH
def test_values_that_break_the_rules_are_left_out_and_the_name_is_kept(tmp_path: Path, write: Write) -> None:
    write_series(tmp_path / "ct")
    for file in (tmp_path / "ct").iterdir():
        header = pydicom.dcmread(file)
        with pydicom.config.disable_value_validation():
            header.StudyID, header.PatientAge, header.PatientID = "a StudyID that is too long", "0Y", "I" * 70
            header.PatientSex = "unknown"
            header.save_as(file)
    write(tmp_path / "out.dcm", mask_on(tmp_path / "ct"))
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert not written.StudyID
    assert "PatientAge" not in written
    assert written.PatientID == "I" * 70


@BOTH
@pytest.mark.parametrize(
    ("charset", "patient"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (None, "Mller^J"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
@pytest.mark.parametrize("name", ["liver", "Leber größer 肝"])
def test_patients_of_any_character_set_keep_their_names(
    tmp_path: Path, write: Write, charset: str | list[str] | None, patient: str, name: str
) -> None:
    write_series(tmp_path / "ct", SpecificCharacterSet=charset, PatientName=patient)
    classes = Classes(["background", name, "b", "c", "d"])
    write(tmp_path / "out.dcm", mask_on(tmp_path / "ct", classes=classes))
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert str(written.PatientName) == patient
    kept = name.isascii() and not isinstance(charset, list)
    assert written.get("SpecificCharacterSet") == (charset if kept else "ISO_IR 192")
    items = written.get("SegmentSequence") or written.get("StructureSetROISequence")
    assert (items[0].get("SegmentLabel") or items[0].get("ROIName")) == name


@BOTH
def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(
    series: Path, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "out.dcm"
    target.parent.mkdir()
    target.write_bytes(b"of an earlier run")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputWriteError, match="No space left on device"):
        write(target, mask_on(series))
    assert [file.name for file in target.parent.iterdir()] == ["out.dcm"]
    assert target.read_bytes() == b"of an earlier run"


def test_more_classes_than_dicom_can_number_are_refused() -> None:
    with pytest.raises(LabelContentError, match="65536 classes, but a segment's number goes from 1 to 65535"):
        Classes([f"class {n}" for n in range(65537)])


def test_names_that_dicom_cannot_hold_are_shortened(series: Path) -> None:
    seg = dicom_seg(mask_on(series, classes=Classes(["background", "a" * 80, "left\\right", "\n", "d"])))
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["a" * 64, "left right", "class 3", "d"]


def test_unknown_types_and_missing_probabilities_are_refused(series: Path) -> None:
    with pytest.raises(ConfigurationError, match="'soft'; expected one of binary, labelmap, fractional"):
        dicom_seg(mask_on(series), "soft")
    with pytest.raises(ConfigurationError, match="'soft'; expected one of binary, labelmap, fractional"):
        DicomSegWriter(seg_type="soft")
    with pytest.raises(ConfigurationError, match="needs probabilities, and none were computed"):
        dicom_seg(mask_on(series), "fractional")
    with pytest.raises(GridMismatchError, match=r"the probabilities have the shape \(2, 9, 12, 4\)"):
        dicom_seg(mask_on(series, probabilities=np.zeros((2, 9, 12, 4), np.uint8)), "fractional")
