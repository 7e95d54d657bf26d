"""A digest of what an image shows, the same however and wherever it is stored."""

from __future__ import annotations

import hashlib

import numpy as np
from monai.data import MetaTensor
from nibabel.orientations import apply_orientation, io_orientation

__all__ = ["image_digest"]


def image_digest(image: MetaTensor) -> str:
    """Return the SHA-256 of an image's values, 64 hexadecimal digits.

    It does not change when an image is renamed, copied, compressed in another way, stored with another number type or
    with its axes in another order or direction, or converted from DICOM to NIfTI, as long as every value is kept.

    Args:
        image: `(C, X, Y, Z)` with an affine in mm, RAS.
    """
    values = image.as_tensor().cpu().numpy().astype(np.float32) + 0.0  # -0 becomes 0
    orientation = io_orientation(np.asarray(image.affine, dtype=np.float64))
    channels = [np.ascontiguousarray(apply_orientation(channel, orientation)) for channel in values]
    digest = hashlib.sha256(str((len(channels), *channels[0].shape)).encode())
    for channel in channels:
        digest.update(channel.data)
    return digest.hexdigest()
