"""Kinds of values a request may carry: names, numbers and choices, and never a path.

What a client sends becomes a file's name, a folder, an entry of a config in MONAI's language (where a text with `$`
in front is code) or a program's argument somewhere in MONAI Label. So each parameter has a kind, and no kind takes a
separator of folders or a text that begins as an expression does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monai_vggunet.errors import RequestRefusedError
from monai_vggunet.names import shortened

__all__ = [
    "BAD_VALUE",
    "Kind",
    "ObjectKind",
    "Served",
    "choice",
    "either",
    "is_name",
    "list_of",
    "number",
    "optional",
    "pattern",
    "plain_name",
    "whole_number",
]

BAD_VALUE = 422  # RFC 9110
MOST_NAME_BYTES = 230  # a file's name has 255, and an ending and the mark of a temporary file are added to it
SEPARATORS = frozenset("/\\")
# a hidden file or a way up, a home folder; an expression, a reference and a macro in MONAI's config language
NO_FIRST_LETTER = (".", "~", "$", "@", "%")


@dataclass(frozen=True)
class Served:
    """What a running server offers.

    Attributes:
        models: those that can be trained.
        labels: names of their classes, as clients see them.
        archive: whether the studies are a DICOMweb server's.
        waiting: trainings, scorings and batches that were asked for and have not begun.
    """

    models: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    archive: bool = False
    waiting: int = 0


@dataclass(frozen=True)
class Kind:
    """What a parameter may hold.

    Attributes:
        expected: in words, for refusals and for the table of routes.
        accepts: whether a value is of this kind.
        status: of HTTP, when it is not.
    """

    expected: str
    accepts: Callable[[Any, Served], bool]
    status: int = BAD_VALUE

    def check(self, name: str, value: Any, served: Served) -> None:
        """Refuse a value of another kind.

        Raises:
            RequestRefusedError: it is.
        """
        if not self.accepts(value, served):
            raise RequestRefusedError(f"{name} is {shortened(value)}; expected {self.expected}", self.status)


@dataclass(frozen=True)
class ObjectKind(Kind):
    """A JSON object: each key must be known, each value of its key's kind.

    Attributes:
        fields: kinds by key.
        per_label: kind of the values whose keys are classes of the model, where they may be.
        per_model: kind of the values whose keys are models, where they may be.
    """

    expected: str = "a JSON object"
    accepts: Callable[[Any, Served], bool] = lambda value, served: isinstance(value, dict)
    fields: Mapping[str, Kind] = field(default_factory=dict)
    per_label: Kind | None = None
    per_model: Kind | None = None

    def check(self, name: str, value: Any, served: Served) -> None:
        """Refuse what is no object, an unknown key, or a value of the wrong kind.

        Raises:
            RequestRefusedError: it is; the text names the key.
        """
        super().check(name, value, served)
        for key, entry in value.items():
            kind = self._kind_of(key, served)
            if kind is None:
                known = ", ".join(sorted(self._keys(served))) or "none"
                raise RequestRefusedError(f"{name} holds {shortened(key)}; expected none but {known}", self.status)
            kind.check(key, entry, served)

    def _kind_of(self, key: str, served: Served) -> Kind | None:
        if key in self.fields:
            return self.fields[key]
        if self.per_label is not None and key in served.labels:
            return self.per_label
        return self.per_model if key in served.models else None

    def _keys(self, served: Served) -> set[str]:
        labels = served.labels if self.per_label is not None else frozenset()
        models = served.models if self.per_model is not None else frozenset()
        return {*self.fields, *labels, *models}


def is_name(value: Any) -> bool:
    """Whether a value is a text that names something and cannot lead anywhere as a path or an expression."""
    return (
        isinstance(value, str)
        and value.isprintable()  # no NUL, no line break in a log, no half of a surrogate
        and 0 < len(value.encode()) <= MOST_NAME_BYTES
        and value == value.strip()
        and not value.startswith(NO_FIRST_LETTER)
        and not SEPARATORS & set(value)
    )


def plain_name(expected: str, status: int = BAD_VALUE) -> Kind:
    """Return the kind of names that exist already, whatever letters they have."""
    return Kind(expected, lambda value, served: is_name(value), status)


def pattern(expression: str, expected: str, status: int = BAD_VALUE) -> Kind:
    """Return the kind of names that match a regular expression as a whole."""
    compiled = re.compile(expression)
    return Kind(expected, lambda value, served: is_name(value) and compiled.fullmatch(value) is not None, status)


def choice(*words: Any) -> Kind:
    """Return the kind that is one of some values, of the very type."""
    known = [(type(word), word) for word in words]
    listed = ", ".join(json.dumps(word) for word in words)
    return Kind(f"one of {listed}" if len(words) > 1 else listed, lambda value, served: (type(value), value) in known)


def whole_number(least: int, most: int) -> Kind:
    """Return the kind of whole numbers within bounds."""
    return Kind(
        f"a whole number from {least} to {most}", lambda value, served: type(value) is int and least <= value <= most
    )


def number(least: float, most: float) -> Kind:
    """Return the kind of numbers within bounds."""
    return Kind(
        f"a number from {least:g} to {most:g}",
        lambda value, served: type(value) in (int, float) and math.isfinite(value) and least <= value <= most,
    )


def list_of(kind: Kind, most: int, expected: str, least: int = 0) -> Kind:
    """Return the kind of lists whose entries are all of one kind."""
    return Kind(
        expected,
        lambda value, served: (
            isinstance(value, list)
            and least <= len(value) <= most
            and all(kind.accepts(entry, served) for entry in value)
        ),
    )


def either(*kinds: Kind) -> Kind:
    """Return the kind of what is of one of some kinds."""
    expected = ", or ".join(kind.expected for kind in kinds)
    return Kind(expected, lambda value, served: any(kind.accepts(value, served) for kind in kinds))


def optional(kind: Kind) -> Kind:
    """Return the kind that may also be null."""
    return Kind(f"{kind.expected}, or null", lambda value, served: value is None or kind.accepts(value, served))
