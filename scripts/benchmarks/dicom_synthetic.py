"""A synthetic CT series as a scanner would export it: some hundred header elements per slice, noisy 12-bit pixels."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

__all__ = ["SYNTAXES", "ct_slice", "write_series"]

SYNTAXES = {
    "uncompressed": ExplicitVRLittleEndian,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG-LS": JPEGLSLossless,
    "RLE": RLELossless,
}
INTERCEPT_HU = -1024
NOISE_HU = 12.0
SPACING_MM = (0.8, 0.8, 1.0)
UID_ROOT = "1.2.826.0.1.3680043.8.498.2026."
PRIVATE_ELEMENTS = 24
PLAIN_ELEMENTS = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
    "StudyDate": "20200101",
    "SeriesDate": "20200101",
    "AcquisitionDate": "20200101",
    "ContentDate": "20200101",
    "StudyTime": "101112.131",
    "SeriesTime": "101213.141",
    "AcquisitionTime": "101314.151",
    "ContentTime": "101415.161",
    "AccessionNumber": "0",
    "Modality": "CT",
    "Manufacturer": "synthetic",
    "InstitutionName": "none",
    "ReferringPhysicianName": "",
    "StationName": "CT0",
    "StudyDescription": "synthetic study",
    "SeriesDescription": "synthetic CT 1.0",
    "ManufacturerModelName": "phantom",
    "PatientName": "Synthetic^CT",
    "PatientID": "SYNTHETIC",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "PatientAge": "050Y",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL",
    "SliceThickness": "1.0",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": "1.0",
    "ProtocolName": "chest",
    "ReconstructionDiameter": "409.6",
    "DistanceSourceToDetector": "1040",
    "DistanceSourceToPatient": "570",
    "GantryDetectorTilt": "0",
    "TableHeight": "150",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "XRayTubeCurrent": "200",
    "Exposure": "100",
    "FilterType": "0",
    "GeneratorPower": "24",
    "FocalSpots": "1.2",
    "ConvolutionKernel": "B30f",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "SeriesNumber": "2",
    "AcquisitionNumber": "1",
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelSpacing": list(SPACING_MM[:2]),
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "SmallestImagePixelValue": 0,
    "LargestImagePixelValue": 4095,
    "WindowCenter": ["40", "-600"],
    "WindowWidth": ["400", "1200"],
    "RescaleIntercept": str(INTERCEPT_HU),
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"],
    "RequestingPhysician": "",
    "RequestedProcedureDescription": "CT chest",
    "PerformedProcedureStepStartDate": "20200101",
    "PerformedProcedureStepStartTime": "101112.131",
    "PerformedProcedureStepID": "1",
}


def write_series(folder: Path, syntax: str, slices: int, size: int, workers: int = 2) -> None:
    """Write a series of `slices` files of `size` x `size` pixels; `syntax` is a key of `SYNTAXES`."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(_write_slice, folder, syntax, size), range(slices), chunksize=16))


def ct_slice(index: int, size: int) -> np.ndarray:
    """Return stored values (size, size), uint16: a body with organs in air, and noise as after a smooth kernel."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.full((size, size), -1000.0)
    image[(x / 0.85) ** 2 + (y / 0.6) ** 2 < 1] = 40.0
    for side in (-0.4, 0.4):
        image[((x - side) / 0.28) ** 2 + (y / 0.4) ** 2 < 1] = -850.0
    image[(x / 0.1) ** 2 + ((y - 0.42) / 0.1) ** 2 < 1] = 600.0
    image += 30 * np.sin(9 * x + index / 20) * np.cos(7 * y)
    noise = rng.normal(0, 2 * NOISE_HU, image.shape)
    noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 4
    return np.clip(np.rint(image + noise) - INTERCEPT_HU, 0, 4095).astype(np.uint16)


def _write_slice(folder: Path, syntax: str, size: int, index: int) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAXES[syntax]
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{UID_ROOT}3.{index + 1}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in PLAIN_ELEMENTS.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{UID_ROOT}1", f"{UID_ROOT}2"
    dataset.FrameOfReferenceUID = f"{UID_ROOT}4"
    dataset.InstanceNumber = str(index + 1)
    dataset.ImagePositionPatient = [-204.8, -204.8, index * SPACING_MM[2]]
    dataset.SliceLocation = str(index * SPACING_MM[2])
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, f"{UID_ROOT}5"
    dataset.ReferencedImageSequence = Sequence([reference])
    private = dataset.private_block(0x0019, "SYNTHETIC HEADER", create=True)
    for element in range(PRIVATE_ELEMENTS):
        private.add_new(element, "LO", f"private value {element}")
    stored = ct_slice(index, size)
    dataset.Rows, dataset.Columns = stored.shape
    if syntax == "uncompressed":
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"
    elif syntax == "JPEG 2000":
        dataset.PixelData = encapsulate([encode_array(stored, bits_stored=12)])
        dataset["PixelData"].VR = "OB"
    else:
        dataset.compress(SYNTAXES[syntax], stored, generate_instance_uid=False)
    # Names as an archive gives them: they say nothing about the order.
    dataset.save_as(folder / f"{(index * 7919) % 1000003:08d}", enforce_file_format=True)
