"""MONAI Label's web application as it is served: behind the front, under the names the server has, with clean logs.

MONAI Label lets every page read, unless a variable names origins, with which it does not start; its own pages (OHIF)
are of the same origin, so that nothing is allowed to any other.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi.middleware.cors import CORSMiddleware
from monailabel.app import app as monai_label
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from starlette.middleware.trustedhost import TrustedHostMiddleware

from monai_vggunet.annotation.access import (
    HOSTS_VARIABLE,
    LOOPBACK_NAMES,
    MOST_UPLOAD_MB,
    TOKEN_VARIABLE,
    UPLOAD_VARIABLE,
)
from monai_vggunet.annotation.front.asked_names import AskedNames
from monai_vggunet.annotation.front.redaction import redact_logs
from monai_vggunet.annotation.front.values import Served
from monai_vggunet.annotation.server.archive import read_archive
from monai_vggunet.annotation.server.front import Front
from monai_vggunet.annotation.server.own_folder import use_own_folder

__all__ = ["app"]

MEGABYTE = 1 << 20
UNSERVED = {
    "MONAI_LABEL_AUTH_ENABLE": "MONAI Label 0.8.5 checks no token that its own login gives: set a token of this server",
    "MONAI_LABEL_API_STR": "the front knows MONAI Label's routes without a prefix: let a proxy add it",
}


def _served() -> Served:
    """Return what MONAI Label's app offers; clients say a class as it is listed there."""
    app = app_instance()
    labels = {str(label) for task in app._infers.values() for label in task.labels}
    archive = settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://"))
    return Served(frozenset(app._trainers), frozenset(labels), archive)


for _name, _reason in UNSERVED.items():
    if getattr(settings, _name):
        raise SystemExit(f"monai-vggunet: {_name} is set, with which the server does not start: {_reason}")
redact_logs()
use_own_folder()
if settings.MONAI_LABEL_APP_DIR:
    # An empty folder: MONAI Label takes a study's id for a file where the working directory has one of that name.
    os.chdir(Path(settings.MONAI_LABEL_APP_DIR) / "lib")
# Before the first request, with which the middleware is put together.
monai_label.user_middleware[:] = [one for one in monai_label.user_middleware if one.cls is not CORSMiddleware]
_front = Front(
    monai_label,
    os.environ.pop(TOKEN_VARIABLE, ""),  # trainings and scorings, which are processes, do not get to know it
    int(os.environ.get(UPLOAD_VARIABLE) or MOST_UPLOAD_MB) * MEGABYTE,
    _served,
    read_archive,
)
_names = os.environ.get(HOSTS_VARIABLE, "").split(",")
_hosts = [name for name in _names if name] or list(LOOPBACK_NAMES)
app = AskedNames(TrustedHostMiddleware(_front, _hosts, www_redirect=False))
