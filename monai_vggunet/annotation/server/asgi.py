"""MONAI Label's web application as it is served: behind the front, under the names the server has, with clean logs.

MONAI Label lets every page read, unless a variable names origins, with which it does not start; its own pages (OHIF)
are of the same origin, so that nothing is allowed to any other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fastapi.middleware.cors import CORSMiddleware
from monailabel.app import app as monai_label
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.utils import background_tasks
from starlette.middleware.trustedhost import TrustedHostMiddleware

from monai_vggunet.annotation.access import HOSTS_VARIABLE, MOST_UPLOAD_MB, UPLOAD_VARIABLE
from monai_vggunet.annotation.addresses import LOOPBACK_NAMES, is_web_url
from monai_vggunet.annotation.app_code import CODE, PACKAGE, TEMPORARY
from monai_vggunet.annotation.chosen_token import TOKEN_VARIABLE, chosen_token
from monai_vggunet.annotation.front.asked_names import AskedNames
from monai_vggunet.annotation.front.redaction import redact_logs
from monai_vggunet.annotation.front.room import UploadRoom
from monai_vggunet.annotation.front.values import Served
from monai_vggunet.annotation.server.front import Front
from monai_vggunet.annotation.server.own_folder import use_own_folder
from monai_vggunet.annotation.server.served_settings import require_served
from monai_vggunet.annotation.server.studies_archive import read_archive
from monai_vggunet.annotation.server.viewer import read_viewer
from monai_vggunet.errors import ConfigurationError

__all__ = ["app"]

MEGABYTE = 1 << 20
WAITING = "SUBMITTED"  # the status of a task that has not begun


def _served() -> Served:
    """Return what MONAI Label's app offers; clients say a class as it is listed there."""
    app = app_instance()
    labels = {str(label) for task in app._infers.values() for label in task.labels}
    waiting = sum(task["status"] == WAITING for tasks in background_tasks.values() for task in tasks)
    return Served(frozenset(app._trainers), frozenset(labels), is_web_url(settings.MONAI_LABEL_STUDIES), waiting)


try:
    require_served(settings)
    _token = chosen_token(None, None)
except ConfigurationError as _error:
    raise SystemExit(f"monai-vggunet: {_error}") from None
os.environ.pop(TOKEN_VARIABLE, "")  # trainings and scorings, which are processes, do not get to know it
redact_logs()
_code = Path(settings.MONAI_LABEL_APP_DIR).resolve() if settings.MONAI_LABEL_APP_DIR else None
_home = _code.parent if _code is not None and _code.name == CODE else None  # else MONAI Label's own command serves
_temporary = use_own_folder(_home / TEMPORARY if _home is not None else None)
if _code is not None:
    # An empty folder: MONAI Label takes a study's id for a file where the working directory has one of that name.
    os.chdir(_code / "lib")
# Before the first request, with which the middleware is put together.
monai_label.user_middleware[:] = [one for one in monai_label.user_middleware if one.cls is not CORSMiddleware]
_studies = settings.MONAI_LABEL_STUDIES
_kept = [settings.MONAI_LABEL_DICOMWEB_CACHE_PATH if is_web_url(_studies) else _studies]
_kept.append(settings.MONAI_LABEL_SESSION_PATH)
_words = {_temporary: "TEMPORARY", PACKAGE.parent: "PROGRAM", Path(sys.prefix): "PYTHON", Path.home(): "HOME"}
_words |= {place: word for place, word in ((_home or _code, "APP"), (Path(_studies), "STUDIES")) if place is not None}
_front = Front(
    monai_label,
    _token,
    int(os.environ.get(UPLOAD_VARIABLE) or MOST_UPLOAD_MB) * MEGABYTE,
    _served,
    read_archive,
    read_viewer,
    UploadRoom(_temporary, [Path(place) for place in _kept if place]),
    {place: word for place, word in _words.items() if place.is_absolute() and place != Path(place.anchor)},
)
_names = os.environ.get(HOSTS_VARIABLE, "").split(",")
_hosts = [name for name in _names if name] or list(LOOPBACK_NAMES)
app = AskedNames(TrustedHostMiddleware(_front, _hosts, www_redirect=False))
