"""The cases that a model is evaluated on, and which of them it was trained on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_vggunet.data.case_names import Case
from monai_vggunet.data.datalist import Datalist, annotated_datalist
from monai_vggunet.data.model_classes import numbered_as
from monai_vggunet.data.trained_cases import image_files, trained_among, with_contents
from monai_vggunet.errors import DatasetError, VGGUNetError
from monai_vggunet.layout import require_output_apart, require_sources_kept
from monai_vggunet.names import counted

__all__ = ["evaluation_datalist", "mark_trained"]

SPLITS = ("unseen", "all")

_log = logging.getLogger(__name__)


def evaluation_datalist(
    dataset_dir: str | os.PathLike[str],
    split_file: str | os.PathLike[str],
    split: str = "unseen",
    output_dir: str | os.PathLike[str] | None = None,
    load: Callable[[Any], Any] | None = None,
    class_names: Sequence[str] = (),
) -> Datalist:
    """Choose the cases a model is evaluated on.

    Args:
        dataset_dir: the folder of annotated cases.
        split_file: `datalist.json` of the training run; it may be missing when the model came from elsewhere.
        split: `unseen` leaves out the cases that the model was trained on, and all others of their patients; `all`
            takes them too.
        output_dir: where masks will go, if any are saved.
        load: see `mark_trained`.
        class_names: of the model, background first: labels are read with its class numbers, see `numbered_as`. Without
            them, they are read with those of the data set.

    Returns:
        A list whose `training` and `validation` both hold the cases; `trained` names those that are not unseen.

    Raises:
        DatasetError: no case is left, an unknown `split`, or a class that the model does not have.
        ConfigurationError: masks would lie among the images or labels, or replace them.
    """
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}; expected {' or '.join(map(repr, SPLITS))}")
    listed = annotated_datalist(dataset_dir)
    if output_dir is not None:
        require_output_apart([dataset_dir], output_dir)
        for key in ("image", "label"):
            require_sources_kept({case["case"]: case[key] for case in listed.validation}, output_dir)
    if class_names:
        listed = numbered_as(listed, class_names)
    listed = mark_trained(listed, split_file, load)
    n_trained = len(listed.trained)
    is_told = n_trained or listed.all_trained_known
    of_it = f"{n_trained} that the model was trained on, or on whose patients" if is_told else ""
    if split == "all":
        _log.info("evaluating %s%s", counted(len(listed.validation), "case"), of_it and f", among them {of_it}")
        return listed
    chosen = [case for case in listed.validation if case["case"] not in listed.trained]
    if not chosen:
        raise DatasetError(
            f"the model was trained on all {len(listed.validation)} cases of {dataset_dir}, or on other images of "
            "their patients: pass --dataset_dir with others, or --split all to see how well it fits them"
        )
    _log.info("evaluating %s%s", counted(len(chosen), "case"), of_it and f", without the {of_it}")
    return replace(listed, training=chosen, validation=chosen, trained=[])


def mark_trained(
    listed: Datalist, split_file: str | os.PathLike[str], load: Callable[[Any], Any] | None = None
) -> Datalist:
    """Return a list of cases whose `trained` names the validation cases that a model was trained on.

    Args:
        listed: the cases.
        split_file: `datalist.json` of the training run; where it is missing, nothing is known.
        load: from a case to its `image`, such as `loading(with_label=False)`: cases are recognized by what their images
            show, wherever and however they are stored. Without it, they are recognized by path and patient alone. Those
            that are recognized by their path are not read.
    """
    if not Path(split_file).is_file():
        _log.warning("it is not known which cases the model was trained on: there is no %s", split_file)
        return replace(listed, all_trained_known=False, trained=[])
    training_run = Datalist.read(split_file, "move it away")
    known = [*training_run.training, *training_run.also_trained]
    cases = listed.validation
    if load is not None:
        known = [_digested(case, load) for case in known]
        files = image_files(known)
        others = [case for case in cases if os.path.realpath(case["image"]) not in files]  # no other needs to be read
        digested = {case["case"]: case for case in with_contents(others, load)}
        cases = [digested.get(case["case"], case) for case in cases]
    trained = trained_among(cases, known)
    if not training_run.all_trained_known:
        _log.warning("%s does not list all cases that the model was trained on", split_file)
    names = {case["case"] for case in known}
    alike = [case["case"] for case in cases if case["case"] in names and case["case"] not in trained]
    if alike:
        told = "%s the name of a case that the model was trained on, but another image: such a case counts as unseen"
        _log.warning(told, "1 case has" if len(alike) == 1 else f"{len(alike)} cases each have")
    return replace(listed, validation=cases, all_trained_known=training_run.all_trained_known, trained=trained)


def _digested(case: Case, load: Callable[[Any], Any]) -> Case:
    """Return a case of a list from before there were digests with its digest, if its image is still there."""
    with suppress(VGGUNetError):
        return with_contents([case], load)[0]
    return case
