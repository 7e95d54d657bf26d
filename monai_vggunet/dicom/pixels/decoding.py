"""One image plane -> its values, by pydicom and its codecs: compressed, and whatever else is unusual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
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

from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.bounded_reading import TooLargeError, read_dicom
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.parallel.spread import HelperCrashError, NoHelperError, spread_contained
from monai_vggunet.dicom.pixels.codestream import codestream_components, codestream_size, rle_length
from monai_vggunet.dicom.pixels.stored_words import in_padding, without_unused_bits
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.privacy import clean_quotations

__all__ = ["PLUGINS", "WIDTH_DECODED", "codec_reason", "decode_all", "decode_planes", "unreadable_file"]

# Frames of one file that are decoded in one call: enough that opening it costs little, few enough to hold.
_FRAMES_PER_CALL = 16
_PIXELS_PER_CALL = 1 << 24

# Their decoders return values of the right width; the other syntaxes store whole words, with anything in unused bits.
WIDTH_DECODED = frozenset({*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEGTransferSyntaxes})
# GDCM aborts the whole process on some damaged frames; it gets only what no other codec here reads (JPEG).
PLUGINS = {
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    RLELossless: "pydicom",
}
# CharLS never stops reading a frame that is cut short at certain places.
_JPEG_END = b"\xff\xd9"

# A segment of odd length ends in a byte of padding (PS3.5 annex G), which a decoder may take for one more value.
_RLE_PADDING_BYTES = 1

# A codec's own words, cut to what fits in a message.
_LONGEST_REASON = 300


def decode_all(
    files: Sequence[Sequence[FrameRecord]], consume: Callable[[int, int, np.ndarray], None], num_workers: int
) -> None:
    """Decode planes where the crash of a codec can be survived, and hand each over as soon as it is there.

    Args:
        files: the planes of each file.
        consume: called with the numbers of the file and of the plane in it, and the plane as `decode_planes` returns
            it, by several threads at once; the plane is valid until it returns.
        num_workers: helper processes.

    Raises:
        DicomPixelError: as `decode_planes`, or a codec crashed; the text names the file.
    """
    parts = [
        (number, start, list(frames[start : start + count]))
        for number, frames in enumerate(files)
        for count in [_frames_per_call(frames)]
        for start in range(0, len(frames), count)
    ]

    def hand_over(which: int, planes: list[np.ndarray]) -> None:
        number, start, _ = parts[which]
        for index, plane in enumerate(planes, start):
            consume(number, index, plane)

    try:
        spread_contained(decode_planes, [frames for _, _, frames in parts], hand_over, num_workers)
    except HelperCrashError as error:
        lost = parts[error.index][2]
        raise DicomPixelError(
            f"pixels of {lost[0].name} cannot be decoded: the codec crashed; expected a whole frame: a damaged file; "
            "restore or remove it",
            FindingKind.UNREADABLE_PIXELS,
            [frame.sop_instance_uid for frame in lost],
        ) from error
    except NoHelperError as error:
        raise DicomPixelError(
            "compressed pixels are decoded in helper processes, which survive a codec's crash, and none can be "
            "started; expected to run under Python 3.11 or newer on Linux: raise the limit of processes (ulimit -u), "
            "or run it from a plain Python",
            FindingKind.UNREADABLE_PIXELS,
        ) from error


def _frames_per_call(frames: Sequence[FrameRecord]) -> int:
    largest = max((frame.rows * frame.columns for frame in frames), default=1)
    return max(1, min(_FRAMES_PER_CALL, _PIXELS_PER_CALL // max(1, largest)))


def decode_planes(frames: list[FrameRecord]) -> list[np.ndarray]:
    """Decode planes of one file, here and now: a codec that crashes ends the process.

    Args:
        frames: planes of the same file.

    Returns:
        Arrays (rows, columns): stored words, which are integers and still to be cut to their bits and rescaled; what a
        Modality LUT made of them, float32 and NaN where it is padded; or, of planes without a `format`, stored values.

    Raises:
        DicomPixelError: the file cannot be read, holds no pixels of integers, or its pixels are damaged, of another
            size, or of a kind that no codec here reads.
    """
    path = frames[0].path
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable_file(path, error) from error
    dataset = _open_pixels(path, status.st_size, status.st_mtime_ns)
    return [_decode_plane(dataset, frame) for frame in frames]


@lru_cache(maxsize=1)  # a file of many frames is asked for again and again
def _open_pixels(path: Path, size: int, time_ns: int) -> Dataset:
    """Read a whole file; its size and the time of its last change tell it from another one of its name."""
    try:
        dataset = read_dicom(path)
    except TooLargeError as error:
        raise DicomPixelError(
            f"{path.name} cannot be read: {error}; a damaged file; restore or remove it", FindingKind.UNREADABLE_PIXELS
        ) from error
    except Exception as error:  # pydicom and the codecs raise all kinds on damaged files
        raise unreadable_file(path, error) from error
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomPixelError(
            f"{path.name} holds no pixel data: cut short; restore or remove it", FindingKind.TRUNCATED_PIXELS
        )
    if "PixelData" not in dataset:
        raise DicomPixelError(
            f"{path.name} holds floating-point pixels, expected integers in PixelData", FindingKind.FLOATING_POINT
        )
    if not dataset.file_meta.get("TransferSyntaxUID"):  # a file without preamble: take the encoding that was found
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def _decode_plane(dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    try:
        stored = _stored(dataset, frame)
        used = int(dataset.BitsStored)
        if dataset.file_meta.TransferSyntaxUID in WIDTH_DECODED:
            _require_fit(stored, used)
            stored = without_unused_bits(stored, used, used - 1)  # the sign, which some codecs leave in the middle
        elif frame.format is None or frame.has_lut:
            stored = without_unused_bits(stored, used, int(dataset.get("HighBit", used - 1)))
        if dataset.get("ModalityLUTSequence"):
            return _by_lut(stored, dataset, frame)
    except Exception as error:  # pydicom and the codecs raise all kinds on damaged files
        raise DicomPixelError(
            f"pixels of {frame.name} cannot be decoded: {codec_reason(error, frame.photometric)}; expected "
            f"{frame.columns}x{frame.rows} pixels: a truncated or damaged file, or a codec that is not installed",
            FindingKind.UNREADABLE_PIXELS,
            [frame.sop_instance_uid],
        ) from error
    return stored


def _by_lut(stored: np.ndarray, dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    values = np.array(apply_modality_lut(stored, dataset), dtype=np.float32)
    if frame.padding:
        values[in_padding(stored, frame.padding)] = np.nan
    return values


def _stored(dataset: Dataset, frame: FrameRecord) -> np.ndarray:
    """Decode stored values, of the right width where the codec knows it, else as whole words."""
    syntax, expected = dataset.file_meta.TransferSyntaxUID, (frame.rows, frame.columns)
    if syntax in WIDTH_DECODED or syntax == RLELossless:
        _require_expected(_compressed(dataset, frame), syntax, expected, int(dataset.BitsAllocated))
    stored = pixel_array(
        dataset,
        index=frame.frame_index,
        raw=True,
        decoding_plugin=PLUGINS.get(syntax, ""),
        correct_unused_bits=False,  # pydicom cuts as if HighBit were BitsStored - 1, and silently cuts codecs' values
    )
    if stored.shape != expected:
        raise ValueError(f"got {stored.shape}, expected {expected}")
    return stored


def _compressed(dataset: Dataset, frame: FrameRecord) -> bytes:
    """Return the bytes that pydicom will hand to a codec."""
    count = int(dataset.get("NumberOfFrames") or 1)
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = offsets if all(offsets) and len(offsets[0]) == len(offsets[1]) else None
    return get_frame(dataset.PixelData, frame.frame_index, number_of_frames=count, extended_offsets=extended)


def _require_expected(compressed: bytes, syntax: str, expected: tuple[int, int], bits_allocated: int) -> None:
    """Refuse a compressed frame that would become something other than its header says, before a codec sees it."""
    if syntax == RLELossless:
        segments = -(-bits_allocated // 8)  # one for each byte of a value
        most = segments * (expected[0] * expected[1] + _RLE_PADDING_BYTES)
        if rle_length(compressed, most) > most:
            raise ValueError(f"the compressed frame decodes to more than {most:,} bytes, padding included")
        return
    declared, components = codestream_size(compressed), codestream_components(compressed)
    if declared != expected:
        raise ValueError(f"the compressed frame declares {declared or 'no'} rows and columns, expected {expected}")
    if components != 1:
        raise ValueError(f"the compressed frame declares {components} values per pixel, expected 1")
    if syntax in JPEGLSTransferSyntaxes and not compressed.rstrip(b"\0").endswith(_JPEG_END):
        raise ValueError("the compressed frame has no end: cut short")


def _require_fit(stored: np.ndarray, used: int) -> None:
    """Refuse decoded values that need more bits than BitsStored: cut to them, they would be other values."""
    above = stored >> used if used < stored.dtype.itemsize * 8 else np.zeros(1, dtype=stored.dtype)
    if bool(((above != 0) & (above != -1 if stored.dtype.kind == "i" else True)).any()):
        raise ValueError(f"decoded values from {stored.min()} to {stored.max()} do not fit into BitsStored {used}")


def unreadable_file(path: Path, error: Exception) -> DicomPixelError:
    """Return the refusal of a file that cannot be opened or parsed; what the error says may quote the header."""
    return DicomPixelError(
        f"{path.name} cannot be read: {type(error).__name__}; restore or remove it", FindingKind.UNREADABLE_PIXELS
    )


def codec_reason(error: Exception, photometric: str) -> str:
    """Return in one line why a codec failed; what it quotes of the header is cleaned.

    Args:
        error: pydicom's, or the codec's own.
        photometric: PhotometricInterpretation, which messages take up.
    """
    text = clean_quotations(" ".join(str(error).split()), photometric)
    return f"{type(error).__name__}: {text}"[:_LONGEST_REASON]
