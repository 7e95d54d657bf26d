"""From a case, an archive or the studies of a PACS to masks and records."""

from __future__ import annotations

from monai_vggunet.segment.archive import CaseResult, failed_case, gather_results, segment, segment_cases
from monai_vggunet.segment.inputs import cases_to_segment
from monai_vggunet.segment.segmenter import Segmentation, Segmenter

__all__ = [
    "CaseResult",
    "Segmentation",
    "Segmenter",
    "cases_to_segment",
    "failed_case",
    "gather_results",
    "segment",
    "segment_cases",
]
