"""The names of a user's files and folders, found again in any text and replaced by their pseudonyms."""

from __future__ import annotations

import html
import json
import os
import re
import threading
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

from monai_vggunet.case_path import case_path_of
from monai_vggunet.errors import OutputWriteError
from monai_vggunet.folder_walk import walk
from monai_vggunet.names import readable
from monai_vggunet.privacy.free_text import is_harmless, is_uid, split_ending
from monai_vggunet.privacy.name_book import CASE, FILE, FOLDER, TEXT, book
from monai_vggunet.privacy.setting import shows_phi

__all__ = [
    "KnownNames",
    "has_form_of_pseudonym",
    "is_pseudonym",
    "know_cases",
    "know_input",
    "know_listed",
    "know_names",
    "know_tree",
    "redact",
    "reveal",
    "shown_case",
    "written_forms",
]

_WORD = re.compile(r"(?:[^\W_]|[\udc80-\udcff])+")  # with the bytes of a name that are not UTF-8 (PEP 383)
_PSEUDONYM = re.compile(rf"\b(?:{CASE}|{FILE}|{FOLDER}|{TEXT})-[0-9a-f]{{8,}}\b")
_QUOTES = ("'", '"', "`")
# Where a part of a path ends that was not there when the folder was looked through.
_ENDS_PATH = r"/\s'\"`:;,()<>"
_WHOLE_PART = re.compile(rf"[{_ENDS_PATH}.]|$")


class KnownNames:
    """Names, and the paths they stand in, with a quick search for all of them at once.

    A text is searched word by word: a name's first word leads to the lengths that names with this word have, and each
    such stretch of the text is looked up. So the time depends on the text, not on how many names are known.
    """

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, str]] = {}  # as it may be written -> name, kind
        self._roots: dict[str, str] = {}  # path of an input, as it may be written -> its last part
        self._shapes: dict[str, tuple[tuple[int, int], ...]] = {}  # first word -> its place and the length, of names
        self._lock = threading.Lock()

    def add(self, names: Iterable[str], kind: str) -> None:
        """Learn names, without the endings of files; those that name nobody (`images`, `IM_0001`) are left alone.

        A case is called after its file or folder, made readable: what is known in one of both forms is known in both.
        """
        for name in names:
            if name and not is_harmless(name):
                plain = split_ending(name)[0] if kind == FILE else name
                known = self._names.get(readable(plain))
                entry = known if known and kind != CASE else (plain, kind)
                for written in written_forms(plain) | (written_forms(known[0]) if known else set()):
                    if kind == CASE or written not in self._names:
                        self._names[written] = entry
                        self._add_shape(written)

    def add_root(self, path: str | os.PathLike[str]) -> None:
        """Learn the path of an input, as it is typed and as it is resolved: it is replaced as a whole."""
        typed = str(path)
        paths = {typed, typed.rstrip("/"), str(Path(typed))}
        with suppress(OSError, RuntimeError):
            plain = Path(typed).expanduser()
            paths |= {str(plain), str(plain.absolute()), str(plain.resolve())}
        for one in paths:
            if "/" not in one:
                self.add({one} - {".", ".."}, FOLDER)
                continue
            for written in written_forms(one) if Path(one).name else ():
                self._roots[written] = Path(one).name
                self._add_shape(written)

    def redact(self, text: str) -> str:
        """Return a text with every known name replaced by its pseudonym."""
        parts: list[str] = []
        done = 0
        for word in _WORD.finditer(text) if self._shapes else ():
            start, written = self._longest(text, word, done) if word.start() >= done else (0, "")
            if written:
                shown, end = self._shown(written), start + len(written)
                if written in self._roots:
                    shown, end = self._along(text, text[start - 1 : start], shown, end)
                parts += [text[done:start], shown]
                done = end
        return "".join([*parts, text[done:]])

    def after_fork(self) -> None:
        """Forget a lock that another thread of the parent process may have held."""
        self._lock = threading.Lock()

    def _longest(self, text: str, word: re.Match[str], done: int) -> tuple[int, str]:
        """Return where the longest known name begins that has its first word here, not before `done`; and that name."""
        for offset, length in self._shapes.get(word[0], ()):
            start, end = word.start() - offset, word.start() - offset + length
            written = text[start:end] if start >= done else ""
            before, after = text[start - 1 : start] if start else "", text[end : end + 1]
            if written in self._roots:
                stands_alone = not (before.isalnum() or after.isalnum() or before in ("/", "_") or after in ("_", "-"))
            else:
                stands_alone = written in self._names and not (written[-1].isalnum() and after.isalnum())
            if stands_alone:
                return start, written
        return 0, ""

    def _along(self, text: str, before: str, shown: str, end: int) -> tuple[str, int]:
        """Follow a path below an input; return what is shown of it, and where it ends."""
        while text[end : end + 1] == "/":
            end += 1
            word = _WORD.search(text, end)
            start, part = self._longest(text, word, end) if word else (0, "")
            if not part or start != end or not _WHOLE_PART.match(text, end + len(part)):
                quote = before if before in _QUOTES and before in text[end:] else ""
                found = re.compile(rf"[^/{quote}]+" if quote else rf"[^{_ENDS_PATH}]+").match(text, end)
                part = found[0] if found else ""
            shown, end = f"{shown}/{self._shown(part)}", end + len(part)
        return shown, end

    def _shown(self, written: str) -> str:
        if written in self._roots:
            return f"…/{self._shown(self._roots[written])}"
        stem, ending = (written, "") if written in self._names else split_ending(written)
        if stem in self._names:
            return book().pseudonym(*self._names[stem]) + ending
        return written if is_harmless(written) else book().pseudonym(written, FILE)

    def _add_shape(self, written: str) -> None:
        word = _WORD.search(written)
        if word is not None:
            shape = (word.start(), len(written))
            with self._lock:
                shapes = self._shapes.get(word[0], ())
                if shape not in shapes:  # the longest first
                    self._shapes[word[0]] = tuple(sorted({*shapes, shape}, key=lambda one: -one[1]))


