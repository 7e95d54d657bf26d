"""The table of routes as it stands in docs/annotation-security.md.

python -m monai_vggunet.annotation.front.routes_page      prints it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monai_vggunet.annotation.front.routes import CLOSED, SERVED, Form, Route
from monai_vggunet.annotation.front.values import Kind, ObjectKind

__all__ = ["closed_table", "kinds_table", "served_table"]

NOBODY_ASKED, TOKEN, OWN_PAGES = "anyone", "token", "token, own pages"


def served_table() -> str:
    """Return the served routes as a table in Markdown: what for, who may, what may come with a request."""
    rows = [[f"`{route.method} {route.path}`", route.purpose, _who(route), _carries(route)] for route in SERVED]
    return _table(["route", "what for", "who may", "what it may carry"], rows)


def closed_table() -> str:
    """Return the closed routes as a table in Markdown, with the reasons."""
    rows = [[f"`{', '.join(closed.methods)} {closed.path}`", closed.reason] for closed in CLOSED]
    return _table(["route of MONAI Label", "why it is closed"], rows)


def kinds_table() -> str:
    """Return the parameters of all routes as a table in Markdown: each name once with each kind it has."""
    kinds: dict[tuple[str, str], None] = {}
    for route in SERVED:
        for name, kind in (*route.parts.items(), *route.query.items(), *_body_kinds(route)):
            kinds[name, kind.expected] = None
    return _table(["parameter", "expected"], [[f"`{name}`", expected] for name, expected in sorted(kinds)])


def _who(route: Route) -> str:
    if route.without_token:
        return NOBODY_ASKED
    return OWN_PAGES if route.own_origin else TOKEN


def _carries(route: Route) -> str:
    words = [f"query `{name}`" for name in route.query]
    if isinstance(route.body, Form):
        words += [f"`{name}`" + _keys(kind) for name, kind in route.body.texts.items()]
        words += [f"file `{route.body.file}`"] if route.body.file else []
    elif route.body is not None:
        words.append("JSON" + _keys(route.body))
    return "; ".join(words) or ("a query, which is dropped" if route.query_ignored else "")


def _keys(kind: Kind) -> str:
    if not isinstance(kind, ObjectKind):
        return ""
    names = [f"`{name}`" for name in kind.fields]
    names += ["a class's name"] if kind.per_label is not None else []
    names += ["a model's name"] if kind.per_model is not None else []
    return f" ({', '.join(names)})"


def _body_kinds(route: Route) -> Iterable[tuple[str, Kind]]:
    texts = route.body.texts.items() if isinstance(route.body, Form) else [("", route.body)]
    for name, kind in texts:
        if isinstance(kind, ObjectKind):
            yield from kind.fields.items()
            if kind.per_label is not None:
                yield "a class's name", kind.per_label
        elif kind is not None:
            yield name, kind


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    print(served_table(), closed_table(), kinds_table(), sep="\n")
