"""One image plane -> its values, by pydicom and its codecs: compressed, and whatever else is unusual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from monai_vggunet.dicom.codestream import codestream_size
from monai_vggunet.dicom.native_pixels import without_unused_bits
from monai_vggunet.dicom.records import FrameRecord
from monai_vggunet.errors import DicomPixelError

__all__ = ["decode_plane", "decode_planes", "open_pixels"]

# Their decoders return values of the right width; the other syntaxes store whole words, with anything in unused bits.
_WIDTH_DECODED = frozenset({*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEGTransferSyntaxes})
# GDCM aborts the whole process on some damaged frames; it is left what no other codec here reads (JPEG).
_PLUGINS = {
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    RLELossless: "pydicom",
}
# CharLS reads on for ever where a frame is cut short at some places.
_JPEG_END = b"\xff\xd9"

# A codec's own words, cut to what fits in a message.
_LONGEST_REASON = 300


def decode_planes(frames: list[FrameRecord]) -> list[np.ndarray]:
    """Decode planes of one file, as `decode_plane` does.

    Args:
        frames: planes of the same file.

    Returns:
        Arrays (rows, columns): stored values, or float32 of a Modality LUT.

    Raises:
        DicomPixelError: as `open_pixels` and `decode_plane`.
    """
    dataset = open_pixels(frames[0].path)
    return [decode_plane(dataset, frame) for frame in frames]


def open_pixels(path: Path) -> Dataset:
    """Read a whole file.

    Raises:
        DicomPixelError: if it cannot be read or holds no pixels of integers.
    """
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


def decode_plane(dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    """Decode one plane of a file.

    Returns:
        Array (rows, columns): stored values, which are integers and still to be rescaled, or what a Modality LUT made
        of them, float32.

    Raises:
        DicomPixelError: if its pixels are damaged, of another size, or of a kind that no codec here reads.
    """
    try:
        stored = _stored(dataset, frame)
        used = int(dataset.BitsStored)
        if dataset.file_meta.TransferSyntaxUID in _WIDTH_DECODED:
            _require_fit(stored, used)
            stored = without_unused_bits(stored, used, used - 1)  # the sign, which some codecs leave in the middle
        else:
            stored = without_unused_bits(stored, used, int(dataset.get("HighBit", used - 1)))
        if dataset.get("ModalityLUTSequence"):
            return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    except Exception as error:  # pydicom and the codecs raise all kinds on damaged files
        raise DicomPixelError(
            f"pixels of {frame.name} cannot be decoded: {_in_one_line(error)}; expected "
            f"{frame.columns}x{frame.rows} pixels: a truncated or damaged file, or a codec that is not installed"
        ) from error
    return stored


def _stored(dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    """Decode stored values, of the right width where the codec knows it, else as whole words."""
    syntax, expected = dataset.file_meta.TransferSyntaxUID, (frame.rows, frame.columns)
    if syntax in _WIDTH_DECODED:
        count = int(dataset.get("NumberOfFrames") or 1)
        compressed = get_frame(dataset.PixelData, frame.frame_index, number_of_frames=count)
        declared = codestream_size(compressed)
        if declared != expected:
            raise ValueError(f"the compressed frame declares {declared or 'no'} rows and columns, expected {expected}")
        if syntax in JPEGLSTransferSyntaxes and not compressed.rstrip(b"\0").endswith(_JPEG_END):
            raise ValueError("the compressed frame has no end: cut short")
    stored = pixel_array(
        dataset,
        index=frame.frame_index,
        raw=True,
        decoding_plugin=_PLUGINS.get(syntax, ""),
        correct_unused_bits=False,  # pydicom cuts as if HighBit were BitsStored - 1, and codecs' values without a word
    )
    if stored.shape != expected:
        raise ValueError(f"got {stored.shape}, expected {expected}")
    return stored


def _require_fit(stored: np.ndarray, used: int) -> None:
    """Refuse decoded values that need more bits than BitsStored: cut to them, they would be other values."""
    above = stored >> used if used < stored.dtype.itemsize * 8 else np.zeros(1, dtype=stored.dtype)
    if bool(((above != 0) & (above != -1 if stored.dtype.kind == "i" else True)).any()):
        raise ValueError(f"decoded values from {stored.min()} to {stored.max()} do not fit into BitsStored {used}")


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
