"""Image planes -> one array of rescaled values, each read or decoded straight into its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_vggunet.dicom.findings import FindingKind
from monai_vggunet.dicom.headers.records import FrameRecord
from monai_vggunet.dicom.pixels.decoding import WIDTH_DECODED, decode_all, unreadable_file
from monai_vggunet.dicom.pixels.native_pixels import native_layout, read_native
from monai_vggunet.dicom.pixels.padding import Padding, fill_padding
from monai_vggunet.dicom.pixels.readable import require_readable
from monai_vggunet.dicom.pixels.stored_words import rescale_into, values_into
from monai_vggunet.errors import DicomPixelError
from monai_vggunet.memory import lack_of_memory
from monai_vggunet.names import counted

__all__ = ["PlaneValues", "read_pixels"]

# Reading and rescaling releases the interpreter's lock; more workers than cores only cost memory.
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)

# Blank planes compress without end, whole series do not: a header that claims more pixels than this per byte of its
# files is damaged. Up to the second figure a claim is harmless.
_MOST_PIXELS_PER_BYTE = 5000
_HARMLESS_PIXELS = 1 << 26

_VOXEL_BYTES = 4  # float32
_DECODED_PIXEL_BYTES = 16  # of a plane on its way through a codec: 32 bits per pixel, and copies

# Files that a thread reads before it asks for more.
_FILES_PER_TASK = 16

# The planes of one file, and their places in the volume.
_Places = list[tuple[int, FrameRecord]]


@dataclass(frozen=True, slots=True)
class PlaneValues:
    """Planes in memory.

    Attributes:
        array: (columns, rows, slices), float32. In memory a slice is contiguous: rows of columns.
        padding: its padded voxels, if it has any.
        beyond: of each slice, how many pixels hold bits that BitsStored and HighBit deny; those bits are left out.
    """

    array: np.ndarray
    padding: Padding | None
    beyond: np.ndarray


def read_pixels(frames: Sequence[FrameRecord], num_workers: int = DEFAULT_WORKERS, is_ct: bool = False) -> PlaneValues:
    """Decode planes of one matrix size and apply each plane's own rescale or Modality LUT.

    Values are what the scanner means (HU for CT): `slope * stored + intercept`. MONOCHROME1 is a matter of display
    and changes no value (PS3.3 C.7.6.3.1.2). Padded pixels get the lowest of the other values.

    Uncompressed files are read by threads. Compressed ones are decoded by helper processes (see `parallel`), because
    codecs hold the interpreter's lock, and crash on some damaged data.

    Args:
        frames: planes in the order of the slices.
        num_workers: threads or helper processes.
        is_ct: see `fill_padding`.

    Raises:
        DicomPixelError: if a plane is colored, truncated, or cannot be decoded, or if the planes do not fit into
            memory; the text names the file.
    """
    by_file: dict[Path, _Places] = {}
    require_readable(frames)
    for index, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append((index, frame))
    files = list(by_file.values())
    _require_plausible(files)
    volume, counts = _allocate(frames), np.zeros((len(frames), 2), np.int64)
    rest = _read_native(files, volume, counts, num_workers)
    _decode_general(rest, volume, counts, num_workers)
    padding = fill_padding(volume, frames, counts[:, 0], is_ct)
    # Written plane by plane as (slices, rows, columns); the view returned has the volume's axes without a copy.
    return PlaneValues(volume.transpose(2, 1, 0), padding, counts[:, 1])


def _require_plausible(files: list[_Places]) -> None:
    """Refuse more than memory holds, and files far too small for what their headers claim, before it is set aside."""
    first = files[0][0][1]
    claimed = sum(frame.rows * frame.columns for places in files for _, frame in places)
    planes, pixels = sum(map(len, files)), f"{first.columns}x{first.rows}"
    is_large = claimed > _HARMLESS_PIXELS
    held = sum(_size(places[0][1].path) for places in files) if is_large else 0
    if claimed > max(_HARMLESS_PIXELS, held * _MOST_PIXELS_PER_BYTE):
        raise DicomPixelError(
            f"{counted(len(files), 'file')} of {held} bytes, from {first.name}, claim {claimed} pixels ({pixels} a "
            f"plane); expected at most {_MOST_PIXELS_PER_BYTE} pixels per byte: a damaged header",
            FindingKind.IMPLAUSIBLE_SIZE,
        )
    lacking = lack_of_memory(_VOXEL_BYTES * claimed + _DECODED_PIXEL_BYTES * first.rows * first.columns)
    if lacking:
        raise DicomPixelError(
            f"{planes} planes of {pixels} pixels, from {first.name}: {lacking}; expected a volume that fits into "
            "memory",
            FindingKind.TOO_LARGE,
        )
    if is_large and native_layout(first.path, [first]) is None:
        decode_all([[first]], lambda *_: None, 1)  # refuses a plane that is not of the size claimed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable_file(path, error) from error


def _allocate(frames: Sequence[FrameRecord]) -> np.ndarray:
    shape = (len(frames), frames[0].rows, frames[0].columns)
    try:
        return np.empty(shape, dtype=np.float32)
    except (MemoryError, ValueError) as error:  # others may have taken it meanwhile
        raise DicomPixelError(
            f"{shape[0]} planes of {shape[2]}x{shape[1]} pixels, from {frames[0].name}, do not fit into memory",
            FindingKind.TOO_LARGE,
        ) from error


def _read_native(files: list[_Places], volume: np.ndarray, counts: np.ndarray, num_workers: int) -> list[_Places]:
    """Read the files that need no decoder; return the others."""

    def read(part: list[_Places]) -> list[_Places]:
        scratch = np.empty(0, np.uint8)  # one for many files: fresh memory would cost as much as reading into it
        others = []
        for places in part:
            frame = places[0][1]
            try:
                layout = native_layout(frame.path, [frame for _, frame in places])
                if layout is None:
                    others.append(places)
                    continue
                if scratch.nbytes < layout.frame_bytes:
                    scratch = np.empty(layout.frame_bytes, np.uint8)
                if not read_native(frame.path, layout, volume, places, scratch, counts):
                    raise _truncated(frame)
            except OSError as error:
                raise unreadable_file(frame.path, error) from error
        return others

    size = max(1, min(_FILES_PER_TASK, -(-len(files) // num_workers)))
    parts = [files[start : start + size] for start in range(0, len(files), size)]
    if len(parts) == 1:
        return read(files)
    with ThreadPoolExecutor(num_workers) as pool:
        done = [pool.submit(read, part) for part in parts]
        try:
            return [places for task in done for places in task.result()]
        finally:
            pool.shutdown(cancel_futures=True)


def _truncated(frame: FrameRecord) -> DicomPixelError:
    return DicomPixelError(
        f"pixels of {frame.name} end early; expected {frame.columns}x{frame.rows} pixels: a truncated file; restore or "
        "remove it",
        FindingKind.TRUNCATED_PIXELS,
        [frame.sop_instance_uid],
    )


def _decode_general(general: list[_Places], volume: np.ndarray, counts: np.ndarray, num_workers: int) -> None:
    def put(number: int, which: int, plane: np.ndarray) -> None:
        index, frame = general[number][which]
        if plane.dtype == volume.dtype:
            volume[index] = plane
            counts[index, 0] = np.count_nonzero(np.isnan(plane)) if frame.padding else 0
        elif frame.format is not None:
            used = frame.format.bits_stored
            high = used - 1 if frame.format.transfer_syntax in WIDTH_DECODED else frame.format.high_bit
            counts[index] = values_into(volume[index], plane, frame, used, high)
        else:
            rescale_into(volume[index], plane, frame.rescale_slope, frame.rescale_intercept)

    for _, frame in (place for places in general for place in places):
        if frame.stored and frame.stored.is_cut_short:
            raise _truncated(frame)
    decode_all([[frame for _, frame in places] for places in general], put, num_workers)
