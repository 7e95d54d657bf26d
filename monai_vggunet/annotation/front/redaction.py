"""What no log of the server holds: user and password of a URL, and the names of studies.

A study's id is the name of its file, which clients list and ask for. It stays in what they are sent; logs show its
pseudonym (see `privacy`), and nothing of a study that is not here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from monai_vggunet.annotation.front.asked_names import without_asked_names
from monai_vggunet.privacy import hide_names, know_tree, protect_logs

__all__ = ["hide_studies", "redact_logs", "redacted"]

USER_INFO = re.compile(r"(?<=://)[^\s/?#]+@")  # RFC 3986 3.2.1
HIDDEN = "***@"


def redacted(text: str) -> str:
    """Return a text without the user and the password of any URL in it."""
    return USER_INFO.sub(HIDDEN, text)


def redact_logs() -> None:
    """Let every record that is logged in this process from now on, tracebacks included, pass through `redacted`."""
    protect_logs(also=redacted)


def hide_studies(app: str | os.PathLike[str], studies: str) -> None:
    """Let logs and tracebacks of this process show pseudonyms of studies; `names.json` in the app's folder lists them.

    Args:
        app: the app's folder.
        studies: folder of studies, or the URL of a DICOMweb server, whose studies are called by UIDs.
    """
    hide_names(app)
    redact_logs()
    protect_logs(also=without_asked_names)
    if Path(studies).is_dir():
        know_tree(studies)
