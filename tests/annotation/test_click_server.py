"""Clicks on a real server: the slices near them are redone, nothing else, and what is no click is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import Server
from phantoms import affine_of

pytestmark = pytest.mark.label
MODEL = "vggunet_clicks"


def mask(server: Server, folder: Path, model: str = MODEL, **clicks: object) -> np.ndarray:
    answer = server.infer(model, "oblique", result_extension=".nii.gz", **clicks)
    assert answer.status_code == 200, answer.text
    (folder / "mask.nii.gz").write_bytes(answer.content)
    image = nib.load(folder / "mask.nii.gz")
    np.testing.assert_allclose(image.affine, affine_of("oblique"), atol=1e-3)
    return np.asarray(image.dataobj)


def test_without_clicks_both_give_the_automatic_result(server: Server, tmp_path: Path) -> None:
    automatic = mask(server, tmp_path, "vggunet")
    assert len(np.unique(automatic)) > 1
    np.testing.assert_array_equal(mask(server, tmp_path), automatic)
    np.testing.assert_array_equal(mask(server, tmp_path, liver=[], background=[]), automatic)


def test_clicks_change_the_slices_near_them_alone_and_are_not_remembered(server: Server, tmp_path: Path) -> None:
    automatic = mask(server, tmp_path)
    clicked = mask(server, tmp_path, spleen=[[5, 6, 4]], background=[[12, 3, 4]])
    changed = {int(k) for k in np.argwhere(automatic != clicked)[:, 2]}
    assert changed
    assert changed <= {3, 4, 5}  # slices are 3 pixels apart, a click is seen within 4
    assert clicked[5, 6, 4] == 2
    assert clicked[12, 3, 4] == 0
    np.testing.assert_array_equal(mask(server, tmp_path), automatic)


def test_a_click_after_run_computes_the_slices_it_reaches_alone(server: Server, tmp_path: Path) -> None:
    mask(server, tmp_path, "vggunet")
    before = len(server.log.read_text())
    mask(server, tmp_path, spleen=[[5, 6, 4]])
    told = server.log.read_text()[before:]
    assert "1 click: 3 of 6 slices recomputed" in told
    assert "all slices computed" not in told


@pytest.mark.parametrize(
    ("clicks", "word"),
    [([[99, 0, 0]], "outside the image"), ([["5", "6", "2"]], "three voxel indices"), ("[[5,6,2]]", "expected a list")],
)
def test_what_is_no_click_is_refused(server: Server, clicks: object, word: str) -> None:
    answer = server.infer(MODEL, "oblique", spleen=clicks)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]
