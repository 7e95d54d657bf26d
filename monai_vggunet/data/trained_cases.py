"""Which cases a model was trained on: by their files, by what their images show, and by their patients."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_vggunet.data.case_loading import load_case
from monai_vggunet.data.case_names import Case
from monai_vggunet.data.datalist import Datalist
from monai_vggunet.data.image_digest import image_digest
from monai_vggunet.layout import DATALIST

__all__ = ["image_files", "record_cases", "trained_among", "trained_note", "with_contents"]

_log = logging.getLogger(__name__)


def record_cases(
    datalist: Datalist, contents: Mapping[str, str] | None = None, start_from: str | os.PathLike[str] | None = None
) -> Datalist:
    """Return a run's list of cases with all that tells later which cases its model was trained on.

    Args:
        datalist: of the run.
        contents: case -> `image_digest`, as the fingerprint has it; None where no fingerprint is made.
        start_from: `model.pt` of the trained model that the run begins with: its cases count too.

    Returns:
        A list with `content` in each case and with what the model was trained on before; `trained` holds the
        validation cases that are training cases, show the same image, or are of a patient who is trained on. The log
        says how many there are.
    """
    training, validation = (
        [case | ({"content": contents[case["case"]]} if contents else {}) for case in part]
        for part in (datalist.training, datalist.validation)
    )
    earlier, is_complete = _trained_before(start_from)
    trained = trained_among(validation, [*training, *earlier])
    if trained:
        note = trained_note(len(trained), len(validation))
        _log.warning("%s: the figures below say how well it fits, not how well it will do on others", note)
    own = {(case["image"], case.get("content")) for case in training}
    also = [case for case in earlier if (case["image"], case.get("content")) not in own]
    return replace(
        datalist,
        training=training,
        validation=validation,
        also_trained=also,
        all_trained_known=is_complete,
        trained=trained,
    )


def trained_among(cases: Sequence[Case], known: Iterable[Case]) -> list[str]:
    """Return the names of the cases that a model was trained on, or whose patient it was trained on.

    A case is a known one if its file is the same, or if its image shows the same. Then all cases of its patient count.
    A patient's key that is only the case's own name says nothing, because cases of different data sets share names;
    it counts where the known case has no digest to compare.

    Args:
        cases: with `content` where images are to be compared.
        known: the cases that the model was trained on.
    """
    known = list(known)
    files = image_files(known)
    contents = {case["content"] for case in known if "content" in case}
    same = [case for case in cases if os.path.realpath(case["image"]) in files or case.get("content") in contents]
    patients = {_patient(case) for case in known}
    stated = {_patient(case) for case in known if _states_patient(case)} | {_patient(case) for case in same}
    undigested = {case["case"] for case in known if "content" not in case}
    names = {case["case"] for case in same}
    return [
        case["case"]
        for case in cases
        if case["case"] in names
        or case["case"] in undigested
        or _patient(case) in stated
        or (_states_patient(case) and _patient(case) in patients)
    ]


def image_files(cases: Iterable[Case]) -> set[str]:
    """Return the paths of the cases' images, without links in them."""
    return {os.path.realpath(case["image"]) for case in cases}


def trained_note(n_trained: int, n_cases: int, all_known: bool = True) -> str:
    """Return in words what is to be said beside figures: how many of the judged cases the model is trained on.

    Args:
        n_trained: judged cases that it is trained on, or on whose patients.
        n_cases: judged cases.
        all_known: whether it is known on which cases the model is trained.

    Returns:
        Nothing where all cases are unseen.
    """
    if n_trained == n_cases > 0:
        return f"the model is trained on all of the judged cases ({n_cases}), or on their patients"
    if n_trained:
        return f"the model is trained on {n_trained} of the {n_cases} judged cases, or on their patients"
    return "" if all_known else "it is not known which of the judged cases the model is trained on"


def with_contents(cases: Sequence[Case], load: Callable[[Any], Any]) -> list[Case]:
    """Return cases with the digest of what their images show; those that have one are not read again.

    Args:
        cases: with `image`.
        load: from a case to its `image`, such as `loading(with_label=False)`.

    Raises:
        VGGUNetError: a case cannot be read; of the kind that fits.
    """
    unread = [case for case in cases if "content" not in case]
    bar = tqdm(unread, desc="comparing with the training cases", unit="case", disable=None if len(unread) > 1 else True)
    digests = {case["case"]: image_digest(load_case(load, case)["image"]) for case in bar}
    return [case | {"content": digests[case["case"]]} if case["case"] in digests else case for case in cases]


def _patient(case: Case) -> str:
    return case.get("patient") or case["case"]


def _states_patient(case: Case) -> bool:
    """Whether a case's patient is known: by a DICOM header, or as `dataset.json` has it."""
    return _patient(case) != case["case"]


def _trained_before(start_from: str | os.PathLike[str] | None) -> tuple[list[Case], bool]:
    """Return the cases that a model was trained on, from the list beside it, and whether these are all of them."""
    if start_from is None:
        return [], True
    beside = Path(start_from).with_name(DATALIST)
    former = Datalist.read(beside, "move it away") if beside.is_file() else Datalist([], [], all_trained_known=False)
    if not former.all_trained_known:
        told = "%s does not list all cases that %s was trained on: the validation cases may be among them"
        _log.warning(told, beside, start_from)
    return [*former.training, *former.also_trained], former.all_trained_known
