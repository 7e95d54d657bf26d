"""Every route of MONAI Label: the ones that are served, with all they may carry, and the closed ones, with the reason.

What is in neither table does not exist for a client. `tests/annotation/test_routes.py` goes through the routes of the
installed MONAI Label and fails where one is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monai_vggunet.annotation.front.parameters import (
    ACTIVE_LEARNING,
    BATCH,
    CLIENT,
    CLIENT_ALONE,
    FLAG,
    FRAMES,
    IMAGES,
    INFER,
    LABEL,
    NAME,
    NEW_STUDY,
    OUTPUT,
    RESULT,
    SCORING,
    SESSION,
    STUDY,
    TAG,
    TRAIN,
    TRAIN_BY_MODEL,
    UID,
    VIEWER_FILE,
)
from monai_vggunet.annotation.front.values import Kind, ObjectKind

__all__ = ["CLOSED", "SERVED", "Closed", "Form", "Route"]


@dataclass(frozen=True)
class Form:
    """A form's parts (RFC 7578).

    Attributes:
        texts: kinds of the parts without a file, by name; of an `ObjectKind` the part holds its JSON.
        file: name of the part with a volume; empty where none may come.
        instead_of_file: names of the query's parameters that may come in its place; where there are none, it must come.
    """

    texts: Mapping[str, Kind] = field(default_factory=dict)
    file: str = ""
    instead_of_file: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: template; each part in braces is one segment of the path, or several where `parts` says so.
        purpose: what it is for, for the documentation.
        parts: kinds of the path's parts in braces, by name.
        query: kinds of the query's parameters, by name.
        needed: names of those that must come.
        body: a JSON object, a form, or nothing.
        own_origin: a page of another origin is refused: it changes something, or costs something.
        without_token: it is how a client gets to send its token.
        query_ignored: the query is for the viewer's own scripts, and is not passed on.
        archive: a resource of the studies' DICOMweb server, where they are one's.
        template: MONAI Label's own path, where ours is a part of it.
    """

    method: str
    path: str
    purpose: str
    parts: Mapping[str, Kind] = field(default_factory=dict)
    query: Mapping[str, Kind] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    body: ObjectKind | Form | None = None
    own_origin: bool = True
    without_token: bool = False
    query_ignored: bool = False
    archive: bool = False
    template: str = ""

    @property
    def of_monai_label(self) -> str:
        """MONAI Label's own path template."""
        return self.template or self.path


@dataclass(frozen=True)
class Closed:
    """Methods of one path of MONAI Label that are not served, and why."""

    methods: tuple[str, ...]
    path: str
    reason: str


MODEL = {"model": NAME}
ANY_TEXT = Kind("a text, which is compared and goes nowhere", lambda value, served: True)
LABEL_PART = "label"  # of a form: the one file that may be nearly empty
STATUS = {"all": FLAG, "check_if_running": FLAG}
VIEWER, QIDO, WADO = "/ohif/{path:path}", "/proxy/dicom/qido/{path:path}", "/proxy/dicom/wado/{path:path}"
_STUDY, _SERIES = "studies/{study}", "studies/{study}/series/{series}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


def _viewer(path: str, purpose: str, *parts: str) -> Route:
    kinds = dict.fromkeys(parts, VIEWER_FILE)
    return Route("GET", path, purpose, kinds, own_origin=False, query_ignored=True, template=VIEWER)


def _archive(template: str, resource: str, purpose: str, **others: Kind) -> Route:
    """Return the route of one DICOMweb resource; its query is left out, as MONAI Label's proxy does."""
    path = template.replace("{path:path}", resource)
    parts = {name: UID for name in ("study", "series", "instance") if f"{{{name}}}" in path} | others
    return Route("GET", path, purpose, parts, query_ignored=True, archive=True, template=template)


