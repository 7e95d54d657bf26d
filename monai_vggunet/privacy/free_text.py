"""Free text of headers with nothing left but words and numbers that name nobody (PS3.15 E.3.5, Clean Descriptors)."""

from __future__ import annotations

import re
import unicodedata

from monai_vggunet import file_kinds, uid_forms
from monai_vggunet.privacy.setting import shows_phi
from monai_vggunet.privacy.vocabulary import FILE_ENDINGS, KERNEL_LETTERS, UNITS, WORDS

__all__ = ["LEFT_OUT", "clean_quotations", "clean_text", "clean_uid", "is_harmless", "is_uid", "quoted", "split_ending"]

LEFT_OUT = "…"

# Outside of an element for UIDs, only what has so many components is one: `12.03.1956` is a birthday.
_FEWEST_COMPONENTS = 5
# In such an element, a number alone may be one of a patient.
_FEWEST_IN_ELEMENT = 2

# Words and numbers, the latter with their decimals: `2.5mm`, `T2`, `B30f`.
_TOKEN = re.compile(r"[^\W_]+(?:[.,]\d+[^\W_]*)*")
_DATE = re.compile(r"(?<!\d)\d{1,4}([./-])\d{1,2}\1\d{1,4}(?!\d)|(?<!\d)\d\d \d\d (?:\d\d){1,2}(?!\d)")
_NUMBER = re.compile(r"\d{1,4}|\d{1,3}[.,]\d{1,3}")
_WITH_UNIT = re.compile(r"(\d{1,4}|\d{1,3}[.,]\d{1,3})([^\W\d_]+)")
_KERNEL = re.compile(r"([^\W\d_]{1,2})\d{1,2}[^\W\d_]{0,2}\d?")
_QUOTATION = re.compile(r"(['\"`])(.*?)\1", re.DOTALL)
_PARTS = re.compile(r"\d+|[^\W\d_]+")
# Bytes of another character set than is declared look like these: control characters, and signs where letters belong.
# What radiology itself writes beyond ASCII stands beside numbers (90°, 5 × 5, ±2) or between words (a dash).
_FOREIGN = re.compile(
    r"[\0-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
    r"|(?<=\D)[°×]|[×±](?=\D)"
    r"|[^\0-\x7f°±×–—…\w]"
)
_STRETCH = re.compile(r"[^ \t\n\v\f\r]+")
# Letters one by one, as in a name that is spelled out, or in initials; and those that radiology means.
_LETTER = r"(?<![^\W_])[^\W\d_](?![^\W_])"
_SPELLED = re.compile(rf"{_LETTER}(?:[\W_]+{_LETTER})+")
_MEANT = re.compile("r[/-]l|l[/-]r|a[/-]p|p[/-]a|h[/-]f|f[/-]h|s[/-]i|i[/-]s|[ctls]([/-][ctls])+|w/o", re.IGNORECASE)
_BESIDE_LEFT_OUT = re.compile(rf"(?:{_LETTER}[\W_]*?)?{LEFT_OUT}(?:[\W_]*{_LETTER})?")
_SEVERAL_LEFT_OUT = re.compile(rf"{LEFT_OUT}(?:[\W_]*{LEFT_OUT})+")
_YEARS = range(1880, 2100)
_LONGEST_NUMBER = 4
# A name with more digits, leading zeros not counted, may be a number of a patient or a birthday.
_MOST_DIGITS = 5
_SHORT = 2  # letters of a word that means something without accents alone
_MOST_LETTERS = 2  # that stand alone between digits, as in `b50f`; more may spell a name


def clean_text(text: str) -> str:
    """Return a free text (SeriesDescription, the name of a segment) with each unknown word replaced by `…`.

    Words of radiology in several languages, short numbers, numbers with units, kernels and single letters stay; letters
    go where they follow each other or stand beside what is left out (`J. Doe`), and so do words in which characters are
    no letters of any language (text of an undeclared character set). With `--show-phi` the text is returned as it is.

    Example:
        >>> clean_text("Thorax Nativ 5.0 B30f, Prof. Miller 12.03.1956")
        'Thorax Nativ 5.0 B30f, …'
    """
    if shows_phi() or not text:
        return text
    composed = unicodedata.normalize("NFC", text)
    shown = _STRETCH.sub(lambda stretch: LEFT_OUT if _FOREIGN.search(stretch[0]) else stretch[0], composed)
    shown = _DATE.sub(LEFT_OUT, shown)
    shown = _TOKEN.sub(lambda token: token[0] if _is_plain(token[0]) else LEFT_OUT, shown)
    shown = _SPELLED.sub(lambda letters: letters[0] if _MEANT.fullmatch(letters[0]) else LEFT_OUT, shown)
    shown = "".join(character if character.isprintable() else " " for character in shown)
    for pattern in (_SEVERAL_LEFT_OUT, _BESIDE_LEFT_OUT, _SEVERAL_LEFT_OUT):
        shown = pattern.sub(LEFT_OUT, shown)
    return shown


