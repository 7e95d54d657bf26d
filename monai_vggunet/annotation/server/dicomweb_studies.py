"""Studies of a DICOMweb server: fetched whole, kept as NIfTI on the exact grid, final labels back as DICOM SEG."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_upload_dcm
from monailabel.interfaces.datastore import DefaultLabelTag

from monai_vggunet.annotation.segimage import label_to_seg, seg_to_label
from monai_vggunet.annotation.server.archive_series import ArchiveSeries
from monai_vggunet.annotation.server.datastore import CheckedLabels
from monai_vggunet.annotation.server.refusals import refusals_as_answers, refuse
from monai_vggunet.annotation.server.studies_archive import UNREACHABLE, UNREACHABLE_ERRORS, word_of
from monai_vggunet.data import ModelSpec
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.layout import SEG, spec_beside
from monai_vggunet.outputs import Classes
from monai_vggunet.transforms import loading
from monai_vggunet.uid_forms import is_uid

__all__ = ["DicomWebStudies"]

SCANNER = 1  # NIfTI-1 code of scanner-based coordinates

_log = logging.getLogger(__name__)


class DicomWebStudies(CheckedLabels, ArchiveSeries):
    """The series of a DICOMweb server that its search filter finds, by SeriesInstanceUID.

    The copies lie below `MONAI_LABEL_DICOMWEB_CACHE_PATH`. A series is converted by our own reader, so that a mask lies
    where the headers say, tilted gantries included.
    """

    def get_image_uri(self, image_id: str) -> str:
        """Return the study's NIfTI file, fetched and converted when it is asked for the first time.

        Raises:
            HTTPException: 404 for a series that the server does not have, 502 when it cannot be reached, 422 with the
                reason for one that cannot be read rightly.
        """
        if not is_uid(image_id):
            return ""
        folder = Path(self._datastore.image_path()) / image_id
        file = folder.with_name(f"{image_id}.nii.gz")
        with refusals_as_answers():
            if not folder.is_dir():
                self._fetch(image_id, folder)
            if not file.is_file():
                with tempfile.TemporaryDirectory() as temporary:
                    converted = Path(temporary) / file.name
                    _convert(folder, converted)
                    LocalDatastore.add_image(self, image_id, str(converted), self._dicom_info(image_id))
        return str(file.resolve())

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return a label's NIfTI file; a final one is fetched as DICOM SEG and drawn onto its series' own grid.

        One that does not fit the model's classes or the series is passed over with a word in the log.
        """
        if not (is_uid(label_id) and is_uid(image_id or label_id)):
            return ""
        if label_tag != DefaultLabelTag.FINAL or not image_id:
            return LocalDatastore.get_label_uri(self, label_id, label_tag)
        folder = Path(self._datastore.label_path(label_tag))
        file = folder / f"{image_id}.nii.gz"
        if file.is_file() and self._datastore.label(image_id, label_tag):
            return str(file.resolve())
        try:
            if not (folder / label_id).is_dir():
                self._fetch(label_id, folder / label_id)
            source = next((folder / label_id).iterdir())
            with tempfile.TemporaryDirectory() as temporary:
                drawn = Path(temporary) / file.name
                seg_to_label(source, Path(self._datastore.image_path()) / image_id, drawn, self._segments())
                LocalDatastore.save_label(self, image_id, str(drawn), label_tag, self._dicom_info(label_id))
        except HTTPException as error:
            _log.warning("the DICOM SEG %s is passed over: %s", label_id, error.detail)
            return ""
        except Exception as error:  # whatever is wrong with it, the others go on
            _log.warning("the DICOM SEG %s is passed over: %s", label_id, word_of(error))
            return ""
        return str(file.resolve())

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Store a label; a final one is first sent to the DICOMweb server as DICOM SEG.

        Raises:
            HTTPException: 422 for one that does not fit its study, 404 for an unknown study, 502 when the server does
                not take it; what was sent is kept as a version of the label all the same.
        """
        with self._checked(image_id, label_filename, label_tag, label_info) as (file, info):
            if label_tag == DefaultLabelTag.FINAL:
                info |= {"SeriesInstanceUID": self._send(image_id, file), "Modality": "SEG"}
            return LocalDatastore.save_label(self, image_id, file, label_tag, info)

    def _send(self, image_id: str, file: str) -> str:
        """Send a label as DICOM SEG; return its SeriesInstanceUID."""
        assert self.model is not None  # set by the app
        spec = ModelSpec.read(spec_beside(self.model))
        classes = Classes(spec.class_names, spec.class_codes)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / SEG
            series = Path(self._datastore.image_path()) / image_id
            label_to_seg(file, series, target, classes, spec.weights_sha256)
            try:
                uid = dicom_web_upload_dcm(str(target), self._client)
            except UNREACHABLE_ERRORS as error:
                raise refuse(UNREACHABLE, f"the DICOMweb server did not take the label: {word_of(error)}") from error
        if not uid:
            raise refuse(UNREACHABLE, "the DICOMweb server did not say that it stored the label")
        return str(uid)

    def _segments(self) -> dict[str, int]:
        assert self.model is not None  # set by the app
        names = ModelSpec.read(spec_beside(self.model)).class_names
        return {name: number for number, name in enumerate(names) if number > 0}


def _convert(series: Path, target: Path) -> None:
    """Write a DICOM series as NIfTI with its exact affine; whole numbers stay whole numbers."""
    image = load_case(loading(with_label=False), {"image": str(series)})["image"]
    array, affine = image.as_tensor()[0].numpy(), np.asarray(image.affine, dtype=np.float64)
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    whole = np.array_equal(array, np.rint(array)) and low <= array.min() and array.max() <= high
    nifti = nib.Nifti1Image(array.astype(np.int16 if whole else np.float32), None)
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.set_sform(affine, code=SCANNER)  # a qform cannot hold the shear of a tilted gantry
    nib.save(nifti, target)
