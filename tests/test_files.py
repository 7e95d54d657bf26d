from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monai_vggunet.errors import OutputWriteError
from monai_vggunet.files import atomic_path, sha256_of_file, write_json


@contextmanager
def small_files_only() -> Iterator[None]:
    """Let the system refuse every byte of a file after the first 4096, as a full disk does.

    For as short as can be: the limit holds for all of the process, the file that takes pytest's own output included.
    """
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def write_half(target: Path, error: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"half of the ne")
        raise error


def test_file_appears_under_its_name_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "mask.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert [p.name for p in target.parent.iterdir()] == ["mask.nii.gz"]


def test_suffix_of_the_temporary_name_can_be_chosen(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.pt", suffix=".onnx") as temporary:
        assert temporary.suffix == ".onnx"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_file_gets_the_mode_of_an_ordinary_file(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt("stopped")], ids=["error", "ctrl-c"])
def test_error_leaves_the_former_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "model.pt"
    target.write_bytes(b"former")
    with pytest.raises(type(error), match=str(error)):
        write_half(target, error)
    assert target.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [target]


def test_write_that_the_disk_refuses_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "mask.nii"
    with (
        pytest.raises(OutputWriteError, match=r"cannot write .*mask\.nii: File too large; nothing was left"),
        small_files_only(),
        atomic_path(target) as temporary,
    ):
        temporary.write_bytes(bytes(10_000))
    assert list(tmp_path.iterdir()) == []


def test_disk_found_full_at_the_end_is_an_error_that_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:  # file systems that allocate late report it here
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_json(tmp_path / "a.json", [1])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputWriteError, match=r"No space left on device; nothing was left .* Free disk space"):
        write_json(tmp_path / "a.json", [2])
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputWriteError, match=r"cannot write .*file/sub/a\.json.* choose a folder"):
        write_json(tmp_path / "file" / "sub" / "a.json", {})


def test_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputWriteError, match="Is a directory"):
        write_json(tmp_path / "a.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody may write to")
def test_read_only_folder_is_an_error() -> None:
    with pytest.raises(OutputWriteError, match=r"cannot write /proc/out/a\.json"):
        write_json("/proc/out/a.json", {})


def test_error_of_an_inner_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with (
        pytest.raises(OutputWriteError, match=r"cannot write .*inner: Is a directory"),
        atomic_path(tmp_path / "outer"),
    ):
        write_json(tmp_path / "inner", {})
    assert not (tmp_path / "outer").exists()


def test_json_is_readable_text_that_reads_back(tmp_path: Path) -> None:
    content = {"name": "Körper", "sizes": [1, 2.5], "none": None}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Körper" in text
    assert text.endswith("}\n")
    assert json.loads(text) == content


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"dice": [float("nan"), 0.5], "hd95": (float("inf"),)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"dice": [None, 0.5], "hd95": [None]}


def test_content_that_is_no_json_leaves_the_former_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


def test_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)  # several blocks
    (tmp_path / "a").write_bytes(content)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
