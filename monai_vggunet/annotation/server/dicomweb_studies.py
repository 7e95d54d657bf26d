"""Studies of a DICOMweb server: fetched whole, kept as NIfTI on the exact grid, final labels back as DICOM SEG."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from cachetools import TTLCache, cached
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_upload_dcm
from monailabel.interfaces.datastore import DefaultLabelTag

from monai_vggunet.annotation.segimage import label_to_seg, seg_to_label
from monai_vggunet.annotation.server.archive import UNREACHABLE, UNREACHABLE_ERRORS, word_of
from monai_vggunet.annotation.server.datastore import CheckedLabels
from monai_vggunet.annotation.server.refusals import BAD_CONTENT, NOT_FOUND, refusals_as_answers, refuse
from monai_vggunet.data import ModelSpec
from monai_vggunet.data.case_loading import load_case
from monai_vggunet.errors import VGGUNetError
from monai_vggunet.layout import SEG, spec_beside
from monai_vggunet.outputs import Classes
from monai_vggunet.pacs.listing import SERIES, STUDY
from monai_vggunet.transforms import loading

__all__ = ["DicomWebStudies"]

UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")  # PS3.5 9.1; it becomes the name of a folder
# Of headers as DICOMweb gives them (PS3.18 F.2), whatever their server wrote in the place of what belongs there.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
REFERENCED_SERIES = "00081115"  # Referenced Series Sequence, PS3.3 C.7.6.16-1 and A.51
SCANNER = 1  # NIfTI-1 code of scanner-based coordinates

_log = logging.getLogger(__name__)


class DicomWebStudies(CheckedLabels, DICOMWebDatastore):
    """The series of a DICOMweb server that its search filter finds, by SeriesInstanceUID.

    The copies lie below `MONAI_LABEL_DICOMWEB_CACHE_PATH`. A series is converted by our own reader, so that a mask lies
    where the headers say, tilted gantries included.
    """

    _seen: list[str] = []  # noqa: RUF012 - replaced, never changed
    _seen_labeled: list[str] = []  # noqa: RUF012

    def list_images(self) -> list[str]:
        """Return the series' UIDs; while the server cannot be reached, those it had when it last could.

        What it calls by something that is no UID is left out with a word in the log.
        """
        try:
            named = DICOMWebDatastore.list_images(self)
        except UNREACHABLE_ERRORS as error:
            _log.warning("the DICOMweb server does not list its series: %s", word_of(error))
        except MALFORMED as error:
            _log.warning("the DICOMweb server's list of series cannot be read (%s)", type(error).__name__)
        else:
            self._seen = [uid for uid in named if UID.fullmatch(uid)]
            _tell_left_out("series", len(named) - len(self._seen))
        return self._seen

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the UIDs of series that a DICOM SEG refers to; see `list_images`."""
        try:
            self._seen_labeled = [image for image, _ in self._labels_lately()]
        except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
            _log.warning("the DICOMweb server does not list its labels: %s", word_of(error))
        return self._seen_labeled

    @cached(cache=TTLCache(maxsize=1, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def _labels_lately(self) -> list[tuple[str, str]]:
        """Return what `_labels_of_archive` found; asked anew no more often than MONAI Label does."""
        return self._labels_of_archive()

    def _labels_of_archive(self) -> list[tuple[str, str]]:
        """Return the UID of each series that has a DICOM SEG, and the SEG's own; what cannot be read is left out."""
        known, found, left_out = set(self.list_images()), [], 0
        for entry in self._client.search_for_series(search_filters={"Modality": "SEG"}):
            try:
                study, label = entry[STUDY]["Value"][0], entry[SERIES]["Value"][0]
                if not (UID.fullmatch(study) and UID.fullmatch(label)):
                    raise ValueError("no UID")
                header = self._client.retrieve_series_metadata(study, label)[0]
                image = header[REFERENCED_SERIES]["Value"][0][SERIES]["Value"][0]
                if image in known:  # and so it is a UID
                    found.append((image, label))
            except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
                _log.warning("a DICOM SEG of the DICOMweb server is left out: %s", word_of(error))
                left_out += 1
        _tell_left_out("DICOM SEG", left_out)
        return found

    def _download_labeled_data(self) -> None:
        """Fetch each series that has a DICOM SEG, and the SEG; one that cannot be had does not stop the others.

        MONAI Label calls it before a training, which then learns from what is here.
        """
        labels = self._labels_of_archive()
        for image in set(LocalDatastore.get_labeled_images(self)) - {image for image, _ in labels}:
            self._forget_label(image)
        for image, label in labels:
            try:
                self.get_image_uri(image)
                self.get_label_uri(label, DefaultLabelTag.FINAL, image)
            except HTTPException as error:
                _log.warning("series %s is left out of the labeled ones: %s", image, error.detail)

    def _forget_label(self, image: str) -> None:
        """Remove the copy of a label that the DICOMweb server no longer has."""
        uri = LocalDatastore.get_label_uri(self, image, DefaultLabelTag.FINAL)
        if UID.fullmatch(image) and uri and os.path.exists(uri):
            _log.info("the DICOMweb server has no label for %s any more: the copy is removed", image)
            shutil.rmtree(Path(uri).parent / image, ignore_errors=True)
            os.unlink(uri)

    def get_image_uri(self, image_id: str) -> str:
        """Return the study's NIfTI file, fetched and converted when it is asked for the first time.

        Raises:
            HTTPException: 404 for a series that the server does not have, 502 when it cannot be reached, 422 with the
                reason for one that cannot be read rightly.
        """
        if not UID.fullmatch(image_id):
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

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse a client's upload: the studies are the DICOMweb server's, and what is kept of them here are copies.

        Raises:
            HTTPException: 422.
        """
        raise refuse(BAD_CONTENT, "the studies are a DICOMweb server's: store a new one there, as DICOM")

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return a label's NIfTI file; a final one is fetched as DICOM SEG and drawn onto its series' own grid.

        One that does not fit the model's classes or the series is passed over with a word in the log.
        """
        if not (UID.fullmatch(label_id) and UID.fullmatch(image_id or label_id)):
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
        except (VGGUNetError, *MALFORMED, *UNREACHABLE_ERRORS) as error:
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

    def _fetch(self, series_uid: str, folder: Path) -> None:
        """Fetch a series; its folder appears when it is whole."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder.parent))
        try:
            self._download(series_uid, arriving)
            os.replace(arriving, folder)
        except StopIteration:
            raise refuse(NOT_FOUND, f"the DICOMweb server has no series {series_uid}") from None
        except UNREACHABLE_ERRORS as error:
            text = f"series {series_uid} could not be fetched from the DICOMweb server: {word_of(error)}"
            raise refuse(UNREACHABLE, text) from error
        except MALFORMED as error:
            text = f"series {series_uid}: the DICOMweb server's answer cannot be read ({type(error).__name__})"
            raise refuse(UNREACHABLE, text) from error
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _download(self, series_uid: str, folder: Path) -> None:
        """Write a series' instances; MONAI Label would name files by what the server calls them."""
        found = self._client.search_for_series(search_filters={"SeriesInstanceUID": series_uid})
        study_uid = next(entry[STUDY]["Value"][0] for entry in found if entry[SERIES]["Value"] == [series_uid])
        for number, instance in enumerate(self._client.iter_series(study_uid, series_uid)):
            instance.save_as(folder / f"{number}.dcm")

    def _dicom_info(self, series_id: str) -> dict[str, Any]:
        """Return what the index keeps of a series: of the patient a key alone, so that their studies stay together."""
        info = super()._dicom_info(series_id)
        info["PatientID"] = hashlib.sha256(str(info.get("PatientID")).encode()).hexdigest()[:16]
        return {key: info[key] for key in ("SeriesInstanceUID", "StudyInstanceUID", "Modality", "PatientID")}

    def _segments(self) -> dict[str, int]:
        assert self.model is not None  # set by the app
        names = ModelSpec.read(spec_beside(self.model)).class_names
        return {name: number for number, name in enumerate(names) if number > 0}


def _tell_left_out(what: str, number: int) -> None:
    if number:
        _log.warning("%d %s of the DICOMweb server left out: what is to call them is no UID, or missing", number, what)


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