def quoted(value: object) -> str:
    """Return a raw header value as a message may hold it: numbers, UIDs and known words; else what kind of text it is.

    Example:
        >>> quoted("MONOCHROME2"), quoted("5.0"), quoted("Doe^Jane")
        ("'MONOCHROME2'", '5.0', 'a text of 8 characters')
    """
    text = str(value)
    if shows_phi():
        return repr(text)
    if _NUMBER.fullmatch(text.strip()) or is_uid(text):
        return text
    if clean_text(text) == text and text.strip():
        return repr(text)
    return f"a text of {len(text)} characters" if text.strip() else "empty"


def clean_quotations(text: str, *values: str) -> str:
    """Return another library's message with the values it quotes, and those given, cleaned.

    Args:
        text: of an error that arose while a header was read.
        values: texts of that header which it may have taken up without quotation marks.
    """
    for value in filter(None, values):
        text = text.replace(value, clean_text(value))
    return _QUOTATION.sub(lambda found: f"{found[1]}{clean_text(found[2])}{found[1]}", text)


def clean_uid(text: str) -> str:
    """Return what an element for UIDs holds as it is; of what is none only how long it is."""
    return (
        text
        if shows_phi() or not text or uid_forms.is_uid(text, _FEWEST_IN_ELEMENT)
        else f"(no UID: {len(text)} characters)"
    )


def is_uid(name: str) -> bool:
    """Whether a text from anywhere is a UID: numbers between dots, too many for a date, at most 64 characters."""
    return uid_forms.is_uid(name, _FEWEST_COMPONENTS)


def is_harmless(name: str) -> bool:
    """Whether the name of a file or folder names nobody: known words, short numbers, or a UID.

    Example:
        >>> [is_harmless(name) for name in ("images", "IM_000041.dcm", "1.2.840.10008.7", "Doe_Jane", "19560312")]
        [True, True, True, False, False]
    """
    stem, _ = split_ending(name)
    if is_uid(stem):
        return True
    if _DATE.search(stem) or _FOREIGN.search(stem) or _SPELLED.search(stem):
        return False
    numbers = [number.lstrip("0") for number in re.findall(r"\d+", stem)]
    if sum(map(len, numbers)) > _MOST_DIGITS or any(len(number) > _LONGEST_NUMBER for number in numbers):
        return False
    words = re.findall(r"[^\W\d_]+", stem)
    return all(map(_is_word, words)) and sum(len(word) == 1 for word in words) <= _MOST_LETTERS


def split_ending(name: str) -> tuple[str, str]:
    """Return a file's name and its ending, `("Doe_Jane", ".nii.gz")`; only known endings are taken for one."""
    return file_kinds.split_ending(name, FILE_ENDINGS)


def _is_plain(token: str) -> bool:
    """Whether a word or number of a free text may stay."""
    if _NUMBER.fullmatch(token):
        return not (token.isdigit() and int(token) in _YEARS)
    if (found := _WITH_UNIT.fullmatch(token)) and found[2].casefold() in UNITS:
        return True
    if (found := _KERNEL.fullmatch(token)) and found[1].casefold() in KERNEL_LETTERS:
        return True
    parts = _PARTS.findall(token)
    if "".join(parts) != token:
        return False
    numbers = [part for part in parts if part.isdigit()]
    words = [part for part in parts if not part.isdigit()]
    short = all(len(number) <= _LONGEST_NUMBER for number in numbers) and sum(map(len, numbers)) <= _MOST_DIGITS
    return short and all(map(_is_word, words)) and sum(len(word) == 1 for word in words) <= _MOST_LETTERS


def _is_word(word: str) -> bool:
    if len(word) <= _SHORT and not word.isascii():  # two bytes of a Korean or Chinese syllable look like letters, too
        return False
    plain = "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    return plain in WORDS or len(plain) == 1
