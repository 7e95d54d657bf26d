"""Names that file systems hold and that programs stumble over."""

from __future__ import annotations

import os

__all__ = ["STRANGE_NAMES"]

STRANGE_NAMES = {
    "latin_1": os.fsdecode(b"M\xfcller"),
    "newline_and_escape": "a\nfailed: b\x1b[31m\tc\r",
    "right_to_left_override": "x\u202egnp\u2066",
    "dash": "-rf",
    "markup": "[red]bold",
    "script": "<script>alert(1)<",
    "percent": "100%s%n%(x)s{y}",
    "quotes": 'it\'s "so"',
    "backslash": "a\\b\\xe9",
    "trailing": "ends with . .",
    "home": "~nobody-here",
    "hash": "study #2",
    "wildcards": "*?[a-z]",
    "composed": "\u00e9t\u00e9",
    "decomposed": "e\u0301te\u0301",
    "upper_case": "\u00c9T\u00c9",
    "long": "\u4e2d" * 80,
    "emoji": "\U0001f9e0\u200d",
}