SERVED: tuple[Route, ...] = (
    Route("GET", "/info/", "models, trainers, strategies, state", own_origin=False),
    Route("GET", "/auth/", "whether a token is asked for", own_origin=False, without_token=True),
    Route(
        "POST",
        "/auth/token",
        "3D Slicer's login",
        body=Form(dict.fromkeys(("username", "password", "grant_type"), ANY_TEXT)),
        without_token=True,
    ),
    Route("GET", "/auth/token/valid", "whether the token is the right one", own_origin=False),
    Route(
        "POST",
        "/infer/{model}",
        "segment a study, a session's volume or an uploaded one",
        MODEL,
        {"image": STUDY, "session_id": SESSION, "output": RESULT},
        body=Form({"params": INFER}, "file", instead_of_file=("image", "session_id")),
    ),
    Route("GET", "/batch/infer", "how a segmentation of many studies goes", query=STATUS, own_origin=False),
    Route("POST", "/batch/infer/{model}", "segment many studies", MODEL, {"images": IMAGES}, body=BATCH),
    Route("DELETE", "/batch/infer", "stop that"),
    Route("POST", "/activelearning/{strategy}", "the next study", {"strategy": NAME}, body=ACTIVE_LEARNING),
    Route("GET", "/scoring/", "how a scoring goes", query=STATUS, own_origin=False),
    Route("POST", "/scoring/{method}", "score studies", {"method": NAME}, body=SCORING),
    Route("DELETE", "/scoring/", "stop that"),
    Route("GET", "/train/", "how a training goes", query=STATUS, own_origin=False),
    Route("POST", "/train/", "train, as OHIF asks for it", body=TRAIN_BY_MODEL),
    Route("POST", "/train/{model}", "train", MODEL, body=TRAIN),
    Route("DELETE", "/train/", "stop that"),
    Route("GET", "/datastore/", "studies and labels", query={"output": OUTPUT}),
    Route(
        "PUT",
        "/datastore/",
        "add a study, as 3D Slicer does",
        query={"image": NEW_STUDY},
        needed=("image",),
        body=Form({"params": CLIENT_ALONE}, "file"),
    ),
    Route(
        "PUT",
        "/datastore/image",
        "add a study",
        query={"image": NEW_STUDY},
        needed=("image",),
        body=Form({"params": CLIENT_ALONE}, "file"),
    ),
    Route("GET", "/datastore/image", "a study's volume", query={"image": STUDY}, needed=("image",)),
    Route("GET", "/datastore/image/info", "what is known of a study", query={"image": STUDY}, needed=("image",)),
    Route(
        "PUT",
        "/datastore/label",
        "submit a label",
        query={"image": STUDY, "tag": TAG},
        needed=("image",),
        body=Form({"params": LABEL}, LABEL_PART),
    ),
    Route("GET", "/datastore/label", "a label", query={"label": STUDY, "tag": TAG}, needed=("label", "tag")),
    Route(
        "GET",
        "/datastore/label/info",
        "what is known of a label",
        query={"label": STUDY, "tag": TAG},
        needed=("label", "tag"),
    ),
    Route("PUT", "/session/", "upload a volume for later requests", body=Form({"client_id": CLIENT}, "files")),
    Route("GET", "/session/{session_id}", "whether it is still here", {"session_id": SESSION}, own_origin=False),
    Route("DELETE", "/session/{session_id}", "remove it", {"session_id": SESSION}),
    _viewer("/ohif", "leads to /ohif/"),
    _viewer("/ohif/", "OHIF: the list of studies"),
    _viewer("/ohif/{file}", "OHIF: its pages and files", "file"),
    _viewer("/ohif/{folder}/{file}", "the same", "folder", "file"),
    _viewer("/ohif/{folder}/{subfolder}/{file}", "the same", "folder", "subfolder", "file"),
    Route("GET", "/favicon.ico", "a picture", own_origin=False),
    _archive(QIDO, "studies", "OHIF: what the DICOMweb server holds"),
    _archive(QIDO, f"{_STUDY}/series", "the same"),
    _archive(QIDO, f"{_SERIES}/instances", "the same"),
    _archive(QIDO, f"{_SERIES}/metadata", "the same"),
    _archive(WADO, f"{_STUDY}/metadata", "OHIF: headers"),
    _archive(WADO, f"{_SERIES}/metadata", "the same"),
    _archive(WADO, f"{_INSTANCE}/metadata", "the same"),
    _archive(WADO, _INSTANCE, "OHIF: an object, such as a DICOM SEG"),
    _archive(WADO, f"{_INSTANCE}/frames/{{frames}}", "OHIF: pixels", frames=FRAMES),
    _archive(WADO, f"{_INSTANCE}/rendered", "OHIF: pictures"),
    _archive(WADO, f"{_INSTANCE}/thumbnail", "the same"),
    _archive(WADO, f"{_SERIES}/thumbnail", "the same"),
)

_NO_CLIENT = "neither 3D Slicer nor OHIF asks for it"
_LOST = "studies and labels are removed by whoever may enter their folder"
_ONE_WAY = "DICOMweb is passed on to read, by its own resources alone"
CLOSED: tuple[Closed, ...] = (
    Closed(("GET",), "/", "its page runs scripts from elsewhere; the viewer is at /ohif/"),
    Closed(("GET", "HEAD"), "/docs", "its page runs scripts from elsewhere"),
    Closed(("GET", "HEAD"), "/openapi.json", _NO_CLIENT),
    Closed(("MOUNT",), "/static", "the viewer's files are at /ohif/"),
    Closed(("POST",), "/reload", "runs the app's code anew"),
    Closed(("GET",), "/logs/", "the log is for whoever runs the server: logs/app.log in the app's folder"),
    Closed(("GET",), "/logs/gpu", _NO_CLIENT),
    Closed(("GET",), "/model/{model}", "the weights are in the app's folder"),
    Closed(("GET",), "/model/info/{model}", _NO_CLIENT),
    Closed(("PUT", "DELETE"), "/model/{model}", "models come from trainings, and from whoever runs the server"),
    Closed(("POST",), "/infer/wsi/{model}", "for pathology"),
    Closed(("POST",), "/infer/wsi_v2/{model}", "for pathology"),
    Closed(("POST",), "/scoring/", "deprecated; name the method"),
    Closed(("DELETE",), "/datastore/", _LOST),
    Closed(("DELETE",), "/datastore/image", _LOST),
    Closed(("DELETE",), "/datastore/label", _LOST),
    Closed(("HEAD",), "/datastore/image", _NO_CLIENT),
    Closed(("HEAD",), "/datastore/label", _NO_CLIENT),
    Closed(("PUT",), "/datastore/image/info", "trainings and strategies rely on what is known of a study"),
    Closed(("PUT",), "/datastore/label/info", "trainings rely on what is known of a label"),
    Closed(("PUT",), "/datastore/updatelabelinfo", "trainings rely on what is known of a label"),
    Closed(("GET",), "/datastore/dataset", "leaves a copy of all studies in the temporary folder each time"),
    Closed(("GET", "POST"), "/proxy/dicom/{path:path}", _ONE_WAY),
    Closed(("GET", "POST"), "/proxy/dicom/stow/{path:path}", _ONE_WAY),
    Closed(("POST",), QIDO, _ONE_WAY),
    Closed(("POST",), WADO, _ONE_WAY),
)
