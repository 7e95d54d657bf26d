"""How names and messages are written for people, whatever a disk holds: what no screen or page can show is escaped."""

from __future__ import annotations

import hashlib
import logging
import os
import reprlib
import unicodedata
from collections.abc import Iterable

__all__ = [
    "MOST_NAMED",
    "ReadableFormatter",
    "counted",
    "folder_name",
    "is_utf_8",
    "listed",
    "listed_by_reason",
    "readable",
    "readable_lines",
    "same_on_some_disk",
    "shortened",
]

MOST_NAMED = 10  # of many files; the rest is counted
# A folder's name has at most 255 bytes on Linux; the rest is for what other programs add to it (".zip", " (copy)").
_LONGEST_FOLDER_BYTES = 200
_HASH_LENGTH = 8  # hexadecimal digits that keep two long names apart
_BYTES_AS_SURROGATES = range(0xDC80, 0xDD00)  # PEP 383: how Python holds a byte of a name that is not UTF-8
_INDENT = "  "
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60  # characters
_repr.maxlevel = 4  # of lists in lists
_MOST_QUOTED = 200  # characters of a whole value
_CUT = "..."


def readable(name: str | os.PathLike[str]) -> str:
    r"""Return a name as one line of text that every screen, page and JSON file can hold.

    A byte that is not UTF-8, as in Latin-1 names from old archives, becomes `\xe9`; newlines, escape sequences,
    right-to-left overrides and other characters that are not seen become `\n`, `\x1b`, `\u202e`.

    Args:
        name: of a file or folder, or a whole path, as Python has it (PEP 383).

    Example:
        >>> import os
        >>> print(readable(os.fsdecode(b"Andr\xe9\n")))
        Andr\xe9\n
    """
    text = os.fspath(name)
    return text if text.isprintable() else "".join(map(_readable_character, text))


def readable_lines(message: object, indent: str = "") -> str:
    """Return a message with every line readable, and lines after the first indented."""
    return f"\n{indent}".join(map(readable, str(message).split("\n")))


class ReadableFormatter(logging.Formatter):
    """Writes log records as readable lines, indented after the first, so that no name of a file can forge a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message's lines; a traceback, which comes after it, stays as it is."""
        return readable_lines(super().formatMessage(record), _INDENT)


def shortened(value: object) -> str:
    """Return a value from a stranger's file or request as a message quotes it: in Python's form, on one line.

    The middle of a long text or number is left out, and the end of a long value of many.

    Example:
        >>> shortened(["a" * 1000, 2])
        "['aaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaa', 2]"
    """
    text = _repr.repr(value)
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}{_CUT}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return how many there are of something, in the singular or the plural.

    Args:
        number: how many.
        one: its name.
        many: the plural, where it is more than an `s` behind the name.

    Example:
        >>> counted(1, "file"), counted(2, "file"), counted(0, "study", "studies")
        ('1 file', '2 files', '0 studies')
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def listed(names: Iterable[str | os.PathLike[str]], most: int = MOST_NAMED, separator: str = ", ") -> str:
    """Name the first of many things and count the rest.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b ... and 1 more'
    """
    shown = list(map(readable, names))
    more = len(shown) - most
    return separator.join(shown[:most]) + (f" ... and {more} more" if more > 0 else "")


def listed_by_reason(things: Iterable[tuple[str | os.PathLike[str], str]]) -> list[str]:
    """Return one line per reason: the first of the things that share it, the others counted; so with many reasons too.

    Args:
        things: names with their reasons.

    Example:
        >>> listed_by_reason([("a", "empty"), ("b", "no DICOM"), ("c", "empty")])
        ['a, c: empty', 'b: no DICOM']
    """
    groups: dict[str, list[str | os.PathLike[str]]] = {}
    for name, reason in things:
        groups.setdefault(reason, []).append(name)
    lines = [f"{listed(names)}: {readable(reason)}" for reason, names in list(groups.items())[:MOST_NAMED]]
    rest = list(groups.values())[MOST_NAMED:]
    return [*lines, f"{sum(map(len, rest))} more, for {len(rest)} other reasons"] if rest else lines


def folder_name(name: str) -> str:
    """Return a name under which a folder can be made: readable, not a place such as `..`, and not too long.

    What is cut off is told apart by a hash of the whole.
    """
    text = readable(name).replace(os.sep, "_")
    if text in ("", os.curdir, os.pardir):
        return f"unnamed{text}"
    if len(text.encode()) <= _LONGEST_FOLDER_BYTES:
        return text
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_LENGTH]
    whole = text.encode()[: _LONGEST_FOLDER_BYTES - _HASH_LENGTH - 1].decode(errors="ignore")
    return f"{whole}~{digest}"


def is_utf_8(name: str | os.PathLike[str]) -> bool:
    """Whether a name is UTF-8 on the disk: libraries in C++ take no other."""
    try:
        os.fspath(name).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def same_on_some_disk(name: str) -> str:
    """Return what is the same for two names that some file system takes for one: case and Unicode form do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _readable_character(character: str) -> str:
    # Spaces other than the plain one are not "printable" to Python, but are seen.
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if ord(character) in _BYTES_AS_SURROGATES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
