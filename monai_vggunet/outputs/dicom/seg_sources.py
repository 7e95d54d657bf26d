"""Stand-ins that highdicom accepts for any source series, and the references to the true one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from monai_vggunet.outputs.dicom.source_series import SourceSeries

__all__ = ["plane_of", "refer_to", "stand_ins"]

# highdicom takes several source images only of single-frame classes, and only complete headers: every plane is given to
# it as a plain single-frame image (CT Image Storage), and the references are corrected afterwards.
_STAND_IN_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def stand_ins(source: SourceSeries, n_planes: int, size: tuple[int, ...]) -> list[Dataset]:
    """Return one plain single-frame header per plane, whatever the source is; it names no patient.

    highdicom logs whatever it finds odd about a patient's name; patient and study are copied afterwards, untouched.
    """
    step_mm = float(np.linalg.norm(_step(source)))
    images = []
    header = source.header
    for number, plane in enumerate(source.planes[:n_planes]):
        frame = plane.frame
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = _STAND_IN_CLASS, _stand_in_uid(number)
        image.StudyInstanceUID, image.SeriesInstanceUID = header.StudyInstanceUID, "1.2"
        image.FrameOfReferenceUID = header.get("FrameOfReferenceUID") or "1.2"
        image.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
        image.Modality = str(header.get("Modality") or "OT")
        image.Rows, image.Columns = size
        image.ImagePositionPatient = _decimal(cast(tuple, frame.position_lps_mm))
        # All planes are parallel within the reader's tolerance; highdicom wants them to be exactly parallel.
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


def plane_of(reference: Dataset) -> int:
    """Return the index of the slice that a reference to a stand-in means."""
    return int(reference.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1


def refer_to(source: SourceSeries, seg: Segmentation) -> None:
    """Replace the stand-ins by the true source: every instance once, and in each frame the frame's own."""
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
            plane = source.planes[plane_of(image)]
            image.ReferencedSOPClassUID = plane.instance.sop_class_uid
            image.ReferencedSOPInstanceUID = plane.instance.sop_instance_uid
            if plane.is_multi_frame:
                image.ReferencedFrameNumber = plane.frame.frame_index + 1


def _step(source: SourceSeries) -> np.ndarray:
    if len(source.planes) == 1:
        return np.array([0.0, 0.0, 1.0])
    return source.affine_lps(1)[:, 2] - source.affine_lps(0)[:, 2]


def _decimal(values: Sequence[float]) -> list[DSfloat]:
    """Return numbers as DS, which holds 16 characters (PS3.5 6.2)."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _stand_in_uid(number: int) -> str:
    return f"1.2.{number + 1}"
