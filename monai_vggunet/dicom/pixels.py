"""Image planes -> one array of rescaled values, each read or decoded straight into its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from monai_vggunet.dicom.decoding import decode_plane, decode_planes, open_pixels
from monai_vggunet.dicom.helpers import HelperCrashError, spread
from monai_vggunet.dicom.native_pixels import NativePixels, native_pixels
from monai_vggunet.dicom.records import FrameRecord
from monai_vggunet.errors import DicomPixelError

__all__ = ["read_pixels"]

# Reading and rescaling releases the interpreter's lock; more workers than cores only cost memory.
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")

# Blank planes compress without end, whole series do not: a header that claims more pixels than this per byte of its
# files is damaged. Up to the second figure a claim is harmless.
_MOST_PIXELS_PER_BYTE = 5000
_HARMLESS_PIXELS = 1 << 26

# The planes of one file, and their places in the volume.
_Places = list[tuple[int, FrameRecord]]


def read_pixels(frames: Sequence[FrameRecord], num_workers: int = DEFAULT_WORKERS) -> np.ndarray:
    """Decode planes of one matrix size and apply each plane's own rescale or Modality LUT.

    Values are what the scanner means (HU for CT): `slope * stored + intercept`. MONOCHROME1 is a matter of display
    and changes no value (PS3.3 C.7.6.3.1.2); padding values stay as they are.

    Uncompressed files are read by threads. Compressed ones are decoded by helper processes where that pays and is
    possible (see `helpers`), because codecs hold the interpreter's lock.

    Args:
        frames: planes in the order of the slices.
        num_workers: threads or helper processes.

    Returns:
        Array of shape (columns, rows, slices), float32. In memory a slice is contiguous: rows of columns.

    Raises:
        DicomPixelError: if a plane is colored, truncated, or cannot be decoded, or if the planes do not fit into
            memory; the text names the file.
    """
    by_file: dict[Path, _Places] = {}
    for index, frame in enumerate(frames):
        _require_gray(frame)
        by_file.setdefault(frame.path, []).append((index, frame))
    native: list[tuple[NativePixels, _Places]] = []
    general: list[_Places] = []
    for path, places in by_file.items():
        layout = _find_native(path, places)
        if layout is None:
            general.append(places)
        else:
            native.append((layout, places))
    _require_plausible(general)
    volume = _allocate(frames)
    _read_native(native, volume, num_workers)
    _decode_general(general, volume, num_workers)
    # Written plane by plane as (slices, rows, columns); the view returned has the volume's axes without a copy.
    return volume.transpose(2, 1, 0)


def _require_gray(frame: FrameRecord) -> None:
    if frame.samples_per_pixel != 1 or frame.photometric not in _MONOCHROME:
        raise DicomPixelError(
            f"{frame.name} has {frame.samples_per_pixel} sample(s) per pixel, {frame.photometric or 'no photometric'}; "
            "expected one sample of MONOCHROME1 or MONOCHROME2: color images are no volume of measured values"
        )


def _find_native(path: Path, places: _Places) -> NativePixels | None:
    try:
        layout = native_pixels(path, [frame for _, frame in places])
        size = path.stat().st_size
    except OSError as error:
        raise DicomPixelError(f"{path.name} cannot be read: {type(error).__name__}; restore or remove it") from error
    if layout is not None and size < layout.end:
        raise _truncated(places[0][1])
    return layout


def _truncated(frame: FrameRecord) -> DicomPixelError:
    return DicomPixelError(
        f"pixels of {frame.name} end early; expected {frame.columns}x{frame.rows} pixels: a truncated file; restore or "
        "remove it"
    )


def _require_plausible(general: list[_Places]) -> None:
    """Refuse files far too small for what their headers claim, before memory is set aside for it."""
    claimed = sum(frame.rows * frame.columns for places in general for _, frame in places)
    held = sum(places[0][1].path.stat().st_size for places in general)
    if claimed > _HARMLESS_PIXELS and claimed > held * _MOST_PIXELS_PER_BYTE:
        first = general[0][0][1]
        raise DicomPixelError(
            f"{len(general)} file(s) of {held} bytes, from {first.name}, claim {claimed} pixels ({first.columns}x"
            f"{first.rows} a plane); expected at most {_MOST_PIXELS_PER_BYTE} pixels per byte: a damaged header"
        )
    if claimed > _HARMLESS_PIXELS:
        decode_planes([general[0][0][1]])  # refuses a plane that is not of the size claimed


def _allocate(frames: Sequence[FrameRecord]) -> np.ndarray:
    shape = (len(frames), frames[0].rows, frames[0].columns)
    size = 4 * shape[0] * shape[1] * shape[2]
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        memory = size
    try:
        if size > memory:
            raise MemoryError
        return np.empty(shape, dtype=np.float32)
    except (MemoryError, ValueError) as error:
        raise DicomPixelError(
            f"{shape[0]} planes of {shape[2]}x{shape[1]} pixels, from {frames[0].name}, need {size / 2**30:.1f} GiB; "
            "expected a volume that fits into memory"
        ) from error


def _read_native(native: list[tuple[NativePixels, _Places]], volume: np.ndarray, num_workers: int) -> None:
    def read(layout: NativePixels, places: _Places) -> None:
        try:
            complete = layout.read_into(volume, places)
        except OSError as error:
            name = layout.path.name
            raise DicomPixelError(f"{name} cannot be read: {type(error).__name__}; restore or remove it") from error
        if not complete:
            raise _truncated(places[0][1])

    with ThreadPoolExecutor(num_workers) as pool:
        tasks = [pool.submit(read, layout, places) for layout, places in native]
        try:
            for task in tasks:
                task.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_general(general: list[_Places], volume: np.ndarray, num_workers: int) -> None:
    if len(general) == 1:  # a multi-frame file is read once; its frames share it
        dataset = open_pixels(general[0][0][1].path)
        for index, frame in general[0]:
            volume[index] = decode_plane(dataset, frame)
        return

    def put(which: int, planes: list[np.ndarray]) -> None:
        for (index, _), plane in zip(general[which], planes, strict=True):
            volume[index] = plane

    try:
        spread(decode_planes, [[frame for _, frame in places] for places in general], put, num_workers)
    except HelperCrashError as error:
        name = general[error.index][0][1].name
        raise DicomPixelError(
            f"pixels of {name} cannot be decoded: the codec crashed; expected a whole frame: a damaged file; restore "
            "or remove it"
        ) from error
