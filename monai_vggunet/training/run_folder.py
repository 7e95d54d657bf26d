"""The files of a training run in its folder: what they are called, how a former run's are read and set aside."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from monai_vggunet.atomic_files import atomic_path, remove_stale_temporaries
from monai_vggunet.errors import ModelMismatchError, OutputWriteError
from monai_vggunet.layout import DATALIST, HISTORY, LAST, MODEL, MODEL_SPEC, PREVIOUS
from monai_vggunet.networks.weight_files import require_uncompressed

__all__ = ["read_last", "remove_leftovers", "set_aside"]

COMPANIONS = (DATALIST, HISTORY)  # of the same run, written beside them by others

_log = logging.getLogger(__name__)


def read_last(folder: Path) -> dict[str, Any] | None:
    """Return what `last.pt` holds; None when it is missing, or not a checkpoint of ours.

    Raises:
        ModelMismatchError: it cannot be read.
    """
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        require_uncompressed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelMismatchError(
            f"{path} cannot be read ({type(error).__name__}): remove it, or start again with --resume False"
        ) from error
    return state if isinstance(state, dict) and "run_id" in state else None


def set_aside(folder: Path, keep_model: bool = False) -> None:
    """Move the files of a former run to `previous/`, so that nothing is lost and nothing is mixed up.

    Args:
        folder: of the run.
        keep_model: copy the model instead, for a run that begins with it, and that begins with it again if it is
            interrupted.

    Raises:
        OutputWriteError: they cannot be moved.
    """
    old = [folder / name for name in (MODEL, MODEL_SPEC, LAST) if (folder / name).exists()]
    if not old:
        return
    old += [folder / name for name in COMPANIONS if (folder / name).exists()]
    keep = folder / PREVIOUS / time.strftime("%Y%m%d-%H%M%S")
    try:
        while keep.exists():  # within the same second
            keep = keep.with_name(f"{keep.name}-2")
        keep.mkdir(parents=True)
        for path in old:
            if keep_model and path.name in (MODEL, MODEL_SPEC):
                with atomic_path(keep / path.name) as temporary:
                    shutil.copyfile(path, temporary)
            else:
                os.replace(path, keep / path.name)
    except OSError as error:
        raise OutputWriteError(f"cannot move the former run's files to {keep}: {error}") from error
    _log.info("files of another run were moved to %s", keep)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed run left of its own files."""
    for name in (MODEL, MODEL_SPEC, LAST, *COMPANIONS):
        remove_stale_temporaries(folder / name)
