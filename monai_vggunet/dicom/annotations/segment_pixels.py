"""The frames of a DICOM SEG as stored values: by a codec, inflated, or as bits without padding between frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.pixels.decoding import codec_reason, decode_all
from monai_vggunet.dicom.pixels.deflated_frames import DEFLATED_IMAGE_FRAMES, inflate_frames
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.memory import lack_of_memory

__all__ = ["decode_segments"]

_PIXEL_BYTES = 16  # of one frame on its way through a codec, a table of classes and onto the image


def decode_segments(
    dataset: Dataset, path: Path, frames: Sequence[FrameRecord], consume: Callable[[int, np.ndarray], None]
) -> None:
    """Decode frames one after the other, and hand over the index and the stored values (rows, columns) of each.

    Args:
        dataset: the object, pixel data included.
        path: its file.
        frames: those that are wanted, in their order in the file.
        consume: called with a frame's index and its values.

    Raises:
        DicomPixelError: pixel data that are missing, larger than memory, or cannot be decoded.
    """
    if "PixelData" not in dataset:
        raise DicomPixelError(f"{path} holds no pixel data: a file cut short, or a header without its pixels")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise DicomPixelError(f"{path} has {dataset.SamplesPerPixel} values per pixel; expected 1")
    size = int(dataset.Columns), int(dataset.Rows)
    lacking = lack_of_memory(_PIXEL_BYTES * size[0] * size[1])
    if lacking:
        raise DicomPixelError(
            f"{path} has frames of {size[0]}x{size[1]} pixels: for each {lacking}; a damaged object; export it again"
        )
    if not _is_deflated(dataset) and dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        # one worker: frames are painted one after the other
        decode_all([frames], lambda _, which, pixels: consume(frames[which].frame_index, pixels), 1)
        return
    for index, pixels in _without_codec(dataset, path, [frame.frame_index for frame in frames]):
        consume(index, pixels)


def _is_deflated(dataset: Dataset) -> bool:
    return bool(dataset.file_meta.TransferSyntaxUID == DEFLATED_IMAGE_FRAMES)


def _without_codec(dataset: Dataset, path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    try:
        if _is_deflated(dataset):
            yield from inflate_frames(dataset, wanted)
        elif dataset.BitsAllocated == 1:
            yield from _unpacked(dataset, wanted)
        elif wanted:
            yield from zip(wanted, iter_pixels(dataset, raw=True, indices=list(wanted)), strict=True)
    except Exception as error:  # pydicom's, zlib's and numpy's own kinds, of which there are many
        reason = codec_reason(error, str(dataset.get("PhotometricInterpretation") or ""))
        raise DicomPixelError(f"the pixels of {path} cannot be decoded: {reason}") from error


def _unpacked(dataset: Dataset, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Unpack native bits; frames follow each other without padding, so that one may begin within a byte (PS3.5 8.2).

    pydicom 3.0 can decode such a frame by its index only where it begins and ends with a byte.
    """
    count, data = dataset.Rows * dataset.Columns, np.frombuffer(dataset.PixelData, dtype=np.uint8)
    needed = -(-count * int(dataset.NumberOfFrames) // 8)
    if len(data) < needed:
        raise ValueError(f"{len(data)} bytes of pixel data, expected {needed}: a truncated file")
    for index in wanted:
        start = index * count
        bits = np.unpackbits(data[start // 8 : (start + count + 7) // 8], bitorder="little")
        yield index, bits[start % 8 : start % 8 + count].reshape(dataset.Rows, dataset.Columns)
