"""Masks as DICOM Segmentation (PS3.3 A.51), by highdicom, on the source series' own planes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.dicom.patient_study import copy_patient_and_study, series_number_beside
from monai_vggunet.outputs.dicom.seg_padding import empty_planes, erase_marks, mark_empty_frames
from monai_vggunet.outputs.dicom.seg_pixels import (
    MAX_FRACTIONAL,
    fill_in,
    label_pixels,
    presence,
    probabilities_of,
    rle_plugin,
)
from monai_vggunet.outputs.dicom.seg_sources import refer_to, stand_ins
from monai_vggunet.outputs.dicom.segment_descriptions import segment_descriptions
from monai_vggunet.outputs.dicom.source_series import find_source_series

__all__ = ["SEG_TYPES", "dicom_seg", "require_seg_type", "write_dicom_seg"]

# Every other program reads uncompressed BINARY. A program that reads label maps reads RLE too, which makes them 40
# times smaller; probabilities are too large without it.
SEG_TYPES = {"binary": ExplicitVRLittleEndian, "labelmap": RLELossless, "fractional": RLELossless}

_log = logging.getLogger(__name__)


def dicom_seg(mask: CaseMask, seg_type: str = "binary") -> Segmentation:
    """Return a mask as a DICOM Segmentation, with SegmentNumber n for mask value n.

    Every class is declared, found or not. Frames without a voxel are left out. Because the object must have a frame, a
    wholly empty mask keeps one empty frame per segment (a label map one frame) at the first slice. A few other empty
    frames are kept where that saves a padding byte: see `seg_padding`.
    Each frame names the source image it lies on, and all source instances are referenced once. A source without
    FrameOfReferenceUID gives an object without one: its frames are placed by the images they refer to, as A.51 allows.

    Args:
        mask: with `probabilities` for the type `fractional`.
        seg_type: `binary`, `labelmap` or `fractional` (probabilities from 0 to 255).

    Raises:
        ConfigurationError: an unknown type, or no probabilities.
        DicomReadError: the source is no DICOM series, was interpolated, or is gone.
        GridMismatchError: the mask does not lie on the source's planes.
        LabelContentError: a class number without a name.
    """
    require_seg_type(seg_type)
    mask.classes.require_names_for(mask.labels)
    volume = mask.labels if mask.labels.ndim == 3 else mask.labels[..., None]
    source = find_source_series(mask.meta, volume.shape, mask.affine, "a DICOM SEG")
    probabilities = probabilities_of(mask, volume.shape) if seg_type == "fractional" else None
    pixels = label_pixels(volume, mask) if probabilities is None else presence(probabilities)
    n_segments, n_planes = len(mask.classes.names) - 1, len(source.planes)
    marks = mark_empty_frames(pixels, n_segments) if seg_type == "binary" else []
    if not pixels.any():
        n_planes = empty_planes(pixels[0].size, n_segments, n_planes) if seg_type == "binary" else 1
    by_pydicom = seg_type == "labelmap" and rle_plugin(pixels[0]) == "pydicom"
    seg = Segmentation(
        source_images=stand_ins(source, n_planes, pixels.shape[1:3]),
        pixel_array=pixels[:n_planes],
        segmentation_type=seg_type.upper(),
        segment_descriptions=segment_descriptions(mask.classes, mask.model_sha256),
        series_instance_uid=generate_uid(),
        series_number=series_number_beside(source.header),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="monai-vggunet",
        manufacturer_model_name="monai-vggunet",
        software_versions=__version__,
        device_serial_number=mask.model_sha256 or "unknown",
        max_fractional_value=MAX_FRACTIONAL,
        content_label="SEGMENTATION",
        content_description="Automatic segmentation, not for clinical use",
        series_description="Segmentation by monai-vggunet",
        transfer_syntax_uid=SEG_TYPES["binary"] if by_pydicom else SEG_TYPES[seg_type],
    )
    if probabilities is not None:
        fill_in(seg, probabilities)
    erase_marks(seg, marks)
    if by_pydicom:
        seg.compress(SEG_TYPES[seg_type], encoding_plugin="pydicom", generate_instance_uid=False)
    seg.ContentCreatorName = ""
    refer_to(source, seg)
    _be_of_same_patient(source.header, seg, mask.classes)
    return seg


def require_seg_type(seg_type: str) -> None:
    """Make sure that a type of DICOM SEG is one of `SEG_TYPES`.

    Raises:
        ConfigurationError: it is not.
    """
    if seg_type not in SEG_TYPES:
        raise ConfigurationError(
            f"the type of DICOM SEG (seg_type, --seg-type) is {seg_type!r}; expected one of {', '.join(SEG_TYPES)}"
        )


def write_dicom_seg(path: str | os.PathLike[str], mask: CaseMask, seg_type: str = "binary") -> None:
    """Write a mask as DICOM Segmentation, whole or not at all.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
        VGGUNetError: see `dicom_seg`.
    """
    seg = dicom_seg(mask, seg_type)
    with atomic_path(path) as temporary:
        seg.save_as(temporary, enforce_file_format=True)


def _be_of_same_patient(header: Dataset, seg: Segmentation, classes: Classes) -> None:
    meanings = [str(part) for code in classes.codes.values() for part in _texts(code)]
    copy_patient_and_study(header, seg, [*classes.names, *meanings])
    if not header.get("FrameOfReferenceUID"):
        _log.warning("the series has no FrameOfReferenceUID: its DICOM SEG has none either, its source images place it")
        for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
            if keyword in seg:
                delattr(seg, keyword)


def _texts(code: Mapping[str, Any]) -> list[str]:
    return [text for value in code.values() for text in (_texts(value) if isinstance(value, Mapping) else [str(value)])]
