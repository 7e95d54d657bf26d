from __future__ import annotations

import os
from pathlib import Path

import pytest

from monai_vggunet.json_files import JsonError, parse_json, read_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, -0.0, 1e308, true, null], "b": {"a": "ü"}}', "3", '""', "[]"])
def test_json_is_read_as_python_reads_it(tmp_path: Path, text: str) -> None:
    import json

    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert read_json(tmp_path / "a.json") == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "it holds NaN, which is not a number in JSON"),
        ("[Infinity]", "it holds Infinity"),
        ("[-Infinity]", "it holds -Infinity"),
        ("[1e400]", "it holds a number too large"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "it states a name twice"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("1" * 5000, "it is not JSON: .* digits"),
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ('{"a": 1} x', "it is not JSON"),
    ],
    ids=range(11),
)
def test_what_is_no_honest_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        parse_json(text)


def test_a_long_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.write(b"[")
        file.truncate(1 << 40)  # a sparse file takes no room
    with pytest.raises(JsonError, match="it has more than 1,000 bytes"):
        read_json(tmp_path / "a.json", 1000)
    (tmp_path / "b.json").write_text(" " * 998 + "[]")
    assert read_json(tmp_path / "b.json", 1000) == []


def test_bytes_that_are_no_text_are_refused_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'["\xe9"]')
    with pytest.raises(JsonError, match=r"it is not UTF-8 \(byte 2\)"):
        read_json(tmp_path / "a.json")
    assert os.fsencode(read_json(tmp_path / "a.json", errors="surrogateescape")[0]) == b"\xe9"


def test_what_is_not_there_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_json(tmp_path / "absent.json")
