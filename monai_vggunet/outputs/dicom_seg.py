"""Masks as DICOM Segmentation (PS3.3 A.51), by highdicom, on the source series' own planes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from highdicom.seg import Segmentation
from monai.data import ImageWriter, MetaTensor
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid
from pydicom.valuerep import DSfloat

from monai_vggunet._version import __version__
from monai_vggunet.errors import ConfigurationError, GridMismatchError
from monai_vggunet.files import atomic_path
from monai_vggunet.outputs.case_mask import CaseMask, Classes
from monai_vggunet.outputs.patient_study import copy_patient_and_study, series_number_beside
from monai_vggunet.outputs.segment_descriptions import segment_descriptions
from monai_vggunet.outputs.source_series import SourceSeries, find_source_series

__all__ = ["SEG_TYPES", "DicomSegWriter", "dicom_seg", "write_dicom_seg"]

# BINARY uncompressed is what every peer reads. Who knows label maps knows RLE, which makes them 40 times smaller, and
# probabilities are too large without it.
SEG_TYPES = {"binary": ExplicitVRLittleEndian, "labelmap": RLELossless, "fractional": RLELossless}
MAX_FRACTIONAL = 255  # stands for the probability 1

# highdicom takes several source images only of single-frame classes; the planes of a multi-frame file are given to it
# under this one (CT Image Storage), and the references are set right afterwards.
_STAND_IN_CLASS = "1.2.840.10008.5.1.4.1.1.2"

_log = logging.getLogger(__name__)


def dicom_seg(mask: CaseMask, seg_type: str = "binary") -> Segmentation:
    """Return a mask as a DICOM Segmentation, with SegmentNumber n for mask value n.

    Every class is declared, found or not. Frames without a voxel are left out; of a mask that is empty as a whole, one
    empty frame per segment (of a label map one) is kept, at the first slice, because the object must have a frame.
    Each frame names the source image it lies on, and all source instances are referenced once. A source without
    FrameOfReferenceUID gives an object without one: its frames are placed by the images they refer to, as A.51 allows.

    Args:
        mask: with `probabilities` for the type `fractional`.
        seg_type: `binary`, `labelmap` or `fractional` (probabilities from 0 to 255).

    Raises:
        ConfigurationError: another type, or no probabilities.
        DicomReadError: the source is no DICOM series, was interpolated, or is gone.
        GridMismatchError: the mask does not lie on the source's planes.
        LabelContentError: a class number without a name.
    """
    if seg_type not in SEG_TYPES:
        raise ConfigurationError(f"the type of DICOM SEG is {seg_type!r}; expected one of {', '.join(SEG_TYPES)}")
    mask.classes.require_names_for(mask.labels)
    volume = mask.labels if mask.labels.ndim == 3 else mask.labels[..., None]
    source = find_source_series(mask.meta, volume.shape, mask.affine, "a DICOM SEG")
    probabilities = _probabilities(mask, volume.shape) if seg_type == "fractional" else None
    pixels = _label_pixels(volume, mask) if probabilities is None else _presence(probabilities)
    planes = range(len(source.planes)) if pixels.any() else range(1)
    by_pydicom = seg_type == "labelmap" and _rle_plugin(pixels[0]) == "pydicom"
    seg = Segmentation(
        source_images=_stand_ins(source, planes, pixels.shape[1:3]),
        pixel_array=pixels[: len(planes)],
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
        _fill_in(seg, probabilities)
    elif by_pydicom:
        seg.compress(SEG_TYPES[seg_type], encoding_plugin="pydicom", generate_instance_uid=False)
    _refer_to(source, seg)
    _be_of_same_patient(source.header, seg, mask.classes)
    return seg


def write_dicom_seg(path: str | os.PathLike[str], mask: CaseMask, seg_type: str = "binary") -> None:
    """Write a mask as DICOM Segmentation, whole or not at all.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
        VGGUNetError: see `dicom_seg`.
    """
    seg = dicom_seg(mask, seg_type)
    with atomic_path(path) as temporary:
        seg.save_as(temporary, enforce_file_format=True)


class DicomSegWriter(ImageWriter):
    """MONAI image writer for DICOM SEG: `SaveImaged(output_ext=".dcm", writer=...)` after `Invertd`.

    The images must have been read by `DicomSeriesReader`. In a bundle's config the writer is given as
    `{"_target_": "monai_vggunet.outputs.DicomSegWriter", "_mode_": "callable", "class_names": ...}`. `import
    monai_vggunet.outputs` registers it for `.dcm`, so that it is found without being named; classes are then called
    by their numbers.

    Args:
        class_names: background first; None calls classes by their numbers.
        class_codes: see `resolve_class_codes`.
        seg_type: see `dicom_seg`; `fractional` takes `(K, X, Y, Z)` probabilities, background first, float 0..1 or
            uint8 0..255.
        model_sha256: hash of the model's weights.
        kwargs: of `SaveImaged` for other writers (`output_dtype`, `scale`); without effect.

    Raises:
        ConfigurationError: an unknown type.
    """

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        class_codes: Mapping[str, Any] | None = None,
        seg_type: str = "binary",
        model_sha256: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if seg_type not in SEG_TYPES:
            raise ConfigurationError(f"the type of DICOM SEG is {seg_type!r}; expected one of {', '.join(SEG_TYPES)}")
        self.class_names, self.class_codes = class_names, dict(class_codes or {})
        self.seg_type, self.model_sha256 = seg_type, model_sha256
        self.meta: Mapping[str, Any] = {}

    def set_data_array(self, data_array: Any, channel_dim: int | None = 0, *args: Any, **kwargs: Any) -> None:
        """Take a label map with one channel, or probabilities with a channel per class.

        Raises:
            GridMismatchError: another number of channels.
        """
        array = np.asarray(data_array.as_tensor() if isinstance(data_array, MetaTensor) else data_array)
        channels = 1 if channel_dim is None else array.shape[channel_dim]
        if (self.seg_type == "fractional") != (channels > 1):
            raise GridMismatchError(
                f"a DICOM SEG of type {self.seg_type} is made of "
                f"{'one channel of probabilities per class' if self.seg_type == 'fractional' else 'labels, one channel'}"
                f", got shape {array.shape}"
            )
        self.data_obj = array if channels > 1 or channel_dim is None else np.squeeze(array, axis=channel_dim)

    def set_metadata(self, meta_dict: Mapping | None, *args: Any, **kwargs: Any) -> None:
        """Take the source's metadata as `DicomSeriesReader` gave it; nothing is ever resampled here."""
        self.meta = meta_dict or {}

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **kwargs: Any) -> None:
        """Write the file under its final name once it is whole."""
        array, affine = np.asarray(self.data_obj), np.asarray(self.meta.get("affine", np.eye(4)), dtype=np.float64)
        fractional = self.seg_type == "fractional"
        labels = array.argmax(0) if fractional else array
        classes = Classes.of_labels(labels) if self.class_names is None else Classes(self.class_names, self.class_codes)
        mask = CaseMask(labels, affine, self.meta, classes, self.model_sha256, array if fractional else None)
        write_dicom_seg(filename, mask, self.seg_type)
        if verbose:
            _log.info("written: %s", filename)


