"""A request held against the table of routes; what comes out is written anew from what was checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode

from monai_vggunet.annotation.front.routes import CLOSED, SERVED, Route
from monai_vggunet.annotation.front.values import BAD_VALUE, Kind, ObjectKind, Served
from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.names import shortened

__all__ = ["checked_json", "checked_query", "checked_texts", "find_route", "written_path"]

BAD_REQUEST, NOT_FOUND, NOT_ALLOWED = 400, 404, 405  # RFC 9110
MOST_PARAMETERS = 20
PART = re.compile(r"\{(\w+)(:path)?\}")


def find_route(method: str, path: str, served: Served) -> tuple[Route, dict[str, str]]:
    """Return the route of a request and the parts of its path.

    Args:
        method: of HTTP.
        path: with percent signs decoded.
        served: what the server offers.

    Raises:
        RequestRefusedError: 404 for a path that is not served, or whose parts are none, 405 for another method.
    """
    others = []
    for route in SERVED:
        match = _expression(route.path).fullmatch(path)
        if match is None or (route.archive and not served.archive):
            continue
        if route.method == method:
            parts = match.groupdict()
            for name, value in parts.items():
                route.parts[name].check(name, value, served)
            return route, parts
        others.append(route.method)
    why = next((f": {closed.reason}" for closed in CLOSED if _is_closed(closed.path, closed.methods, path, method)), "")
    if others:
        known = ", ".join(sorted(set(others)))
        text = f"{shortened(method)} {shortened(path)} is not served; expected {known}{why}"
        raise RequestRefusedError(text, NOT_ALLOWED, {"Allow": known})
    raise RequestRefusedError(f"{shortened(path)} is not served{why}", NOT_FOUND)


def written_path(route: Route, parts: Mapping[str, str]) -> tuple[str, bytes]:
    """Return the path of a checked request, decoded and as it is sent."""
    quoted = PART.sub(lambda part: quote(parts[part[1]], safe=""), route.path)
    return unquote(quoted), quoted.encode("ascii")


def checked_query(route: Route, query: bytes, served: Served) -> bytes:
    """Return a query, written anew.

    Raises:
        RequestRefusedError: 400 for one that is malformed, or has a parameter twice or one that is unknown, else the
            status of the parameter's kind.
    """
    if route.query_ignored:
        return b""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        why = shortened(str(error))  # it may repeat the whole query
        raise RequestRefusedError(f"the query cannot be read ({why})", BAD_REQUEST) from None
    values = _once(pairs)
    for name, value in values.items():
        if name not in route.query:
            _unknown(route, "parameter", name, route.query)
        route.query[name].check(name, value, served)
    for name in route.needed:
        if name not in values:
            raise RequestRefusedError(f"the query has no {name!r}; expected {route.query[name].expected}", BAD_VALUE)
    return urlencode(values, quote_via=quote).encode("ascii")


def checked_json(name: str, text: str | bytes, kind: ObjectKind, served: Served) -> str:
    """Return a JSON object, written anew.

    Raises:
        RequestRefusedError: it is none, holds one key twice, a number that JSON lacks, or what its kind does not take.
    """
    try:
        # RFC 8259 8.1: in UTF-8, where Python would also take others
        read = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(read, object_pairs_hook=_once, parse_constant=_no_json_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RequestRefusedError):
            raise
        raise RequestRefusedError(f"{name} is no JSON ({error}); expected a JSON object", BAD_VALUE) from None
    kind.check(name, value, served)
    return json.dumps(value)


def checked_texts(
    route: Route, kinds: Mapping[str, Kind], pairs: Sequence[tuple[str, str]], served: Served
) -> dict[str, str]:
    """Return a form's texts, those that hold JSON written anew.

    Raises:
        RequestRefusedError: one comes twice, is unknown, or of the wrong kind.
    """
    texts = _once(pairs)
    for name, text in texts.items():
        if name not in kinds:
            _unknown(route, "part", name, kinds)
        kind = kinds[name]
        if isinstance(kind, ObjectKind):
            texts[name] = checked_json(name, text or "{}", kind, served)
        else:
            kind.check(name, text, served)
    return texts


@cache
def _expression(template: str) -> re.Pattern[str]:
    """Return the expression of a path template; a part in braces is one segment, with `:path` all that follows."""
    pieces, end = [], 0
    for part in PART.finditer(template):
        pieces += [re.escape(template[end : part.start()]), f"(?P<{part[1]}>{'.*' if part[2] else '[^/]+'})"]
        end = part.end()
    return re.compile("".join(pieces) + re.escape(template[end:]), re.DOTALL)


def _is_closed(template: str, methods: Iterable[str], path: str, method: str) -> bool:
    if "MOUNT" in methods:
        return path == template or path.startswith(f"{template}/")
    return _expression(template).fullmatch(path) is not None and method in methods


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise RequestRefusedError(f"{shortened(name)} comes twice; expected it once", BAD_REQUEST)
        values[name] = value
    return values


def _unknown(route: Route, what: str, name: str, known: Iterable[str]) -> NoReturn:
    listed = ", ".join(sorted(known)) or "none"
    text = f"{route.method} {route.path} has no {what} {shortened(name)}; expected {listed}"
    raise RequestRefusedError(text, BAD_REQUEST)


def _no_json_number(word: str) -> NoReturn:
    raise ValueError(f"{shortened(word)} is no number in JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_json_number(digits)
