"""The elements found in a plain header: used like a pydicom data set, but faster."""

from __future__ import annotations

from functools import cache
from struct import Struct
from typing import Any, NamedTuple

from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.values import convert_string

__all__ = ["CHARACTER_SET", "PlainElements"]

# Without it no text can be decoded: a header always keeps it.
CHARACTER_SET = 0x00080005

_SHORT = Struct("<H").unpack

# One value of these is its own text; an integer string only if it is digits alone.
_TEXT_VRS = frozenset({"CS", "IS", "LO", "SH", "UI"})
_UNSIGNED_KEYWORDS = frozenset(
    ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
)


class PlainElements:
    """Raw elements that answer as a pydicom `Dataset` of them does, but faster for plain text and numbers.

    Any other value (several values, characters beyond ASCII, ...) comes from a `Dataset`, made when it is needed.

    Args:
        raw: the elements by tag.
        explicit: whether their value representations were written.
        file_meta: those of group 0002.
    """

    __slots__ = ("_dataset", "file_meta", "is_explicit", "raw")

    def __init__(self, raw: dict[int, RawDataElement], explicit: bool, file_meta: PlainElements | None = None) -> None:
        self.raw = raw
        self.is_explicit = explicit
        self._dataset: Dataset | None = None
        self.file_meta = file_meta

    def __len__(self) -> int:
        return len(self.raw)

    def __contains__(self, key: Any) -> bool:
        return _number(key) in self.raw

    def __getitem__(self, key: Any) -> Any:
        return self._general()[key]

    def __getattr__(self, keyword: str) -> Any:
        raw = self.raw.get(_number(keyword))
        if raw is None:
            raise AttributeError(f"no element {keyword}")
        unsigned = raw.VR in (None, "US") and raw.length == 2 and keyword in _UNSIGNED_KEYWORDS
        return _SHORT(raw.value)[0] if unsigned else getattr(self._general(), keyword)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a keyword, or the element of a tag, as `Dataset.get` does."""
        raw = self.raw.get(_number(key))
        if raw is None:
            return default
        if isinstance(key, str):
            return getattr(self, key)
        text = _plain_text(raw)
        return self._general().get(key) if text is None else _TextElement(text)

    def get_item(self, key: Any) -> Any:
        """Return an element raw, as `Dataset.get_item` does."""
        raw = self.raw.get(_number(key))
        return raw if raw is not None and raw.value is not None else self._general().get_item(key)

    def _general(self) -> Dataset:
        """Put the raw elements into a data set as pydicom does when it has read them."""
        if self._dataset is None:
            self._dataset = Dataset({BaseTag(tag): element for tag, element in self.raw.items()})
            named = self.raw.get(CHARACTER_SET)
            encoding = convert_encodings(convert_string(named.value or b"", True)) if named else "iso8859"
            self._dataset.set_original_encoding(not self.is_explicit, True, encoding)
        return self._dataset


class _TextElement(NamedTuple):
    """An element whose value is one text."""

    value: str


@cache
def _tag_number(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    return -1 if tag is None else int(tag)


def _number(key: Any) -> int:
    return _tag_number(key) if isinstance(key, str) else int(key)


def _plain_text(raw: RawDataElement) -> str | None:
    """Return the text of an element with one value in ASCII; None for anything else."""
    vr = raw.VR or dictionary_VR(raw.tag)
    if vr not in _TEXT_VRS or not raw.value:
        return None
    text = raw.value.rstrip(b"\0 ").decode("latin-1")
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and (vr != "IS" or text.isdigit()) else None
