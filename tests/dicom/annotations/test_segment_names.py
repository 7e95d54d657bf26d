"""Which segment becomes which class: by the names and numbers of a class map."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from annotation_phantoms import write_seg
from dicom_phantoms import PATIENT_ID, PATIENT_NAME
from segment_drawings import case, drawn, on_axes

from monai_vggunet.errors import (
    ConfigurationError,
    LabelContentError,
)


@pytest.mark.parametrize(
    ("class_map", "classes"),
    [
        ({"Liver": 1, "Tumor": 2, "Spleen": 3}, (1, 2, 3)),
        ({" LIVER ": 2, "tumor": 2}, (2, 2, 0)),
        ({"1": 5, "3": 7}, (5, 0, 7)),
        ({"Liver": 0, "Spleen": 1}, (0, 0, 1)),
        ({"Spleen": 1, "Kidney": 2}, (0, 0, 1)),
        ({"Liver": 1, "1": 9}, (1, 0, 0)),
    ],
    ids=["names", "any case", "numbers", "zero", "absent one", "name before number"],
)
def test_segments_become_the_classes_of_the_map(
    tmp_path: Path, class_map: dict[str, int], classes: tuple[int, ...]
) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    expected = np.array([0, *classes], np.uint8)[on_axes(pixels)]
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map=class_map), expected)


def test_a_segment_called_like_another_s_number_goes_by_its_name(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels, names=("2", "b", "c"))
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map={"2": 9}), on_axes((pixels == 1) * np.uint8(9)))


def test_segments_that_the_map_does_not_name_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with caplog.at_level(logging.INFO):
        drawn(tmp_path, grid, class_map={"Tumor": 1, "Kidney": 2})
    assert "background, as the class map does not name them: 1 'Liver', 3 'Spleen'" in caplog.text
    assert "not in this object: Kidney" in caplog.text
    assert PATIENT_NAME not in caplog.text
    assert PATIENT_ID not in caplog.text


def test_a_map_that_names_no_segment_is_an_error_with_the_names(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(LabelContentError, match=r"none of .* \(Kidney\); it holds 1 'Liver', 2 'Tumor', 3 'Spleen'"):
        drawn(tmp_path, grid, class_map={"Kidney": 1})


def test_several_segments_without_a_map_are_an_error_with_the_json_to_write(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(LabelContentError, match=r'write "segments": \{"Liver": 1, "Tumor": 2, "Spleen": 3\} into'):
        drawn(tmp_path, grid, class_map=None)


def test_a_single_segment_without_a_map_is_class_1(tmp_path: Path) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, (pixels == 2).astype(np.uint8), names=("Anything",))
    np.testing.assert_array_equal(drawn(tmp_path, grid, class_map=None), on_axes((pixels == 2).astype(np.uint8)))


@pytest.mark.parametrize("number", [256, -1, 1.0, True])
def test_a_class_number_that_is_none_is_refused(tmp_path: Path, number: object) -> None:
    files, grid, pixels = case(tmp_path)
    write_seg(tmp_path / "seg.dcm", files, pixels)
    with pytest.raises(ConfigurationError, match="not a whole number from 0 to 255"):
        drawn(tmp_path, grid, class_map={"Liver": number})
