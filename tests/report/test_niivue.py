"""NiiVue is taken only as it was pinned, and its absence is said clearly."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from irregular import IRREGULAR_FILES

from monai_vggunet.errors import ViewerMissingError
from monai_vggunet.report.pages import niivue
from monai_vggunet.report.pages.niivue import fetch_niivue, find_niivue, niivue_notice


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "TEMPLATES", tmp_path / "pages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def package(path: Path, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(niivue.MEMBER)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_without_npm_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert find_niivue() is None
    with pytest.raises(ViewerMissingError, match=r"npm, which is not installed.*pass it as --viewer FILE"):
        fetch_niivue()


def test_what_npm_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path / "bin", monkeypatch, "echo 'no such host' >&2; exit 1")
    with pytest.raises(ViewerMissingError, match="it said: no such host"):
        fetch_niivue()


def test_another_package_than_pinned_is_refused(tmp_path: Path) -> None:
    archive = package(tmp_path / "other.tgz", b"console.log('something else')")
    with pytest.raises(ViewerMissingError, match="its SHA-512 differs from the pinned one"):
        fetch_niivue(archive)
    with pytest.raises(ViewerMissingError, match=r"absent\.tgz \(--viewer\) cannot be read"):
        fetch_niivue(tmp_path / "absent.tgz")
    assert find_niivue() is None


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_package_that_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    IRREGULAR_FILES[kind](tmp_path / "niivue.tgz")
    with pytest.raises(ViewerMissingError, match=r"niivue\.tgz \(--viewer\) is not a regular file"):
        fetch_niivue(tmp_path / "niivue.tgz")


def test_a_package_or_script_without_end_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "MOST_BYTES", 1 << 16)
    (tmp_path / "pages").mkdir()
    for file in (tmp_path / "endless.tgz", tmp_path / "pages" / niivue.NAME):
        file.touch()
        os.truncate(file, 10 << 40)
    with pytest.raises(ViewerMissingError, match="its SHA-512 differs from the pinned one"):
        fetch_niivue(tmp_path / "endless.tgz")
    assert find_niivue() is None


def test_a_damaged_script_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / niivue.NAME).write_text("cut off")
    assert find_niivue() is None


@pytest.mark.parametrize("writable", [True, False])
def test_the_pinned_package_lands_where_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    """With a package of ours in place of the real one: its hashes are pinned for the while."""
    import base64
    import hashlib

    script = b"the viewer"
    archive = package(tmp_path / "own.tgz", script)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    monkeypatch.setattr(niivue, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setattr(niivue, "SCRIPT_SHA256", hashlib.sha256(script).hexdigest())
    if not writable:  # a file where the folder should be: root may write into any folder
        (tmp_path / "pages").write_text("")
    fake_npm(
        tmp_path / "bin", monkeypatch, f'while [ "$1" != --pack-destination ]; do shift; done; cp {archive} "$2"/a.tgz'
    )
    found = fetch_niivue()
    assert found == find_niivue()
    assert found.is_relative_to(tmp_path / ("pages" if writable else "cache"))
    assert found.read_bytes() == script


def test_the_licence_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert "BSD 2-Clause License" in niivue_notice()
    assert "Copyright (c) 2021, Niivue" in niivue_notice()
