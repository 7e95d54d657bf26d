"""The table of routes: it has every route of the installed MONAI Label, and no parameter in it takes a path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from label_server import in_label_environment

from monai_vggunet.annotation.front.checks import find_route
from monai_vggunet.annotation.front.parameters import FRAMES
from monai_vggunet.annotation.front.routes import CLOSED, SERVED, Form, Route
from monai_vggunet.annotation.front.routes_page import closed_table, kinds_table, served_table
from monai_vggunet.annotation.front.values import Kind, ObjectKind, Served
from monai_vggunet.errors import VGGUNetError

HERE = Served(frozenset({"vggunet"}), frozenset({"liver", "spleen", "background"}), archive=True)
# Each once plain and once as a list, where a parameter takes lists.
PATHS = [
    "/etc/passwd", "../x", "..", ".", "./x", "a/b", "a/../b", "..\\x", "C:\\Windows", "\\\\host\\share", "~/x", "~root",
    "file:///etc/passwd", "http://127.0.0.1/x", "//host/x", "/proc/self/environ", "x\x00.nii.gz", "x\n../y", ".ssh",
    ".nii.gz/../x", "model.pt/..", "final/../..", "true/..", "\u2215..\\", "/",
]  # fmt: skip
EXPRESSIONS = ["$__import__('os').system('true')", "@train#trainer", "%train.json::x", "$(touch x)"]
LISTED = """
import json, os
os.environ["MONAI_LABEL_AUTH_ENABLE"] = "true"  # with the routes of its login
from monailabel.app import app
from starlette.routing import Mount

def listed(routes, prefix=""):
    for route in routes:
        if hasattr(route, "original_router"):
            yield from listed(route.original_router.routes, prefix + route.include_context.prefix)
        elif isinstance(route, Mount):
            yield prefix + route.path, "MOUNT"
        else:
            yield from ((prefix + route.path, method) for method in getattr(route, "methods", None) or ["WEBSOCKET"])

print(json.dumps(sorted(set(listed(app.routes)))))
"""


@pytest.mark.label
def test_the_table_has_every_route_of_monai_label_and_none_that_is_gone() -> None:
    """A new version brings new routes: decide for each whether it is served, and what it may carry."""
    installed = {(path, method) for path, method in json.loads(in_label_environment(LISTED).splitlines()[-1])}
    assert ("/infer/{model}", "POST") in installed
    assert ("/auth/token", "POST") in installed
    served = {(route.of_monai_label, route.method) for route in SERVED if route.path != "/ohif"}
    closed = {(one.path, method) for one in CLOSED for method in one.methods}
    assert not served & closed
    assert served | closed == installed


def test_every_closed_route_has_its_reason_and_is_not_served() -> None:
    for closed in CLOSED:
        assert closed.reason
        for method in closed.methods:
            path = closed.path.replace("{model}", "vggunet").replace("{path:path}", "instances")
            with pytest.raises(VGGUNetError, match="is not served"):
                find_route("GET" if method == "MOUNT" else method, path, HERE)


def kinds_of(route: Route) -> Iterator[tuple[str, Kind]]:
    """Every parameter of a route, with each key of its objects."""
    yield from (*route.parts.items(), *route.query.items())
    texts = route.body.texts if isinstance(route.body, Form) else {"body": route.body}
    for name, kind in texts.items():
        if isinstance(kind, ObjectKind):
            yield from keys_of(kind)
        elif kind is not None:
            yield name, kind


def keys_of(kind: ObjectKind) -> Iterator[tuple[str, Kind]]:
    more = {"liver": kind.per_label, "vggunet": kind.per_model}
    for name, inner in {**kind.fields, **{key: one for key, one in more.items() if one is not None}}.items():
        if isinstance(inner, ObjectKind):
            yield from keys_of(inner)
        else:
            yield name, inner


PASSED_ON = [route for route in SERVED if not route.path.startswith("/auth/")]  # the front itself answers those
PARAMETERS = [(route, name, kind) for route in PASSED_ON for name, kind in kinds_of(route)]


@pytest.mark.parametrize(
    ("route", "name", "kind"), PARAMETERS, ids=[f"{r.method} {r.path} {n}" for r, n, _ in PARAMETERS]
)
def test_no_parameter_takes_a_path_or_an_expression(route: Route, name: str, kind: Kind) -> None:
    for text in [*PATHS, *EXPRESSIONS]:
        described = [{"name": text}], [{"name": "liver", "model_name": text}], [{"name": "liver", text: 1}]
        for value in (text, [text], {name: text}, [[text]], *described):
            for served in (HERE, replace(HERE, archive=False)):
                with pytest.raises(VGGUNetError):
                    kind.check(name, value, served)


def test_no_object_takes_an_unknown_key() -> None:
    objects = [route.body for route in PASSED_ON if isinstance(route.body, ObjectKind)]
    objects += [kind for route in PASSED_ON if isinstance(route.body, Form) for kind in route.body.texts.values()]
    for kind in objects:
        if isinstance(kind, ObjectKind):
            for key in (
                "image",
                "bundle_path",
                "model",
                "session",
                "train#trainer#max_epochs",
                "images",
                "_id",
                *PATHS,
            ):
                with pytest.raises(VGGUNetError, match="expected none but"):
                    kind.check("params", {key: "x"}, HERE)


def test_what_changes_something_is_for_pages_of_ones_own_alone() -> None:
    assert [route.path for route in SERVED if route.method != "GET" and not route.own_origin] == []


def test_a_class_is_called_as_its_model_calls_it() -> None:
    names = Served(labels=frozenset({"left/right"}))
    infer = next(route.body for route in SERVED if route.path == "/infer/{model}")
    params = infer.texts["params"]
    params.check("params", {"left/right": [[1, 2, 3]], "label": "left/right"}, names)
    params.check("params", {"label_info": [{"name": "left/right", "idx": 1}]}, names)
    with pytest.raises(VGGUNetError, match="'left/right'"):
        params.check("params", {"left/right": [[1, 2, 3]]}, HERE)


def test_frames_are_numbers() -> None:
    FRAMES.check("frames", "1,2", HERE)


def test_the_documentation_has_the_tables_as_they_are(repository: Path) -> None:
    text = (repository / "docs" / "annotation-security.md").read_text(encoding="utf-8")
    for table in (served_table(), closed_table(), kinds_table()):
        assert table in text, "python -m monai_vggunet.annotation.front.routes_page prints the tables"
