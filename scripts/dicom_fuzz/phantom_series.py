"""The series that the fuzzer mutates: small, in memory, one of each kind that the reader claims to read."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import dcmread
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

__all__ = ["SECRETS", "Files", "all_series"]

# The bytes of each file by its name; a name without bytes (None) becomes a FIFO: a careless reader waits forever.
Files = dict[str, bytes | None]

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"

# These identify the patient and must not occur in any message.
SECRETS = ("Secret^Person", "MRN-0815-SECRET", "19010203")

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.8660254038, 0.5, 0.0, -0.4330127019, 0.75, -0.5)
ORIGIN_MM = np.array([-30.0, 12.5, -100.0])
STEP_MM = 2.5
SLICES = 6
# Wavelet codecs halve an image five times: it needs some size.
CODEC_SHAPE = (SLICES, 40, 36)


def all_series() -> dict[str, Files]:
    """Return every kind of series; always the same bytes."""
    rng = np.random.default_rng(815)
    signed = rng.integers(-900, 1500, (SLICES, 12, 10)).astype(np.int16)
    wide = rng.integers(-900, 1500, (SLICES, 14, 9)).astype(np.int16)
    garbage = (rng.integers(0, 4096, (SLICES, 9, 12)) | 0xA000).astype(np.uint16)
    smooth = np.add.outer(np.arange(SLICES) * 100, np.add.outer(np.arange(40) * 7, np.arange(36) * 3))
    large = (smooth + rng.integers(0, 20, CODEC_SHAPE)).astype(np.uint16)
    slopes = [{"RescaleSlope": f"{0.5 + k / 8}", "RescaleIntercept": f"{k}"} for k in range(SLICES)]
    series = {
        "ct": _series(signed, RescaleIntercept="-1024"),
        "tilted ct": _series(signed, shear_mm=0.7, RescaleIntercept="-1024"),
        "sagittal, not square": _series(wide, orientation=SAGITTAL, PixelSpacing=["0.9", "0.5"]),
        "oblique, 12 bits and garbage": _series(garbage, orientation=OBLIQUE, BitsStored=12, HighBit=11),
        "mr, rescale per slice": _series(signed, orientation=CORONAL, per_slice=slopes, Modality="MR"),
        "enhanced mr": {"enhanced": _enhanced(signed)},
        "implicit": _series(signed, ImplicitVRLittleEndian),
        "big endian": _series(signed, ExplicitVRBigEndian),
        "deflated": _series(signed, DeflatedExplicitVRLittleEndian),
        "rle": _series(large, RLELossless),
        "jpeg-ls": _series(large, JPEGLSLossless),
        "jpeg 2000": _series(large, JPEG2000Lossless),
        "jpeg lossless": _series(large, through_gdcm=True),
    }
    return {name: files for name, files in series.items() if files}


def _series(
    stored: np.ndarray,
    transfer_syntax: str = ExplicitVRLittleEndian,
    orientation: tuple[float, ...] = AXIAL,
    shear_mm: float = 0.0,
    per_slice: list[dict[str, Any]] | None = None,
    through_gdcm: bool = False,
    **attributes: Any,
) -> Files:
    """Write a classic series; file names count down, so that their order is not that of the slices."""
    rows_direction = np.array(orientation[3:])
    normal = np.cross(orientation[:3], orientation[3:])
    files: Files = {}
    for k, plane in enumerate(stored):
        dataset = _header(transfer_syntax, f"1.2.3.4.5.6.{k + 1}", CT_CLASS)
        _describe_pixels(dataset, plane)
        position = ORIGIN_MM + k * STEP_MM * normal + k * shear_mm * rows_direction
        own = {
            "ImagePositionPatient": [f"{value:.8g}" for value in position],
            "ImageOrientationPatient": [f"{value:.10g}" for value in orientation],
            "PixelSpacing": ["0.8", "0.6"],
            "SliceThickness": str(STEP_MM),
            "InstanceNumber": str(100 - k),
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
            **attributes,
            **(per_slice[k] if per_slice else {}),
        }
        for keyword, value in own.items():
            setattr(dataset, keyword, value)
        _store(dataset, plane)
        if through_gdcm and not _as_jpeg_lossless(dataset):
            return {}
        files[f"IM_{99 - k:02d}"] = _bytes_of(dataset)
    return files


def _enhanced(stored: np.ndarray) -> bytes:
    """Write a multi-frame object whose geometry and rescale stand in its functional groups."""
    dataset = _header(ExplicitVRLittleEndian, "1.2.3.4.5.6.1", ENHANCED_MR_CLASS)
    _describe_pixels(dataset, stored[0])
    dataset.Modality, dataset.NumberOfFrames = "MR", len(stored)
    shared = Dataset()
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=list(AXIAL))
    shared.PixelMeasuresSequence = _one(PixelSpacing=[0.8, 0.6], SliceThickness=STEP_MM)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for k in range(len(stored)):
        group = Dataset()
        position = (ORIGIN_MM + np.array([0, 0, k * STEP_MM])).tolist()
        group.PlanePositionSequence = _one(ImagePositionPatient=position)
        group.PixelValueTransformationSequence = _one(RescaleSlope=1 + k / 4, RescaleIntercept=k)
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    _delimit(dataset)
    dataset.PixelData = stored.tobytes()
    return _bytes_of(dataset)


def _delimit(dataset: Dataset) -> None:
    """Let all sequences end in delimiters instead of beginning with a length, so that they can be edited in place."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _delimit(item)


def _one(**attributes: Any) -> Sequence:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _header(transfer_syntax: str, uid: str, sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRETS
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4.5", "1.2.3.4.5.6"
    dataset.FrameOfReferenceUID = "1.2.3.4.5.7"
    dataset.Modality, dataset.SeriesDescription = "CT", "phantom"
    return dataset


def _describe_pixels(dataset: Dataset, plane: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(plane.dtype.kind == "i")


def _store(dataset: Dataset, plane: np.ndarray) -> None:
    """Put the plane into the data set in its transfer syntax."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax, plane, generate_instance_uid=False)
    elif syntax == JPEG2000Lossless:  # pydicom's encoder needs one more package than the codec itself
        dataset.PixelData = encapsulate([encode_array(plane)])
        dataset["PixelData"].VR = "OB"
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = plane.astype(plane.dtype.newbyteorder(order)).tobytes()


def _as_jpeg_lossless(dataset: FileDataset) -> bool:
    """Let gdcm, which works on files, encode the pixels of an uncompressed data set; False without gdcm."""
    try:
        import gdcm
    except ImportError:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder, "source")), str(Path(folder, "target"))
        dataset.save_as(source, enforce_file_format=True)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(source)
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        if not reader.Read():
            raise RuntimeError("gdcm cannot read the phantom")
        change.SetInput(reader.GetImage())
        writer.SetFileName(target)
        writer.SetFile(reader.GetFile())
        if not change.Change():
            raise RuntimeError("gdcm cannot encode the phantom as JPEG lossless")
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError("gdcm cannot write the phantom")
        dataset.PixelData = dcmread(target).PixelData
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return True


def _bytes_of(dataset: FileDataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
