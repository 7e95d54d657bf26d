from __future__ import annotations

import numpy as np
import pytest
from openjpeg.utils import encode_array

from monai_vggunet.dicom.pixels.codestream import codestream_size


@pytest.mark.parametrize("shape", [(40, 48), (65, 130), (512, 33)])
def test_size_of_jpeg_2000(shape: tuple[int, int]) -> None:
    assert codestream_size(bytes(encode_array(np.zeros(shape, np.uint16)))) == shape


def test_size_of_jpeg_behind_other_segments_and_fill_bytes() -> None:
    comment = "fffe 0004 abcd"
    frame = "fff7 000b 0c 0100 0203 01 01 11 00"  # JPEG-LS, 12 bits, 256 rows, 515 columns
    assert codestream_size(bytes.fromhex(f"ffd8 {comment} ffff {frame} ffda")) == (256, 515)


@pytest.mark.parametrize("frame", ["", "ffd8", "ffd8 ffda 0008 0000 0000 0000 0000", "ff4fff51 0029", "00" * 40])
def test_what_declares_no_size(frame: str) -> None:
    assert codestream_size(bytes.fromhex(frame)) is None
