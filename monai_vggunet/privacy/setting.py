"""Whether this process may show what can name a patient: asked here, and nowhere else."""

from __future__ import annotations

import os

from monai_vggunet.switch_words import YES

__all__ = ["VARIABLE", "is_yes", "show_phi", "shows_phi"]

# An environment variable, because helper processes, workers and the ranks of `torchrun` inherit it.
VARIABLE = "MONAI_VGGUNET_SHOW_PHI"


def shows_phi() -> bool:
    """Whether names of files and folders, and free text of headers, may stand in logs, records and reports."""
    return is_yes(os.environ.get(VARIABLE, ""))


def is_yes(word: object) -> bool:
    """Whether a value means yes; whatever cannot be read means no, because nothing is lost by hiding."""
    return str(word).strip().lower() in YES


def show_phi(shown: bool = True) -> None:
    """Let this process and those it starts show names, or hide them again (`--show-phi`, `--show_phi True`)."""
    if shown:
        os.environ[VARIABLE] = "1"
    else:
        os.environ.pop(VARIABLE, None)
