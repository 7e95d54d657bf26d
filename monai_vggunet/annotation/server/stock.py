"""MONAI Label's own app `monaibundle` on stores that lose nothing and lead nowhere else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from monai_vggunet.annotation.addresses import is_web_url
from monai_vggunet.annotation.server.archive_series import ArchiveSeries
from monai_vggunet.annotation.server.datastore import KeptFolder
from monai_vggunet.annotation.server.refusals import NOT_FOUND, refusals_as_answers, refuse
from monai_vggunet.annotation.server.studies_archive import archive_client
from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.layout import LABEL_HISTORY
from monai_vggunet.uid_forms import is_uid

__all__ = ["StockFolder", "StockSeries", "guard"]


class StockFolder(KeptFolder):
    """A folder of studies; a label that is replaced goes to `label_history`."""

    def get_image_uri(self, image_id: str) -> str:
        """Return the study's file.

        Raises:
            HTTPException: 404 for a study that is not there, on which MONAI Label's app would fail.
        """
        uri = str(super().get_image_uri(image_id))
        if not uri:
            raise refuse(NOT_FOUND, f"there is no study {image_id!r}: it was renamed, deleted or never here")
        return uri

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label as it comes, once the former one is kept."""
        with refusals_as_answers():
            if label_tag == DefaultLabelTag.FINAL:
                self._keep(image_id)
            return str(super().save_label(image_id, label_filename, label_tag, label_info))

    def _keep(self, image_id: str) -> None:
        """Copy a study's label, if it has one, to those it had before."""
        former = self.get_label_uri(image_id, DefaultLabelTag.FINAL)
        if former and os.path.isfile(former):
            folder = Path(self._datastore_path) / LABEL_HISTORY / image_id
            folder.mkdir(parents=True, exist_ok=True)
            numbers = [int(kept.name[:4]) for kept in folder.iterdir() if kept.name[:4].isdecimal()]
            number = 1 + max(numbers, default=0)  # of the last, not how many: somebody may have removed one
            with atomic_path(folder / f"{number:04d}{self._to_id(former)[1]}") as temporary:
                shutil.copy(former, temporary)


class StockSeries(ArchiveSeries):
    """The series of a DICOMweb server, as MONAI Label converts them."""

    def get_image_uri(self, image_id: str) -> str:
        """Return the study's NIfTI file; its series is fetched here.

        Raises:
            HTTPException: 404 for a series that the server does not have, 502 when it does not answer as it should.
        """
        if not is_uid(image_id):
            raise refuse(NOT_FOUND, "there is no such series: it is called by its SeriesInstanceUID")
        folder = Path(self._datastore.image_path()) / image_id
        with refusals_as_answers():
            if not folder.is_dir():
                self._fetch(image_id, folder)
            return str(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return a label's NIfTI file; a DICOM SEG is fetched here."""
        if not (is_uid(label_id) and is_uid(image_id or label_id)):
            return ""
        folder = Path(self._datastore.label_path(label_tag)) / label_id
        with refusals_as_answers():
            if label_tag == DefaultLabelTag.FINAL and image_id and not folder.is_dir():
                self._fetch(label_id, folder)
            return str(super().get_label_uri(label_id, label_tag, image_id))


def guard(app: type[MONAILabelApp]) -> None:
    """Give an app of MONAI Label's these stores.

    Args:
        app: its class, which is changed: MONAI Label looks for a class derived from its own directly.
    """

    def init_datastore(self: MONAILabelApp) -> Datastore:
        if is_web_url(self.studies):
            self.studies = self.studies.rstrip("/")
            cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or None
            to_nifti = settings.MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI
            search_filter = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
            return StockSeries(archive_client(), search_filter, cache, convert_to_nifti=to_nifti)
        extensions, reload = settings.MONAI_LABEL_DATASTORE_FILE_EXT, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD
        read_only = settings.MONAI_LABEL_DATASTORE_READ_ONLY
        return StockFolder(self.studies, extensions=extensions, auto_reload=reload, read_only=read_only)

    app.init_datastore = init_datastore
