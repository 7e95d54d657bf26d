"""Untrusted JSON: read within bounds, and only if it is valid by RFC 8259 and states no name twice in an object.

A byte-order mark, with which Windows programs begin a file, is skipped; the RFC allows that (section 8.1).
"""

from __future__ import annotations

import codecs
import json
import math
import os
from typing import Any, NoReturn

from monai_vggunet.regular_files import read_start

__all__ = ["JsonError", "parse_json", "read_json"]

MOST_BYTES = 1 << 24  # of a record, a list of cases, a curve; ours have some kB


class JsonError(ValueError):
    """Text that is not JSON, or not as an honest program writes it; the message says why and quotes nothing."""


def read_json(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES, errors: str = "strict") -> Any:
    """Read a file of JSON in UTF-8, or in UTF-16 if it begins with a byte-order mark.

    Args:
        path: the file.
        most_bytes: a longer one is refused before it is read.
        errors: what to do with bytes that are not UTF-8, as `bytes.decode` takes it.

    Raises:
        JsonError: it is too long, or not JSON: see `parse_json`.
        OSError: it cannot be read, or is not a regular file.
    """
    data = read_start(path, most_bytes + 1)
    if len(data) > most_bytes:
        raise JsonError(f"it has more than {most_bytes:,} bytes")
    try:
        return parse_json(data.decode(_encoding_of(data), errors))
    except UnicodeDecodeError as error:
        raise JsonError(f"it is not {error.encoding.upper()} (byte {error.start})") from error


def parse_json(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        JsonError: it is not JSON, holds NaN, infinity or a number too large for a float, states a name twice in one
            object, or is nested deeper than Python can follow.

    Example:
        >>> parse_json('{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_each_name_once)
    except RecursionError as error:
        raise JsonError("it is nested too deeply") from error
    except JsonError:
        raise
    except ValueError as error:  # also of numbers with thousands of digits
        raise JsonError(f"it is not JSON: {error}") from error


def _encoding_of(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"


def _no_number(text: str) -> NoReturn:
    raise JsonError(f"it holds {text}, which is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("it holds a number too large to be one")
    return value


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise JsonError("it states a name twice in one object")
    return content
