"""Series of a DICOMweb server, whoever shows them: nothing it says becomes a path, and no one case stops the others."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cachetools import TTLCache, cached
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag

from monai_vggunet.annotation.server.refusals import BAD_CONTENT, NOT_FOUND, refuse
from monai_vggunet.annotation.server.studies_archive import UNREACHABLE, UNREACHABLE_ERRORS, word_of
from monai_vggunet.errors import PacsError
from monai_vggunet.pacs.listing import SERIES, STUDY
from monai_vggunet.uid_forms import is_uid

__all__ = ["ArchiveSeries"]

# Raised by headers as DICOMweb gives them (PS3.18 F.2) where something else stands in the place of what belongs there.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
REFERENCED_SERIES = "00081115"  # Referenced Series Sequence, PS3.3 A.51
KEPT_OF_HEADERS = ("SeriesInstanceUID", "StudyInstanceUID", "Modality", "PatientID")

_log = logging.getLogger(__name__)


class ArchiveSeries(DICOMWebDatastore):
    """The series of a DICOMweb server that its search filter finds, by SeriesInstanceUID."""

    _seen: list[str] = []  # noqa: RUF012 - replaced, never changed
    _seen_labeled: list[str] = []  # noqa: RUF012

    def list_images(self) -> list[str]:
        """Return the series' UIDs; while the server cannot be reached, those it had when it last could.

        A series with something else than a UID is left out, with a word in the log.
        """
        try:
            self._seen = self._series_lately()
        except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
            _log.warning("the DICOMweb server does not list its series: %s", word_of(error))
        return self._seen

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the UIDs of series that a DICOM SEG refers to; see `list_images`."""
        try:
            self._seen_labeled = [image for image, _ in self._labels_lately()]
        except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
            _log.warning("the DICOMweb server does not list its labels: %s", word_of(error))
        return self._seen_labeled

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse a client's upload: the studies are the DICOMweb server's, and what is kept of them here are copies.

        Raises:
            HTTPException: 422.
        """
        raise refuse(BAD_CONTENT, "the studies are a DICOMweb server's: store a new one there, as DICOM")

    # Asked anew no more often than MONAI Label asks.
    @cached(cache=TTLCache(maxsize=1, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def _series_lately(self) -> list[str]:
        return [series for _, series in self._found(self._search_filter)]

    @cached(cache=TTLCache(maxsize=1, ttl=settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY))
    def _labels_lately(self) -> list[tuple[str, str]]:
        return self._labels_of_archive()

    def _found(self, search_filter: dict[str, Any]) -> list[tuple[str, str]]:
        """Return the UIDs of study and series of what a search finds."""
        found, left_out = [], 0
        for entry in self._client.search_for_series(search_filters=search_filter):
            try:
                found.append(_uids(entry[STUDY]["Value"][0], entry[SERIES]["Value"][0]))
            except MALFORMED:
                left_out += 1
        if left_out:
            _log.warning("%d series of the DICOMweb server are left out: what names them is no UID", left_out)
        return found

    def _labels_of_archive(self) -> list[tuple[str, str]]:
        """Return the UID of each series that has a DICOM SEG, and the SEG's own; what cannot be read is left out."""
        known, labels = set(self.list_images()), []
        for study, label in self._found({"Modality": "SEG"}):
            try:
                header = self._client.retrieve_series_metadata(study, label)[0]
                image = header[REFERENCED_SERIES]["Value"][0][SERIES]["Value"][0]
                if image in known:
                    labels.append((image, label))
            except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
                _log.warning("the DICOM SEG %s is left out: %s", label, word_of(error))
        return labels

    def _download_labeled_data(self) -> None:
        """Fetch each series that has a DICOM SEG, and the SEG; one that cannot be had does not stop the others.

        MONAI Label calls it before a training, which then learns from what is here.
        """
        labels = self._labels_of_archive()
        self._forget(set(LocalDatastore.get_labeled_images(self)) - {image for image, _ in labels})
        for image, label in labels:
            try:
                self.get_image_uri(image)
                self.get_label_uri(label, DefaultLabelTag.FINAL, image)
            except HTTPException as error:
                _log.warning("series %s is left out of the labeled ones: %s", image, error.detail)

    def _forget(self, images: Iterable[str]) -> None:
        """Remove the copies of labels that the DICOMweb server no longer has."""
        for image in filter(is_uid, images):
            uri = LocalDatastore.get_label_uri(self, image, DefaultLabelTag.FINAL)
            if uri and os.path.exists(uri):
                _log.info("the DICOMweb server has no label for %s any more: the copy is removed", image)
                shutil.rmtree(Path(uri).parent / image, ignore_errors=True)
                os.unlink(uri)

    def _fetch(self, series_uid: str, folder: Path) -> None:
        """Fetch a series; its folder appears when it is whole.

        Raises:
            HTTPException: 404 for a series that the server does not have, 502 when it does not answer as it should.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder.parent))
        try:
            self._download(series_uid, arriving)
            os.replace(arriving, folder)
        except StopIteration:
            raise refuse(NOT_FOUND, f"the DICOMweb server has no series {series_uid}") from None
        except Exception as error:  # what no DICOM is fails in many ways
            if isinstance(error, OSError) and not isinstance(error, UNREACHABLE_ERRORS):  # a full disk is ours
                raise
            text = f"series {series_uid} could not be fetched from the DICOMweb server: {word_of(error)}"
            raise refuse(UNREACHABLE, text) from error
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _download(self, series_uid: str, folder: Path) -> None:
        """Write a series' instances; MONAI Label would name files by what the server calls them."""
        found = self._found({"SeriesInstanceUID": series_uid})
        study_uid = next(study for study, series in found if series == series_uid)
        for number, instance in enumerate(self._client.iter_series(study_uid, series_uid)):
            instance.save_as(folder / f"{number}.dcm")
        if not any(folder.iterdir()):
            raise PacsError("no instance came")

    def _dicom_info(self, series_id: str) -> dict[str, Any]:
        """Return what the index keeps of a series: of the patient a key alone, so that their studies stay together.

        Raises:
            HTTPException: 502.
        """
        try:
            info = super()._dicom_info(series_id)
        except (*UNREACHABLE_ERRORS, *MALFORMED) as error:
            text = f"the DICOMweb server does not tell of series {series_id}: {word_of(error)}"
            raise refuse(UNREACHABLE, text) from error
        info["PatientID"] = hashlib.sha256(str(info.get("PatientID")).encode()).hexdigest()[:16]
        return {key: info[key] for key in KEPT_OF_HEADERS}


def _uids(study: Any, series: Any) -> tuple[str, str]:
    if not (is_uid(study) and is_uid(series)):
        raise ValueError("no UID")
    return study, series
