"""The page of a study says what the record says, escapes it, and names no path."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from phantoms import affine_of, label_array
from PIL import Image
from report_phantoms import CLASSES, ct_image, write_result

from monai_vggunet.case_record import FAILED, CaseRecord
from monai_vggunet.errors import OutputWriteError
from monai_vggunet.outputs import study_flags
from monai_vggunet.outputs.class_colors import class_color
from monai_vggunet.privacy import shown_case
from monai_vggunet.report.pages.contact_sheet import contact_sheet, sheet_slices
from monai_vggunet.report.pages.display_view import DisplayView, display_view
from monai_vggunet.report.pages.index import write_report_index
from monai_vggunet.report.pages.page import without_folders
from monai_vggunet.report.pages.study import write_failure_report, write_study_report

NASTY = "</script><img src=x onerror=alert(1)>&\"'"


def a_view(labels: np.ndarray | None = None) -> DisplayView:
    labels = label_array() if labels is None else labels
    return display_view(labels, affine_of("oblique", (0.7, 0.9, 3.0)), ct_image(labels), modality="CT")


def page_of(folder: Path, **changes: object) -> str:
    record = write_result(folder, **changes)
    return write_study_report(folder, record, a_view()).read_text()


def test_the_page_holds_what_the_record_holds(tmp_path: Path) -> None:
    text = page_of(tmp_path / "case_1", flags=["empty result: look"])
    record = json.loads((tmp_path / "case_1" / "record.json").read_text())
    for name in CLASSES[1:]:
        assert f"{record['volumes_ml'][name]:,.2f}" in text
    for part in ("empty result: look", "gantry tilt 5 degrees", "0.123", "ab" * 32, "torch 2.14.1", "1.2.3.4", "CT"):
        assert part in text
    assert "Not for clinical use" in text


def test_the_page_has_no_address_to_load_from(tmp_path: Path) -> None:
    """The browser test sees the requests; this one also sees what a browser would only ask for later."""
    text = page_of(tmp_path / "case_1")
    own = re.sub(r"<script>\(function\(.*?</script>", "", text, flags=re.S)  # NiiVue names pages in its comments
    assert not re.findall(r"(?:src|href|action)\s*=\s*[\"']?(?!data:)[\w/.]", own)
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in text


def test_what_names_hold_is_text_and_never_markup(tmp_path: Path) -> None:
    text = page_of(
        tmp_path / "case_1",
        classes=("background", NASTY, "b"),
        case=NASTY,
        flags=[NASTY],
        source={"modality": NASTY, "findings": [NASTY], "shape": [1], "spacing_mm": [1.0], "series_uid": NASTY},
    )
    assert "onerror=alert(1)>" not in text
    assert text.count("&lt;/script&gt;&lt;img src=x") >= 5
    assert (
        json.loads(re.search(r'<script id="study"[^>]*>(.*?)</script>', text, re.S)[1])["classes"][0]["name"] == NASTY
    )


def test_a_class_that_the_record_does_not_name_is_shown_all_the_same(tmp_path: Path) -> None:
    labels = label_array()
    labels[0, 0, 0] = 9
    record = write_result(tmp_path / "case_1")
    text = write_study_report(tmp_path / "case_1", record, a_view(labels)).read_text()
    assert "class 9 (not in the record)" in text


def test_a_page_at_fewer_voxels_says_so(tmp_path: Path) -> None:
    record = write_result(tmp_path / "case_1")
    text = write_study_report(tmp_path / "case_1", record, a_view(), limit_mb=0.001).read_text()
    assert "Shown at reduced resolution: each block of" in text
    assert "reduced resolution" not in write_study_report(tmp_path / "case_1", record, a_view()).read_text()


def test_a_failed_study_has_a_page_that_says_why_without_paths(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"of an earlier run")
    error = "slice gap 5.0 mm in /data/Doe John/ct/IM_1: a slice is missing"
    record = CaseRecord("case_1", FAILED, kind="DicomGeometryError", error=error)
    text = write_failure_report(tmp_path, record).read_text()
    assert "DicomGeometryError" in text
    assert "slice gap 5.0 mm in …/IM_1: a slice is missing" in text
    assert "Doe" not in text
    assert not sheet.exists()


def test_units_are_no_paths() -> None:
    assert without_folders("5 mm/s, 3/4 of them") == "5 mm/s, 3/4 of them"
    assert without_folders("(/a/b c/d.nii.gz) is bad") == "(…/d.nii.gz) is bad"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    record = write_result(tmp_path / "case_1")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputWriteError, match=r"cannot write .*sheet\.png"):
        write_study_report(tmp_path / "file" / "case_1", record, a_view())


def test_the_sheet_shows_the_slices_that_hold_the_mask(tmp_path: Path) -> None:
    labels = np.zeros((20, 16, 40), np.uint8)
    assert len(sheet_slices(labels, 2)) == 12, "an empty mask: all over the volume"
    assert (sheet_slices(labels, 2)[0], sheet_slices(labels, 2)[-1]) == (0, 39)
    labels[5, 5, 7:10] = 1
    assert sheet_slices(labels, 2) == [7, 8, 9]
    labels = label_array()
    sheet = contact_sheet(a_view(labels), write_result(tmp_path / "case_1", labels))
    seen = set(sheet.getdata())
    assert {class_color(1), class_color(2)} <= seen


@pytest.mark.parametrize("shape", [(20, 16, 1), (16, 1, 20), (1, 1, 1), (3, 300, 2)])
def test_sheets_of_odd_shapes_are_pictures(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    record = write_result(tmp_path / "case_1", labels)
    write_study_report(tmp_path / "case_1", record, a_view(labels))
    assert Image.open(tmp_path / "case_1" / "sheet.png").size[0] > 200


def test_the_index_lists_failures_then_flags_then_the_rest(tmp_path: Path) -> None:
    records = {name: write_result(tmp_path / name) for name in ("a", "b")}
    records["b"] = write_result(tmp_path / "b", flags=[NASTY])
    records["c & d"] = CaseRecord("c & d", FAILED, error="no slice\nmore")
    write_failure_report(tmp_path / "c & d", records["c & d"])
    text = write_report_index(tmp_path, records).read_text()
    rows = re.findall(r"<tr><td class=\"thumb\">.*?</tr>", text, re.S)
    assert ["failed: no slice<" in rows[0], "&lt;/script&gt;" in rows[1], "failed" in rows[2]] == [True, True, False]
    assert f'href="reports/{shown_case("c & d")}.html"' in rows[0]
    assert "href" not in rows[1], "no page was written there"
    assert "1 failed · 1 flagged" in text


def test_a_volume_is_compared_with_its_own_class_in_training() -> None:
    fingerprint = {
        "class_names": ["background", "liver", "spleen"],
        "class_volumes_ml": [[9000, 9500, 9900], [1000, 1500, 2000], [100, 150, 200]],
        "in_plane_spacing_mm": [1.0, 1.0],
        "slice_spacing_mm": 3.0,
    }
    assert study_flags({"liver": 1500.0, "spleen": 150.0}, [1.0, 1.0, 3.0], fingerprint) == []
    (flag,) = study_flags({"liver": 1500.0, "spleen": 1500.0}, [1.0, 1.0, 3.0], fingerprint)
    assert flag == "implausible volume: spleen 1.5e+03 mL, in training 100 to 200 mL"
