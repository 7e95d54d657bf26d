"""Compressed frames are counted by the beginnings of their fragments, and never without end."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydicom.encaps import encapsulate

from monai_vggunet.dicom.pixels.frame_count import _frames_in

START = bytes.fromhex("ff4fff51") + b"\0" * 60


class CountedReads(io.BytesIO):
    """Bytes that count how often they are read."""

    reads = 0

    def read(self, *args: Any) -> bytes:
        """Read as any stream does."""
        self.reads += 1
        return super().read(*args)


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 4])
def test_a_frame_may_take_several_fragments(has_table: bool, fragments: int) -> None:
    pixels = b"before" + encapsulate([START] * 3, fragments_per_frame=fragments, has_bot=has_table)
    assert _frames_in(io.BytesIO(pixels), 6, False, 10) == 3
    assert _frames_in(io.BytesIO(pixels), 6, True, 100) == 3 * fragments


def test_one_frame_too_many_is_enough() -> None:
    stream = CountedReads(encapsulate([START] * 100, has_bot=False))
    assert _frames_in(stream, 0, False, 2) == 3
    assert stream.reads == 4


def test_fragments_without_end_are_not_counted() -> None:
    stream = CountedReads(encapsulate([START], has_bot=False)[:-8] + b"\xfe\xff\x00\xe0\0\0\0\0" * (1 << 18))
    assert _frames_in(stream, 0, False, 1) == 1
    assert stream.reads < 1 << 17


@pytest.mark.parametrize("pixels", [b"", b"\xfe\xff", b"\0" * 100])
def test_what_is_no_item_is_no_frame(pixels: bytes) -> None:
    assert _frames_in(io.BytesIO(pixels), 0, False, 1) is None
