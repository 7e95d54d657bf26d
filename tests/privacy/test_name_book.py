"""Pseudonyms stay the same in one folder, and the list of what they stand for is whole, private and never lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
from pathlib import Path

import pytest

from monai_vggunet.errors import ConfigurationError, OutputWriteError
from monai_vggunet.privacy import NAMES, book, keep_names, name_book
from monai_vggunet.privacy.name_book import NameBook


def _listed(folder: Path) -> dict[str, dict[str, str]]:
    return json.loads((folder / NAMES).read_text(encoding="utf-8"))["names"]


def test_a_pseudonym_is_the_same_in_later_runs_and_another_elsewhere(tmp_path: Path) -> None:
    first = NameBook(tmp_path / NAMES)
    name = first.pseudonym("Doe_Jane")
    first.save()
    assert re.fullmatch("case-[0-9a-f]{8}", name)
    assert NameBook(tmp_path / NAMES).pseudonym("Doe_Jane") == name
    assert NameBook(tmp_path / "other" / NAMES).pseudonym("Doe_Jane") != name
    assert NameBook(tmp_path / "third" / NAMES, like=tmp_path / NAMES).pseudonym("Doe_Jane") == name


def test_files_keep_their_endings_and_uids_their_numbers() -> None:
    names = NameBook()
    digits = names.pseudonym("Doe").partition("-")[2]
    assert names.pseudonym("Doe.nii.gz", "file") == f"file-{digits}.nii.gz"
    assert names.pseudonym("1.2.840.10008.1.2") == "1.2.840.10008.1.2"


def test_a_list_of_uids_alone_can_be_read_again(tmp_path: Path) -> None:
    """They need no pseudonym, but where they lie is noted."""
    names = NameBook(tmp_path / NAMES)
    names.note("1.2.840.10008.1.2", input="a")
    names.save()
    later = NameBook(tmp_path / NAMES)
    assert later.pseudonym("Doe") == names.pseudonym("Doe")
    assert later.name_of("1.2.840.10008.1.2") == "1.2.840.10008.1.2"


def test_the_list_says_what_each_stands_for(tmp_path: Path) -> None:
    names = keep_names(tmp_path)
    text = names.pseudonym("Doe\udce9")  # a byte that is not UTF-8
    names.note("Doe\udce9", input="Doe\udce9.nii.gz", description="")
    names.note("Doe\udce9", description="Thorax")
    names.save()
    assert _listed(tmp_path)[text] == {"name": "Doe\udce9", "input": "Doe\udce9.nii.gz", "description": "Thorax"}
    assert NameBook(tmp_path / NAMES).name_of(text) == "Doe\udce9"
    assert names.name_of("case-00000000") is None


def test_the_list_is_the_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    replace = os.replace

    def seen(source: str, target: str) -> None:
        modes.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr("os.replace", seen)
    former = os.umask(0)
    try:
        keep_names(tmp_path / "out").pseudonym("Doe")
        book().save()
    finally:
        os.umask(former)
    assert set(modes) == {0o600}
    assert stat.S_IMODE((tmp_path / "out" / NAMES).stat().st_mode) == 0o600


def _add(folder: Path, number: int) -> None:
    names = NameBook(folder / NAMES)
    for k in range(20):
        names.pseudonym(f"Doe {number} {k}")
        names.save()


def test_several_processes_lose_nothing_and_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(tmp_path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    whole = NameBook(tmp_path / NAMES)
    assert len(_listed(tmp_path)) == 80
    for number in range(4):
        assert all(whole.pseudonym(f"Doe {number} {k}") in _listed(tmp_path) for k in range(20))


def test_two_names_never_share_a_pseudonym(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.privacy.name_book.FEWEST_DIGITS", 1)
    names = NameBook()
    texts = [names.pseudonym(f"Doe {number}") for number in range(50)]
    assert len(set(texts)) == 50
    assert [names.name_of(text) for text in texts] == [f"Doe {number}" for number in range(50)]


SALT = "00" * name_book.SALT_BYTES


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        "[" * 100_000,
        f'{{"salt": "{"xy" * name_book.SALT_BYTES}", "names": {{}}}}',
        '{"salt": "", "names": {}}',
        f'{{"salt": "{SALT[2:]}", "names": {{}}}}',
        f'{{"salt": "{SALT}", "names": []}}',
        f'{{"salt": "{SALT}", "names": {{"a": 1}}}}',
        f'{{"salt": "{SALT}", "names": {{"a": {{}}}}}}',
        f'{{"salt": "{SALT}", "names": {{"a": {{"name": 1}}}}}}',
        f'{{"salt": "{SALT}", "salt": "{SALT}", "names": {{}}}}',
    ],
    ids=range(11),
)
def test_a_damaged_list_is_refused_and_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / NAMES).write_text(content)
    with pytest.raises(ConfigurationError, match=r"names\.json is damaged .*restore it, or move it away"):
        keep_names(tmp_path)
    assert (tmp_path / NAMES).read_text() == content


def test_what_cannot_be_written_is_told_when_names_are_saved(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    names = keep_names(tmp_path / "out")
    assert names.pseudonym("Doe").startswith("case-")
    with pytest.raises(OutputWriteError, match="cannot write"):
        names.save()


def test_a_list_of_another_user_stays_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_names(tmp_path).pseudonym("Doe")
    book().save()
    before = (tmp_path / NAMES).read_bytes()

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(name_book, "read_json", denied)
        theirs = NameBook(tmp_path / NAMES)
    assert theirs.pseudonym("Smith").startswith("case-")
    theirs.save()
    assert (tmp_path / NAMES).read_bytes() == before
