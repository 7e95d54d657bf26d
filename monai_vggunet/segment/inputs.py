"""The cases that a user's folders and files hold, each with a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable

from monai_vggunet.data import image_cases
from monai_vggunet.data.case_names import Case, distinct_cases
from monai_vggunet.errors import DatasetError
from monai_vggunet.layout import require_sources_kept
from monai_vggunet.privacy import keep_names, protect_logs

__all__ = ["cases_to_segment"]


def cases_to_segment(inputs: Iterable[str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> list[Case]:
    """Return every case found under the inputs, for `segment_cases`.

    This needs no model, so that wrong folders are reported before one is loaded.

    Args:
        inputs: DICOM folders, folders of studies, NIfTI files.
        output_dir: where results will go.

    Raises:
        ConfigurationError: results would be written over or beside what they are made from.
        DatasetError: an input does not exist or holds nothing to segment, or two cases have the same name.
    """
    protect_logs()
    keep_names(output_dir)
    cases = _unique(case for path in inputs for case in image_cases(path, output_dir))
    require_sources_kept({case["case"]: case["image"] for case in cases}, output_dir)
    return cases


def _unique(cases: Iterable[Case]) -> list[Case]:
    """Refuse inputs of the same name; rename those whose names only some file systems consider the same."""
    found: dict[str, Case] = {}
    for case in cases:
        if case["case"] in found:
            raise DatasetError(
                f"two inputs are called {case['case']!r}, so their results would overwrite each other: rename one, or "
                "segment them into different folders (--output-dir)"
            )
        found[case["case"]] = case
    return distinct_cases(found.values())
