"""The part of `pydicom_seg` that MONAI Label 0.8.5 uses, on highdicom: pydicom-seg itself needs pydicom 2.

MONAI Label reads a stored DICOM SEG with it; DICOM SEG is written by the program `itkimage2segimage` instead.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import highdicom
import numpy as np
from pydicom.dataset import Dataset

__all__ = ["MultiClassReader"]


class MultiClassReader:
    """Read a DICOM SEG whose segments do not overlap as one label map."""

    def read(self, dataset: Dataset) -> Any:
        """Return an object whose `image` is a `SimpleITK.Image` of segment numbers, slices between frames empty.

        Raises:
            RuntimeError: segments overlap (highdicom's), so one label map cannot hold them.
        """
        segmentation = highdicom.seg.Segmentation.from_dataset(dataset)
        volume = segmentation.get_volume(combine_segments=True, rescale_fractional=False)
        return SimpleNamespace(image=volume.astype(np.uint8).to_simpleitk())
