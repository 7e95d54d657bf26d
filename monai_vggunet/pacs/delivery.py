"""Delivers each result to its targets, and records the outcome in the case's record."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import dcmread

from monai_vggunet.case_record import CaseRecord
from monai_vggunet.errors import PacsError
from monai_vggunet.layout import RECORD, SEG
from monai_vggunet.pacs.store import StoreTarget

__all__ = ["Delivery"]

STORED, FAILED = "stored", "failed"

_log = logging.getLogger(__name__)


class Delivery:
    """Stores a case's `seg.dcm`; `record.json` says under `stored` where, how, when, and whether it worked.

    A result that is stored already is not sent again: a resumed run sends what an earlier one could not.

    Args:
        targets: where results go.
    """

    def __init__(self, targets: Sequence[StoreTarget]) -> None:
        self.targets = list(targets)

    def __call__(self, folder: str | os.PathLike[str]) -> str:
        """Store a finished case's result; a failure changes nothing but the record.

        Args:
            folder: of the case.

        Returns:
            What went wrong, with the file that still has to be stored; empty when all is stored.

        Raises:
            DatasetError: there is no record, or it is damaged.
            OutputWriteError: the record cannot be written.
        """
        path, record_file = Path(folder) / SEG, Path(folder) / RECORD
        if not path.is_file():
            return f"nothing to store: {path} is missing; segment the study again with dicom_seg among the outputs"
        record = CaseRecord.read(record_file)
        uid = str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        before: dict[str, Mapping[str, Any]] = {
            entry["to"]: entry for entry in record.stored if entry["sop_instance_uid"] == uid
        }
        for target in self.targets:
            if before.get(target.name, {}).get("status") != STORED:
                before[target.name] = _attempt(target, path, uid)
        replace(record, stored=tuple(before.values())).write(record_file)
        failures = [before[target.name] for target in self.targets if before[target.name]["status"] == FAILED]
        return "; ".join(f"not stored: {entry['error']}. The result lies in {path}" for entry in failures)


def _attempt(target: StoreTarget, path: Path, uid: str) -> dict[str, Any]:
    entry = {"to": target.name, "how": target.how, "sop_instance_uid": uid, "status": STORED}
    try:
        target.store(path)
    except PacsError as error:
        entry |= {"status": FAILED, "error": str(error)}
    else:
        _log.info("stored by %s: %s", target.how, target.name)
    return {**entry, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
