"""Gray, color and transparent pictures side by side in one data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_vggunet.errors import ImageContentError, refusal_behind
from monai_vggunet.transforms import loading

PIXELS = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 7  # rows × columns


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_every_picture_has_three_channels_of_its_own_values(tmp_path: Path, mode: str) -> None:
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    image = loading(with_label=False)({"image": str(tmp_path / "a.png"), "case": "a"})["image"]
    assert image.shape == (3, 7, 5, 1)  # MONAI reads pictures as columns × rows
    for channel in image.numpy():
        np.testing.assert_array_equal(channel[..., 0].T, PIXELS)


def test_a_picture_that_is_refused_says_so_through_the_pipeline(tmp_path: Path) -> None:
    Image.fromarray(PIXELS.astype(np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(RuntimeError) as error:
        loading(with_label=False)({"image": str(tmp_path / "a.tif"), "case": "a"})
    refusal = refusal_behind(error.value)
    assert isinstance(refusal, ImageContentError)
    assert "for which no brightness is defined; expected 8" in str(refusal)
