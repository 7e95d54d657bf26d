"""The cases that a user's folders and files hold, each with a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable

from monai_vggunet.data import input_cases
from monai_vggunet.data.case_names import Case
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
        DatasetError: an input does not exist or holds nothing to segment.
    """
    protect_logs()
    keep_names(output_dir)
    return input_cases(inputs, output_dir)
