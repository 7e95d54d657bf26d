"""The development corpus of real folders: each is right, or refused by an error of ours, never wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.transforms import LoadImage
from volume_meta import finding_texts

from monai_vggunet.data.reader import DicomSeriesReader
from monai_vggunet.errors import VGGUNetError

CORPUS = Path(__file__).parents[2].parent / "shared" / "data" / "dicom"
CASES = sorted(file.parent for file in CORPUS.glob("*/oracle.json"))
# A sample point must be this near to a voxel's center.
POSITION_TOLERANCE_MM = 0.1
REFUSED = {
    "d03_ct_tilt_gap": "slice gap of 1.499 mm",
    "d05_ct_gap": "slice gap of 10 mm",
    "d06_ct_same_position": "all 2 planes lie at one position",
    "d08_mixed_flat": "several image volumes",
    "d21_mr_4d_dce": "a 4-D series",
    "d22_mr_mixed_orientation": "several image volumes",
    "d23_mr_mosaic": "Siemens mosaic",
    "d27_dirty_truncated": "pixels of IM_3",
}
REPORTED = {
    "d02_ct_tilt_neg": "18.5 degrees off their normal",
    "d04_ct_tilt14": "14 degrees off their normal",
    "d09_study_localizer_sc": "(secondary capture)",
    "d26_dirty_junk_nested": "notes.txt: not a DICOM file",
    "d28_dup_new_uid": "identical copy left out: DUP",
    "d29_localizer_in_series": "sagittal localizer",
}

pytestmark = pytest.mark.skipif(not CASES, reason=f"the shared corpus is not at {CORPUS}")


def assert_matches(image, series: dict) -> None:
    """Compare a volume with the oracle's points: RAS mm -> value, read straight from the headers."""
    samples = np.array(series["samples_ras_xyz_value_frame"], float)
    affine = image.affine.numpy()
    index = (np.linalg.inv(affine) @ np.c_[samples[:, :3], np.ones(len(samples))].T)[:3].T
    nearest = np.rint(index).astype(int)
    assert np.linalg.norm((index - nearest) @ affine[:3, :3].T, axis=1).max() < POSITION_TOLERANCE_MM
    np.testing.assert_allclose(image.numpy()[tuple(nearest.T)], samples[:, 3], rtol=1e-4, atol=0.01)
    assert sorted(image.shape) == sorted((series["cols"], series["rows"], series["n_frames"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_real_folder_is_right_or_refused(case: Path) -> None:
    load = LoadImage(reader=DicomSeriesReader())
    if case.name in REFUSED:
        with pytest.raises(VGGUNetError, match=REFUSED[case.name].replace(".", r"\.")):
            load(case / "dicom")
        return
    image = load(case / "dicom")
    oracle = json.loads((case / "oracle.json").read_text())
    target = oracle.get("target_series_uid")
    wanted = [s for s in oracle["series"] if s.get("series_uid", target) == target] or oracle["series"][:1]
    assert_matches(image, wanted[0])
    assert REPORTED.get(case.name, "") in " ".join(finding_texts(image.meta))


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_mixed_folder_gives_the_series_that_is_asked_for(modality: str) -> None:
    case = CORPUS / "d08_mixed_flat"
    series = next(s for s in json.loads((case / "oracle.json").read_text())["series"] if s["modality"] == modality)
    assert_matches(LoadImage(reader=DicomSeriesReader(modality=modality))(case / "dicom"), series)


@pytest.mark.parametrize("stack", [0, 1])
def test_each_orientation_of_a_mixed_series_can_be_asked_for(stack: int) -> None:
    image = LoadImage(reader=DicomSeriesReader(stack=stack))(CORPUS / "d22_mr_mixed_orientation" / "dicom")
    assert image.shape == (288, 288, 2)
