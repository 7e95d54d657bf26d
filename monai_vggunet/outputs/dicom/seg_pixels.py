"""Pixels of a DICOM SEG: label maps as highdicom stacks them, and probabilities frame by frame."""

from __future__ import annotations

import numpy as np
from highdicom.seg import Segmentation
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import RLELossless

from monai_vggunet.errors import ConfigurationError, GridMismatchError
from monai_vggunet.outputs.case_mask import CaseMask
from monai_vggunet.outputs.dicom.seg_sources import plane_of

__all__ = ["MAX_FRACTIONAL", "fill_in", "label_pixels", "presence", "probabilities_of", "rle_plugin"]

MAX_FRACTIONAL = 255  # stands for the probability 1


def label_pixels(labels: np.ndarray, mask: CaseMask) -> np.ndarray:
    """Return labels as highdicom stacks them: `(slices, rows, columns)`, in the smallest unsigned type."""
    smallest = np.min_scalar_type(len(mask.classes.names) - 1)
    return np.ascontiguousarray(labels.transpose(2, 1, 0), dtype=smallest)


def probabilities_of(mask: CaseMask, shape: tuple[int, ...]) -> np.ndarray:
    """Return the probabilities `(segments, columns, rows, slices)`, the background left out."""
    found, n_classes = mask.probabilities, len(mask.classes.names)
    if found is None:
        raise ConfigurationError(
            "a DICOM SEG of type fractional needs probabilities, and none were computed: make the Segmenter with "
            "probabilities=True"
        )
    volume = found if found.ndim == 4 else found[..., None]
    if volume.shape != (n_classes, *shape):
        raise GridMismatchError(
            f"the probabilities have the shape {volume.shape}; expected {(n_classes, *shape)}: one volume on the "
            "source's grid per class, background first"
        )
    return volume[1:]


def presence(probabilities: np.ndarray) -> np.ndarray:
    """Return which slice of which segment holds anything, as a picture of one pixel each, `(slices, 1, 1, segments)`.

    From this, highdicom writes everything but the pixels. The probabilities themselves it would take only for all
    classes at once and as floats, and would sort them.
    """
    found = [[_quantized(part[..., k]).any() for part in probabilities] for k in range(probabilities.shape[-1])]
    return np.array(found, dtype=np.uint8)[:, None, None, :]


def fill_in(seg: Segmentation, probabilities: np.ndarray) -> None:
    """Put the probabilities in place of the pictures of one pixel."""
    seg.Columns, seg.Rows = probabilities.shape[1:3]
    shared, frames = seg.SharedFunctionalGroupsSequence[0], []
    encode = get_encoder(RLELossless).encode
    description = {
        "rows": seg.Rows,
        "columns": seg.Columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
    }
    for group in seg.PerFrameFunctionalGroupsSequence:
        owner = group if "SegmentIdentificationSequence" in group else shared  # shared where there is one segment
        segment = owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        plane = plane_of(group.DerivationImageSequence[0].SourceImageSequence[0])
        pixels = np.ascontiguousarray(_quantized(probabilities[segment - 1, :, :, plane]).T)
        frames.append(encode(pixels, encoding_plugin=rle_plugin(pixels), **description))
    seg.PixelData = encapsulate(frames)


def rle_plugin(pixels: np.ndarray) -> str:
    """Return which plug-in encodes a frame: GDCM is fast, but an odd number of pixels makes it end the process."""
    return "pydicom" if pixels.size % 2 else "gdcm"


def _quantized(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities as 0 to 255."""
    if probabilities.dtype == np.uint8:
        return probabilities
    return np.rint(np.clip(probabilities, 0, 1) * MAX_FRACTIONAL).astype(np.uint8)
