"""The cases whose slices an export is judged by: those of the training run, or of a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_vggunet.data import (
    Datalist,
    ModelSpec,
    annotated_cases,
    image_cases,
    load_datalist,
    mark_trained,
    numbered_as,
)
from monai_vggunet.data.cases import Case
from monai_vggunet.errors import DatasetError
from monai_vggunet.layout import DATALIST, spec_beside
from monai_vggunet.transforms import loading

__all__ = ["cases_to_check", "cases_to_judge"]


def cases_to_check(model_file: str | os.PathLike[str], dataset_dir: str | os.PathLike[str] | None = None) -> list[Case]:
    """Return cases whose slices a floating-point export is compared on; labels are not needed.

    Args:
        model_file: `model.pt`, beside which training left its `datalist.json`.
        dataset_dir: a data set, or images alone; None takes the training run's cases.

    Raises:
        DatasetError: neither is there.
        ModelMismatchError: there is no model either.
    """
    if dataset_dir is None:
        return _of_training(model_file).validation
    try:
        return annotated_cases(dataset_dir)[0]
    except DatasetError:
        return image_cases(dataset_dir)


def cases_to_judge(
    model_file: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str] | None = None,
    reader_options: Mapping[str, Any] | None = None,
) -> Datalist:
    """Return annotated cases to calibrate int8 on (`training`) and to judge it by (`validation`).

    Args:
        model_file, dataset_dir: see `cases_to_check`; a folder is split by patient as training splits it.
        reader_options: arguments of `DicomSeriesReader`.

    Returns:
        A list whose `trained` names the validation cases that the model was trained on.

    Raises:
        DatasetError: neither is there, an image has no label, or the folder names a class that the model lacks.
        ModelMismatchError: `model.json` is missing or damaged.
    """
    if dataset_dir is None:
        return _of_training(model_file)
    listed = numbered_as(load_datalist(dataset_dir), ModelSpec.read(spec_beside(model_file)).class_names)
    return mark_trained(listed, Path(model_file).with_name(DATALIST), loading(False, reader_options=reader_options))


def _of_training(model_file: str | os.PathLike[str]) -> Datalist:
    path = Path(model_file).with_name(DATALIST)
    if not path.is_file():
        ModelSpec.read(spec_beside(model_file))  # if there is no model at all, that is what to tell
        raise DatasetError(
            f"{path} is missing, so the cases that the model was trained on are unknown: pass --dataset_dir (in the "
            "bundle) or --data (of the command export) with similar cases"
        )
    return Datalist.read(path)
