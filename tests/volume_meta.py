"""What the metadata of a volume say of its slices and of what was found, as tests compare them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_vggunet.dicom import unpack_findings
from monai_vggunet.dicom.referenced_series import ReferencedSeries


def instance_uids(meta: Mapping[str, Any]) -> list[str]:
    """The SOPInstanceUIDs of a series' slices, in their order."""
    series = ReferencedSeries.from_meta(meta)
    assert series is not None
    return series.instance_uids


def finding_texts(meta: Mapping[str, Any]) -> list[str]:
    return [finding.text for finding in unpack_findings(meta["findings"])]