def know_input(path: str | os.PathLike[str]) -> None:
    """Learn the path a user names, before anything is looked at below it."""
    if not shows_phi():
        _known.add_root(path)


def know_tree(root: str | os.PathLike[str]) -> None:
    """Learn the path of an input, and the name of every file and folder below it."""
    if shows_phi():
        return
    _known.add_root(root)
    _known.add([Path(root).name], FOLDER if os.path.isdir(root) else FILE)
    for _, folders, files in walk(root):
        _known.add(folders, FOLDER)
        _known.add(files, FILE)


def know_cases(names: Iterable[str]) -> None:
    """Learn the names of cases: they win over the files and folders of the same name."""
    if not shows_phi():
        _known.add(names, CASE)


def know_names(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Learn files and folders that a list names, wherever they lie and whatever lies in them."""
    if shows_phi():
        return
    listed = [Path(path) for path in paths]
    _known.add((path.name for path in listed), FILE)
    for folder in {path.parent for path in listed}:
        _known.add_root(folder)
        _known.add([folder.name], FOLDER)
    for path in filter(os.path.isdir, listed):
        know_tree(path)
    for case in filter(None, map(case_path_of, listed)):
        for folder in case.folders:
            know_tree(folder)


def know_listed(cases: Iterable[Mapping[str, str]]) -> None:
    """Learn cases as a list of them has them: their names, and their images and labels, wherever these lie."""
    listed = list(cases)
    know_cases(case["case"] for case in listed)
    know_names(case[key] for case in listed for key in ("image", "label") if key in case)


def redact(text: str) -> str:
    """Return a text as logs, records and pages may hold it: with pseudonyms for what the user's files are called."""
    if shows_phi():
        return text
    shown = _known.redact(text).replace(f"{CASE} {CASE}-", f"{CASE}-")
    with suppress(OutputWriteError):  # the text is private all the same; who begins a run is told
        book().save()
    return shown


def reveal(text: str) -> str:
    """Return a text with the names that its pseudonyms stand for, as far as they are known here."""
    return _PSEUDONYM.sub(lambda found: book().name_of(found[0]) or found[0], text)


def shown_case(name: str) -> str:
    """Return what a case is called in logs, records and reports: its pseudonym; with `--show-phi` its name.

    The folder of its results keeps the case's own name.
    """
    if shows_phi():
        return name
    return name if is_pseudonym(name) else book().pseudonym(name)


def is_pseudonym(name: str) -> bool:
    """Whether a text is a pseudonym of this process's list, or a UID, which stands for itself."""
    return is_uid(name) or book().name_of(name) is not None


def has_form_of_pseudonym(name: str) -> bool:
    """Whether a text may be a pseudonym, of whatever list; folders may be called so too (`case-19560312`)."""
    return is_uid(name) or _PSEUDONYM.fullmatch(name) is not None


def written_forms(name: str) -> set[str]:
    """Return the ways in which a message may write a name.

    As it is, with composed or decomposed letters; escaped as in Python, as text or bytes, as in JSON, HTML or a URL.
    """
    escaped = name.encode("unicode_escape").decode("ascii")
    urls = {each(name, safe=safe, errors="surrogateescape") for each in (quote, quote_plus) for safe in ("/", "!'()*")}
    forms = {name, readable(name), repr(name)[1:-1], escaped, json.dumps(name)[1:-1], html.escape(name), *urls}
    if not name.isascii():
        forms |= {unicodedata.normalize(kind, name) for kind in ("NFC", "NFD")}
        with suppress(UnicodeEncodeError):  # half of a surrogate pair, which no file's name holds
            forms.add(repr(os.fsencode(name))[2:-1])
    return forms


_known = KnownNames()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _known.after_fork())
