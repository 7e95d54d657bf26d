"""The way from and to a PACS: studies by QIDO-RS and WADO-RS, results by STOW-RS or C-STORE.

Needs the extra `dicomweb`; importing this package does not.
"""

from __future__ import annotations

from monai_vggunet.pacs.delivery import Delivery
from monai_vggunet.pacs.dicomweb import DicomWebServer
from monai_vggunet.pacs.download import download_study
from monai_vggunet.pacs.retries import Retries, Stopped
from monai_vggunet.pacs.session import PacsSession, open_pacs
from monai_vggunet.pacs.store import StorageScp, StoreTarget, StowServer
from monai_vggunet.pacs.targets import store_targets

__all__ = [
    "Delivery",
    "DicomWebServer",
    "PacsSession",
    "Retries",
    "StorageScp",
    "Stopped",
    "StoreTarget",
    "StowServer",
    "download_study",
    "open_pacs",
    "store_targets",
]
