"""Image planes -> one array of rescaled values, decoded in threads straight into its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from monai_vggunet.dicom.records import FrameRecord
from monai_vggunet.errors import DicomPixelError

__all__ = ["read_pixels"]

# Decoders release the interpreter's lock for most of their time; more threads than cores only cost memory.
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
# Their decoders return values of the right width; the other syntaxes store whole words, with anything in unused bits.
_WIDTH_DECODED = frozenset({*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEGTransferSyntaxes})

# A codec's own words, cut to what fits in a message.
_LONGEST_REASON = 300


def read_pixels(frames: Sequence[FrameRecord], num_workers: int = DEFAULT_WORKERS) -> np.ndarray:
    """Decode planes of one matrix size and apply each plane's own rescale or Modality LUT.

    Values are what the scanner means (HU for CT): `slope * stored + intercept`. MONOCHROME1 is a matter of display
    and changes no value (PS3.3 C.7.6.3.1.2); padding values stay as they are.

    Args:
        frames: planes in the order of the slices.
        num_workers: threads that read and decode files.

    Returns:
        Array of shape (columns, rows, slices), float32.

    Raises:
        DicomPixelError: if a plane is colored, truncated, or cannot be decoded; the text names its file.
    """
    for frame in frames:
        _require_gray(frame)
    # Written plane by plane as (slices, rows, columns); the view returned has the volume's axes without a copy.
    volume = np.empty((len(frames), frames[0].rows, frames[0].columns), dtype=np.float32)
    by_file: dict[Path, list[int]] = {}
    for index, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(index)

    def fill(index: int, dataset: Dataset) -> None:
        volume[index] = _decode(dataset, frames[index])

    def fill_from(path: Path) -> None:
        dataset = _open(path)
        for index in by_file[path]:
            fill(index, dataset)

    with ThreadPoolExecutor(num_workers) as pool:
        if len(by_file) == 1:  # a multi-frame file: its frames are decoded side by side
            dataset = _open(frames[0].path)
            tasks = [pool.submit(fill, index, dataset) for index in range(len(frames))]
        else:
            tasks = [pool.submit(fill_from, path) for path in by_file]
        try:
            for task in tasks:
                task.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return volume.transpose(2, 1, 0)


def _require_gray(frame: FrameRecord) -> None:
    if frame.samples_per_pixel != 1 or frame.photometric not in _MONOCHROME:
        raise DicomPixelError(
            f"{frame.name} has {frame.samples_per_pixel} sample(s) per pixel, {frame.photometric or 'no photometric'}; "
            "expected one sample of MONOCHROME1 or MONOCHROME2: color images are no volume of measured values"
        )


def _open(path: Path) -> Dataset:
    try:
        dataset = pydicom.dcmread(path, force=True)
    except Exception as error:  # pydicom and the codecs raise all kinds on damaged files
        raise DicomPixelError(f"{path.name} cannot be read: {type(error).__name__}; restore or remove it") from error
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomPixelError(f"{path.name} holds no pixel data: cut short; restore or remove it")
    if "PixelData" not in dataset:
        raise DicomPixelError(f"{path.name} holds floating-point pixels, expected integers in PixelData")
    if "TransferSyntaxUID" not in dataset.file_meta:  # a file without preamble: as it was found to be encoded
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def _decode(dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    """Decode one plane to rescaled values, (rows, columns)."""
    try:
        stored = pixel_array(dataset, index=frame.frame_index, raw=True)
        if stored.shape != (frame.rows, frame.columns):
            raise ValueError(f"got {stored.shape}, expected {(frame.rows, frame.columns)}")
        if dataset.file_meta.TransferSyntaxUID not in _WIDTH_DECODED:
            stored = _without_unused_bits(stored, dataset)
        if dataset.get("ModalityLUTSequence"):
            return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    except Exception as error:  # pydicom and the codecs raise all kinds on damaged files
        raise DicomPixelError(
            f"pixels of {frame.name} cannot be decoded: {_in_one_line(error)}; expected "
            f"{frame.columns}x{frame.rows} pixels: a truncated or damaged file, or a codec that is not installed"
        ) from error
    return (stored * np.float64(frame.rescale_slope) + frame.rescale_intercept).astype(np.float32)


def _without_unused_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Drop bits that are not the pixel's (overlays, garbage) and extend the sign from the highest bit stored.

    PS3.5 8.1.1: the value stands in the BitsStored bits that end at HighBit.
    """
    bits = stored.dtype.itemsize * 8
    high = int(dataset.get("HighBit", dataset.BitsStored - 1))
    used = int(dataset.BitsStored)
    if used >= bits:
        return stored
    # Up until the highest stored bit is on top, then down: arithmetically where the type is signed.
    return (stored << (bits - 1 - high)) >> (bits - used)


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
