"""Volumes inside a page: gzip NIfTI in base64, reduced by whole factors if they are too large."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from monai_vggunet.outputs.nifti import mask_image
from monai_vggunet.report.pages.display_view import DisplayView

__all__ = ["EmbeddedStudy", "embed_study", "reduced"]

LIMIT_MB = 30.0  # of the compressed image: a page of 40 MB opens in a second or two, and can be mailed
LEVEL = 1  # noise hardly compresses: higher levels take several times as long and save two percent
SAMPLED_SLABS = 8  # compressed to estimate the size
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)
_GZIP = 31  # zlib's window bits for a gzip stream


@dataclass(frozen=True)
class EmbeddedStudy:
    """Image and mask as text for a page.

    Attributes:
        image: base64 of a gzip NIfTI, int16; empty without an image.
        mask: base64 of a gzip NIfTI, uint8, on the same grid.
        shape: voxels of both.
        affine: voxel index to RAS mm, `(4, 4)`, of both.
        factors: how many voxels became one along each axis.
        rounded_to: step between stored intensities if they had to be rounded, else 0.
    """

    image: str
    mask: str
    shape: tuple[int, int, int]
    affine: np.ndarray
    factors: tuple[int, int, int]
    rounded_to: float


def embed_study(view: DisplayView, limit_mb: float = LIMIT_MB) -> EmbeddedStudy:
    """Return a study as text; an image above the limit is averaged over blocks, and its mask reduced by majority.

    Args:
        view: image and mask.
        limit_mb: megabytes that the compressed image may take.
    """
    labels, affine = view.labels.astype(np.uint8), view.affine
    if view.image is None:
        return EmbeddedStudy("", _text(labels, affine), _shape(labels), affine, (1, 1, 1), 0.0)
    image = view.image
    if image.ndim == 4:  # color pictures are shown by their brightness
        image = np.rint(image @ np.array(LUMINANCE, np.float32))
    stored, slope, offset = _as_int16(image)
    factors = _factors(stored, view.spacing_mm, limit_mb)
    if factors != (1, 1, 1):
        stored, slope, offset = _as_int16(np.rint(reduced(image, factors)) if slope == 1.0 else reduced(image, factors))
        labels, affine = _majority(labels, factors), _coarser(affine, factors)
    text = _text(stored, affine, slope, offset)
    rounded_to = 0.0 if (slope, offset) == (1.0, 0.0) else slope
    return EmbeddedStudy(text, _text(labels, affine), _shape(labels), affine, factors, rounded_to)


def reduced(image: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Return the mean over blocks, `(X, Y, Z)` float32; a block beyond the edge repeats the last voxels."""
    return _blocks(image.astype(np.float32), factors).mean(axis=(1, 3, 5))


def _majority(labels: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Return each block's most frequent class; of equally frequent ones the highest, so that the background yields."""
    blocks = _blocks(labels, factors)
    best = np.zeros(blocks.shape[::2], np.int32)
    result = np.zeros(blocks.shape[::2], np.uint8)
    for number in np.unique(labels):
        count = (blocks == number).sum(axis=(1, 3, 5), dtype=np.int32)
        result[count >= np.maximum(best, 1)] = number
        np.maximum(best, count, out=best)
    return result


def _blocks(array: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    missing = [(0, -n % f) for n, f in zip(array.shape, factors)]
    padded = np.pad(array, missing, mode="edge") if np.any(missing) else array
    return padded.reshape([part for n, f in zip(padded.shape, factors) for part in (n // f, f)])


def _coarser(affine: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Return the affine of the reduced grid: a voxel lies at its block's center, not at the block's first voxel."""
    change = np.diag([*map(float, factors), 1.0])
    change[:3, 3] = [(f - 1) / 2 for f in factors]
    return affine @ change


def _as_int16(image: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return stored values, slope and intercept; whole numbers that fit are stored unchanged."""
    low, high = float(image.min()), float(image.max())
    limits = np.iinfo(np.int16)
    whole = np.issubdtype(image.dtype, np.integer) or bool((image == np.rint(image)).all())
    if whole and limits.min <= low and high <= limits.max:
        return image.astype(np.int16), 1.0, 0.0
    slope = (high - low) / (limits.max - limits.min) or 1.0
    offset = low - limits.min * slope
    return np.rint((image - offset) / slope).clip(limits.min, limits.max).astype(np.int16), slope, offset


def _factors(stored: np.ndarray, spacing_mm: tuple[float, float, float], limit_mb: float) -> tuple[int, int, int]:
    """Return block sizes that bring the compressed image below the limit, the finest axis first."""
    slabs = np.linspace(0, stored.shape[2] - 1, SAMPLED_SLABS).astype(int)
    sample = np.asarray(stored[..., np.unique(slabs)], order="F").tobytes("F")
    per_voxel = 2.0 * len(zlib.compress(sample, LEVEL)) / len(sample)
    factors = [1, 1, 1]
    while stored.size * per_voxel / np.prod(factors) > limit_mb * 1e6 and any(
        f < n for f, n in zip(factors, stored.shape)
    ):
        steps = [s * f if f < n else np.inf for s, f, n in zip(spacing_mm, factors, stored.shape)]
        factors[int(np.argmin(steps))] += 1
    return factors[0], factors[1], factors[2]


def _text(array: np.ndarray, affine: np.ndarray, slope: float = 1.0, offset: float = 0.0) -> str:
    header = mask_image(np.zeros(array.shape, np.uint8), affine).header
    header.set_data_dtype(array.dtype)
    header["vox_offset"], header["magic"] = header.sizeof_hdr + 4, b"n+1"
    header["scl_slope"], header["scl_inter"] = slope, offset
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    parts = [packer.compress(header.binaryblock + b"\0" * 4), packer.compress(array.tobytes("F")), packer.flush()]
    return base64.b64encode(b"".join(parts)).decode("ascii")


def _shape(array: np.ndarray) -> tuple[int, int, int]:
    return array.shape[0], array.shape[1], array.shape[2]
