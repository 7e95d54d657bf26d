"""Segments drawn on a small series, and read back as a label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from annotation_phantoms import blobs, grid_of, series

from monai_vggunet.dicom.annotations.annotation import read_annotation
from monai_vggunet.dicom.annotations.label_grid import ImageGrid

MAP = {"Liver": 1, "Tumor": 2, "Spleen": 3}
LARGE = (3, 40, 36)  # JPEG 2000 encoders want 32 pixels and more; GDCM's RLE encoder wants an even number of columns


def on_axes(classes: np.ndarray, flipped: bool = False) -> np.ndarray:
    """Return (slices, rows, columns) as (columns, rows, slices); slices reversed when they were written backward."""
    array = classes.transpose(2, 1, 0)
    return array[..., ::-1] if flipped else array


def case(tmp_path: Path, **options: object) -> tuple[list[Path], ImageGrid, np.ndarray]:
    """Write a small series; return its files, its grid and classes to draw."""
    files = series(tmp_path / "ct", **options)  # type: ignore[arg-type]
    return files, grid_of(tmp_path / "ct"), blobs()


def drawn(tmp_path: Path, grid: ImageGrid, **options: object) -> np.ndarray:
    return read_annotation(tmp_path / "seg.dcm", grid, **{"class_map": MAP, **options}).array  # type: ignore[arg-type]
