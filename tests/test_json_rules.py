from __future__ import annotations

from typing import Any

import pytest

from monai_vggunet.json_rules import (
    FLAG,
    also,
    mapping,
    number,
    one_of,
    optional,
    require_object,
    several,
    text,
    versioned,
    whole,
    without_version,
)

EVEN = also(whole(0, 10), "even", lambda value: value % 2 == 0)


@pytest.mark.parametrize(
    ("rule", "held", "refused"),
    [
        (whole(1, 3), [1, 3], [0, 4, 1.0, True, "1", None, 10**400]),
        (number(-1, 1), [-1, 0.5, 1], [2, float("nan"), float("inf"), True, "0", None, 10**400]),
        (one_of("a", 2), ["a", 2], ["b", 2.0, True, None, [], {}]),
        (text(3, 1), ["a", "äöü"], ["", "abcd", "a\n", "\x1b", "\ud800", 1, None]),
        (several(whole(1, 3), 1, 2), [[1], (1, 3)], [[], [1, 2, 3], [0], "12", {1: 1}, None]),
        (mapping(whole(1, 3), 2, text(1)), [{}, {"a": 1}], [{"ab": 1}, {"a": 0}, {"a": 1, "b": 1, "c": 1}, [], None]),
        (EVEN, [2], [3, "2"]),
        (optional(whole(1, 3)), [None, 1], [0, "a"]),
        (FLAG, [True, False], [0, 1, "true", None]),
    ],
    ids=lambda value: value.expected if hasattr(value, "expected") else "",
)
def test_rules_hold_for_what_they_say(rule: Any, held: list[Any], refused: list[Any]) -> None:
    assert all(map(rule.holds, held))
    assert not any(map(rule.holds, refused))
    for value in refused:
        with pytest.raises(ValueError, match=r"a is .*; expected"):
            require_object({"a": value}, {"a": rule})


FIELDS = {"name": text(9), "inner": ({"count": whole(0, 9)}, ("count",))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"it is \[\]; expected an object"),
        ({"name": "a", "inner": 5}, "inner is 5; expected an object"),
        ({"name": "a", "inner": {}}, "inner.count is missing; expected a whole number"),
        ({"name": "a", "inner": {"count": -1}}, "inner.count is -1; expected a whole number from 0 to 9"),
        ({"other": 1}, "other is unknown; expected only name, inner"),
        ({}, "name is missing; expected text"),
    ],
)
def test_a_field_is_named(content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_object(content, FIELDS, ("name",))


def test_an_open_end_lets_other_names_pass() -> None:
    require_object({"name": "a", "other": 1, "inner": {"count": 1, "more": 2}}, FIELDS, open_end=True)


def test_what_was_got_is_not_quoted_at_length_or_at_all() -> None:
    for content in ({"name": "Secret" * 10_000}, {"name": ["Secret"] * 10_000}, {"Secret" * 10_000: 1}):
        with pytest.raises(ValueError, match="expected") as caught:
            require_object(content, FIELDS)
        assert len(str(caught.value)) < 300
        with pytest.raises(ValueError, match=r"name is (text|a list); |a name in it is unknown; ") as caught:
            require_object(content, FIELDS, quoting=False)
        assert "Secret" not in str(caught.value)


def test_nesting_without_end_is_shown_shortly() -> None:
    content: Any = []
    for _ in range(100_000):
        content = [content]
    with pytest.raises(ValueError, match=r"name is \[\[\[.*; expected text"):
        require_object({"name": content}, FIELDS)
    while content:
        content = content.pop()  # Python frees it without recursing


def test_an_object_is_written_with_the_version_of_its_form_and_read_without() -> None:
    assert list(versioned({"a": 1}, 3)) == ["format_version", "a"]
    assert without_version(versioned({"a": 1}, 3), newest=3) == {"a": 1}
    assert without_version(versioned({"a": 1}, 2), newest=3) == {"a": 1}, "an earlier one"
    assert without_version({"a": 1}, newest=3) == {"a": 1}, "from before there were versions"
    assert without_version([1], newest=3) == [1], "no object: whoever checks the fields says so"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (4, "format_version is 4; monai-vggunet .* reads versions up to 3, and a later one wrote this"),
        (0, "format_version is a number; expected a whole number from 1"),
        ("Doe", "format_version is text; expected a whole number from 1"),
        (None, "format_version is null; expected"),
        (10**400, "format_version is a number; expected"),
    ],
)
def test_a_version_that_is_not_known_is_refused_and_no_text_quoted(version: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        without_version({"format_version": version}, newest=3)
