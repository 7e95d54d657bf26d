"""Pseudonyms, and the list kept locally in which a user finds the study behind one: `names.json`."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from monai_vggunet.atomic_files import PRIVATE, write_json
from monai_vggunet.errors import ConfigurationError, OutputWriteError
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import NAMES
from monai_vggunet.names import readable
from monai_vggunet.privacy.free_text import is_uid, split_ending
from monai_vggunet.privacy.setting import shows_phi

__all__ = ["NAMES", "NameBook", "book", "keep_names", "write_down"]

ABOUT = (
    "What each pseudonym in logs, records and reports stands for. This list names patients' files and folders: "
    "keep it to yourself."
)
SALT_BYTES = 32
MOST_BYTES = 1 << 28  # of the list; a case takes some hundred, and an archive may have a million
FEWEST_DIGITS, MORE_DIGITS = 8, 4  # of a pseudonym, hexadecimal; more where two names would share it
CASE, FILE, FOLDER, TEXT = "case", "file", "folder", "text"

_log = logging.getLogger(__name__)


class NameBook:
    """The pseudonyms of one results' folder, made with its own secret salt: the same name keeps its pseudonym there.

    Several processes may write the same list: they agree on its salt first, and each adds its names to what is there.

    Args:
        file: the list; it is made, readable by its owner alone, with the first pseudonym. None keeps it in memory.
        like: a list whose salt a new one takes over, so that names have the same pseudonyms in both.

    Raises:
        ConfigurationError: the list is damaged: a new one would give other pseudonyms than the records beside it hold.
    """

    def __init__(self, file: Path | None = None, like: Path | None = None) -> None:
        self.file = file
        self._names: dict[str, dict[str, Any]] = {}
        self._salt, self._unsaved = b"", False
        self._lock = threading.RLock()
        try:
            self._read()
            self._begin_with = _salt_of(_content(like)) or secrets.token_bytes(SALT_BYTES)
        except PermissionError:  # of another user: records keep their pseudonyms, new ones are this process's own
            self.file, self._begin_with = None, secrets.token_bytes(SALT_BYTES)

    def pseudonym(self, name: str, kind: str = CASE) -> str:
        """Return what stands for a name: `case-3f9a1c20`; a file keeps its ending, and a UID stands for itself.

        A name that is not UTF-8 has one pseudonym, be it as Python has it or as `readable` writes it.

        Args:
            name: of a case, a file or a folder, or a text that a user typed.
            kind: `case`, `file`, `folder` or `text`.
        """
        stem, ending = split_ending(name) if kind == FILE else (name, "")
        if is_uid(stem):
            return name
        with self._lock:
            if not self._salt:
                self._settle()
            digits = hmac.new(self._salt, readable(stem).encode(), hashlib.sha256).hexdigest()
            for length in range(FEWEST_DIGITS, len(digits), MORE_DIGITS):
                text = f"{kind}-{digits[:length]}"
                if text not in self._names:
                    self._names[text] = {"name": stem}
                    self._unsaved = True
                if readable(self._names[text]["name"]) == readable(stem):
                    return text + ending
        raise AssertionError("two names with the same SHA-256")

    def note(self, name: str, **details: str) -> None:
        """Write down more about a name: where it lies, how its series is described. With `--show-phi` nothing is."""
        if shows_phi():
            return
        with self._lock:
            entry = self._names.setdefault(self.pseudonym(name), {"name": name})
            known = {key: value for key, value in details.items() if value}
            self._unsaved |= any(entry.get(key) != value for key, value in known.items())
            entry.update(known)

    def name_of(self, pseudonym: str) -> str | None:
        """Return the name, without a file's ending, that a pseudonym stands for; None if it is not known here."""
        entry = self._names.get(pseudonym)
        return None if entry is None else str(entry["name"])

    def save(self) -> None:
        """Add what is new to the list on disk.

        Raises:
            OutputWriteError: it cannot be written.
        """
        with self._lock:
            if self.file is not None and self._unsaved:
                if not self._salt:  # names that are UIDs needed none
                    self._settle()
                with _locked(self.file.parent):
                    self._read()
                    self._write()
                self._unsaved = False

    def _settle(self) -> None:
        """Agree on the salt, before it is first used, with whoever else begins the same list."""
        with suppress(OutputWriteError):  # it is told of when names are saved
            if self.file is not None:
                with _locked(self.file.parent):
                    self._read()
                    if not self._salt:
                        self._salt = self._begin_with
                        self._write()
        self._salt = self._salt or self._begin_with

    def _read(self) -> None:
        """Take over what the list holds: another process may have begun or lengthened it."""
        content = _content(self.file)
        if content:
            self._salt = self._salt or _salt_of(content)
            for text, entry in content["names"].items():
                self._names[text] = {**entry, **self._names.get(text, {})}

    def _write(self) -> None:
        assert self.file is not None
        write_json(self.file, {"about": ABOUT, "salt": self._salt.hex(), "names": self._names}, PRIVATE)

    def after_fork(self) -> None:
        """Forget a lock that another thread of the parent process may have held."""
        self._lock = threading.RLock()


def keep_names(folder: str | os.PathLike[str], like: str | os.PathLike[str] | None = None) -> NameBook:
    """Keep the pseudonyms of this process from now on in a folder's `names.json`.

    Args:
        folder: of the results.
        like: another folder, whose salt a new list takes over.

    Raises:
        ConfigurationError: a list is damaged.
    """
    global _book
    file = Path(folder).resolve() / NAMES
    if _book.file != file:
        _book = NameBook(file, None if like is None else Path(like) / NAMES)
    return _book


def book() -> NameBook:
    """Return the pseudonyms of this process; they are in memory alone until `keep_names` is called."""
    return _book


def write_down(cases: Iterable[tuple[str, str]]) -> None:
    """Write down the pseudonyms of cases with where they lie: name and path of each.

    A list that cannot be written stops nothing; the log tells of it.
    """
    for name, path in cases:
        _book.note(name, input=path)
    try:
        _book.save()
    except OutputWriteError as error:
        _log.warning("pseudonyms of this run cannot be looked up later: %s", error)


def _content(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = read_json(file, MOST_BYTES)
        if len(bytes.fromhex(content["salt"])) != SALT_BYTES:
            raise ValueError("a salt of another length")
        entries = content["names"].values()
        if not all(isinstance(entry, Mapping) and isinstance(entry.get("name"), str) for entry in entries):
            raise ValueError("an entry without a name")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{file} is damaged ({type(error).__name__}); expected the list of pseudonyms as it was written: restore "
            "it, or move it away, and new pseudonyms are made"
        ) from None
    return dict(content)


def _salt_of(content: Mapping[str, Any]) -> bytes:
    return bytes.fromhex(content.get("salt", ""))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder while its list is read and written; where the file system knows no locks, go on without."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    handle = None
    try:
        try:
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield
    finally:
        if handle is not None:
            os.close(handle)


_book = NameBook()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _book.after_fork())