def _label_pixels(labels: np.ndarray, mask: CaseMask) -> np.ndarray:
    """Return labels as highdicom stacks them: `(slices, rows, columns)`, in the smallest unsigned type."""
    smallest = np.min_scalar_type(len(mask.classes.names) - 1)
    return np.ascontiguousarray(labels.transpose(2, 1, 0), dtype=smallest)


def _probabilities(mask: CaseMask, shape: tuple[int, ...]) -> np.ndarray:
    """Return the probabilities `(segments, columns, rows, slices)`, the background left out."""
    found, n_classes = mask.probabilities, len(mask.classes.names)
    if found is None:
        raise ConfigurationError(
            "a DICOM SEG of type fractional needs probabilities, and none were computed: ask the Segmenter for them "
            "(probabilities=True)"
        )
    volume = found if found.ndim == 4 else found[..., None]
    if volume.shape != (n_classes, *shape):
        raise GridMismatchError(
            f"the probabilities have the shape {volume.shape}; expected {(n_classes, *shape)}: one volume on the "
            "source's grid per class, background first"
        )
    return volume[1:]


def _quantized(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities as 0 to 255."""
    if probabilities.dtype == np.uint8:
        return probabilities
    return np.rint(np.clip(probabilities, 0, 1) * MAX_FRACTIONAL).astype(np.uint8)


def _presence(probabilities: np.ndarray) -> np.ndarray:
    """Return which slice of which segment holds anything, as a picture of one pixel each, `(slices, 1, 1, segments)`.

    From this highdicom writes all but the pixels. Given the probabilities themselves it would want them as floats of all
    classes at once, and sort them all.
    """
    found = [[_quantized(part[..., k]).any() for part in probabilities] for k in range(probabilities.shape[-1])]
    return np.array(found, dtype=np.uint8)[:, None, None, :]


def _fill_in(seg: Segmentation, probabilities: np.ndarray) -> None:
    """Put the probabilities in place of the pictures of one pixel."""
    seg.Columns, seg.Rows = probabilities.shape[1:3]
    shared, frames = seg.SharedFunctionalGroupsSequence[0], []
    encode = get_encoder(SEG_TYPES["fractional"]).encode
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
        plane = _plane_of(group.DerivationImageSequence[0].SourceImageSequence[0])
        pixels = np.ascontiguousarray(_quantized(probabilities[segment - 1, :, :, plane]).T)
        frames.append(encode(pixels, encoding_plugin=_rle_plugin(pixels), **description))
    seg.PixelData = encapsulate(frames)


def _rle_plugin(pixels: np.ndarray) -> str:
    """Return pydicom's plug-in that encodes a picture: GDCM is fast, but ends the process at an odd number of pixels."""
    return "pydicom" if pixels.size % 2 else "gdcm"


def _stand_ins(source: SourceSeries, planes: Sequence[int], size: tuple[int, ...]) -> list[Dataset]:
    """Return one plain single-frame header per plane, whatever the source is; it names no patient.

    highdicom logs what it finds odd about a patient's name; patient and study are copied afterwards, untouched.
    """
    step_mm = float(np.linalg.norm(_step(source)))
    images = []
    for number in planes:
        frame, header = source.planes[number].frame, source.header
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = _STAND_IN_CLASS, _stand_in_uid(number)
        image.StudyInstanceUID, image.SeriesInstanceUID = header.StudyInstanceUID, "1.2"
        image.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or "1.2"
        image.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
        image.Modality = str(header.get("Modality") or "OT")
        image.Rows, image.Columns = size
        image.ImagePositionPatient = _decimal(cast(tuple, frame.position_lps_mm))
        # All planes are parallel within what the reader tolerates; highdicom wants them exactly so.
        image.ImageOrientationPatient = _decimal(cast(tuple, source.planes[0].frame.orientation_lps))
        image.PixelSpacing = _decimal(cast(tuple, source.planes[0].frame.pixel_spacing_mm))
        image.SliceThickness = _decimal([frame.slice_thickness_mm or step_mm])[0]
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if header.get(keyword):
                image[keyword] = header[keyword]
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(image, keyword, "")
        image.StudyDate = image.StudyTime = None
        images.append(image)
    return images


def _step(source: SourceSeries) -> np.ndarray:
    if len(source.planes) == 1:
        return np.array([0.0, 0.0, 1.0])
    return source.affine_lps(1)[:, 2] - source.affine_lps(0)[:, 2]


def _decimal(values: Sequence[float]) -> list[DSfloat]:
    """Return numbers as DS, which holds 16 characters (PS3.5 6.2)."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _stand_in_uid(number: int) -> str:
    return f"1.2.{number + 1}"


def _plane_of(reference: Dataset) -> int:
    return int(reference.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1


def _refer_to(source: SourceSeries, seg: Segmentation) -> None:
    """Put the true source in place of the stand-ins: every instance once, and in each frame its own."""
    references = []
    for instance in source.instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID = instance.sop_class_uid
        reference.ReferencedSOPInstanceUID = instance.sop_instance_uid
        references.append(reference)
    series = Dataset()
    series.SeriesInstanceUID = source.planes[0].instance.series_uid
    series.ReferencedInstanceSequence = references
    seg.ReferencedSeriesSequence, seg.SourceImageSequence = [series], references
    done: set[int] = set()  # frames of several segments share one item
    for group in seg.PerFrameFunctionalGroupsSequence:
        for image in group.DerivationImageSequence[0].SourceImageSequence:
            if id(image) in done:
                continue
            done.add(id(image))
            plane = source.planes[_plane_of(image)]
            image.ReferencedSOPClassUID = plane.instance.sop_class_uid
            image.ReferencedSOPInstanceUID = plane.instance.sop_instance_uid
            if plane.is_multi_frame:
                image.ReferencedFrameNumber = plane.frame.frame_index + 1


def _be_of_same_patient(header: Dataset, seg: Segmentation, classes: Classes) -> None:
    meanings = [str(part) for code in classes.codes.values() for part in _texts(code)]
    copy_patient_and_study(header, seg, [*classes.names, *meanings])
    if not header.get("FrameOfReferenceUID"):
        _log.warning("the series has no FrameOfReferenceUID, so its DICOM SEG names none: placed by its source images")
        for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
            if keyword in seg:
                delattr(seg, keyword)


def _texts(code: Mapping[str, Any]) -> list[str]:
    return [text for value in code.values() for text in (_texts(value) if isinstance(value, Mapping) else [str(value)])]
