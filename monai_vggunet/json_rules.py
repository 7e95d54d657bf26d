"""What the values in a JSON file have to be: each rule in words and as a test."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from monai_vggunet._version import __version__
from monai_vggunet.names import shortened

__all__ = [
    "FLAG",
    "FORMAT_VERSION",
    "MOST_COUNTED",
    "Rule",
    "also",
    "mapping",
    "number",
    "one_of",
    "optional",
    "require_object",
    "several",
    "text",
    "versioned",
    "whole",
    "without_version",
]

FORMAT_VERSION = "format_version"  # the first entry of a file: the version of what its fields are and mean
MOST_COUNTED = 1 << 53  # of cases, voxels, ...: whole numbers that JSON's readers agree on

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class Rule(NamedTuple):
    """What a value has to be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


# The fields of an object: each a rule, or the fields of an object within it and the names that this must have.
Fields = Mapping[str, Any]


def require_object(
    content: Any, fields: Fields, required: tuple[str, ...] = (), open_end: bool = False, quoting: bool = True
) -> None:
    """Refuse anything but an object with these fields.

    Args:
        content: as JSON gives it.
        fields: name -> `Rule`, or `(fields, required)` of an object within.
        required: names that must be there.
        open_end: whether other names may be there too.
        quoting: whether the error may quote a value; not where it may be a patient's name.

    Raises:
        ValueError: names the field, what was got and what was expected.

    Example:
        >>> require_object({"a": {"b": True}}, {"a": ({"b": whole(1, 9)}, ())})
        Traceback (most recent call last):
        ValueError: a.b is True; expected a whole number from 1 to 9
    """
    _check(content, fields, "", required, open_end, shortened if quoting else _kind)


def _check(
    content: Any, fields: Fields, where: str, required: tuple[str, ...], open_end: bool, shown: Callable[[Any], str]
) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where or 'it'} is {shown(content)}; expected an object")
    prefix = f"{where}." if where else ""
    for name in content:
        if name not in fields and not open_end:
            unknown = f"{prefix}{shortened(name)[1:-1]}" if shown is shortened else f"a name in {where or 'it'}"
            raise ValueError(f"{unknown} is unknown; expected only {', '.join(fields)}")
    for name, rule in fields.items():
        if name not in content:
            if name in required:
                raise ValueError(f"{prefix}{name} is missing; expected {_expected(rule)}")
        elif isinstance(rule, Rule):
            if not rule.holds(content[name]):
                raise ValueError(f"{prefix}{name} is {shown(content[name])}; expected {rule.expected}")
        else:
            _check(content[name], rule[0], f"{prefix}{name}", rule[1], open_end, shown)


def _kind(value: Any) -> str:
    """Return the kind of a value, without quoting it."""
    return "null" if value is None else _KINDS.get(type(value), "something else")


def _expected(rule: Any) -> str:
    return rule.expected if isinstance(rule, Rule) else "an object"


def versioned(content: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return an object that begins with its format version, ready to be written."""
    return {FORMAT_VERSION: version, **content}


def without_version(content: Any, newest: int) -> Any:
    """Return an object without its format version; one that has none was written before there were versions.

    Args:
        content: as JSON gives it.
        newest: the version that this program writes; it reads all up to it.

    Raises:
        ValueError: its version is later than `newest`, or not a whole number from 1; the message quotes no text.

    Example:
        >>> without_version({"format_version": 1, "epochs": []}, newest=1)
        {'epochs': []}
    """
    if not isinstance(content, Mapping) or FORMAT_VERSION not in content:
        return content
    version = content[FORMAT_VERSION]
    if not whole(1).holds(version):
        raise ValueError(f"{FORMAT_VERSION} is {_kind(version)}; expected a whole number from 1")
    if version > newest:
        raise ValueError(
            f"{FORMAT_VERSION} is {version}; monai-vggunet {__version__} reads versions up to {newest}, and a "
            "later one wrote this"
        )
    return {name: value for name, value in content.items() if name != FORMAT_VERSION}


def whole(least: int, most: int = MOST_COUNTED) -> Rule:
    """A whole number; `true` does not count as one."""
    return Rule(
        f"a whole number from {least} to {most}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def number(least: float, most: float) -> Rule:
    """A number; `true` does not count as one."""
    return Rule(
        f"a number from {least:g} to {most:g}",
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most,
    )


def one_of(*values: str | int) -> Rule:
    """One of some texts or whole numbers."""
    return Rule(" or ".join(map(repr, values)), lambda value: type(value) in (str, int) and value in values)


def text(longest: int, least: int = 0) -> Rule:
    """A text without control characters."""
    return Rule(
        f"text of {least} to {longest} characters, without control characters",
        lambda value: isinstance(value, str) and least <= len(value) <= longest and not any(map(_is_control, value)),
    )


def _is_control(character: str) -> bool:
    """Whether a character is a control character, or half of a surrogate pair."""
    return unicodedata.category(character) in ("Cc", "Cs")


def several(rule: Rule, least: int, most: int) -> Rule:
    """A list of values that a rule holds for; a tuple will do."""
    count = f"{least}" if least == most else f"{least} to {most}"
    return Rule(
        f"a list of {count}, each {rule.expected}",
        lambda value: isinstance(value, (list, tuple)) and least <= len(value) <= most and all(map(rule.holds, value)),
    )


def mapping(rule: Rule, most: int, key: Rule | None = None) -> Rule:
    """An object of any names, whose values a rule holds for."""
    return Rule(
        f"an object of up to {most}, each {rule.expected}",
        lambda value: (
            isinstance(value, Mapping)
            and len(value) <= most
            and all(map(rule.holds, value.values()))
            and (key is None or all(map(key.holds, value)))
        ),
    )


def also(rule: Rule, expected: str, holds: Callable[[Any], bool]) -> Rule:
    """A rule with one more condition."""
    return Rule(f"{rule.expected}, {expected}", lambda value: rule.holds(value) and holds(value))


def optional(rule: Rule) -> Rule:
    """What a rule holds for, or null."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.holds(value))


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
