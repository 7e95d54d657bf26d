"""The cases that a user's folders and files hold, each with a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable

from monai_vggunet.data import image_cases
from monai_vggunet.data.case_names import Case, distinct_cases, named_by_folders, require_listed_once
from monai_vggunet.layout import require_sources_kept
from monai_vggunet.privacy import keep_names, know_cases, protect_logs

__all__ = ["cases_to_segment"]


def cases_to_segment(inputs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> list[Case]:
    """Return every case found under the inputs, for `segment_cases`.

    This needs no model, so that wrong folders are reported before one is loaded.

    Args:
        inputs: DICOM folders, folders of studies, NIfTI files.
        output_dir: where results will go.

    Raises:
        ConfigurationError: results would be written over or beside what they are made from.
        DatasetError: an input does not exist or holds nothing to segment, or is given twice.
    """
    protect_logs()
    keep_names(output_dir)
    cases = named_by_folders([case for path in inputs for case in image_cases(path, output_dir)])
    require_listed_once(cases)
    cases = distinct_cases(cases)
    know_cases(case["case"] for case in cases)
    require_sources_kept({case["case"]: case["image"] for case in cases}, output_dir)
    return cases
