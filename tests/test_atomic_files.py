from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monai_vggunet import atomic_files as files
from monai_vggunet.atomic_files import (
    atomic_path,
    remove_stale_temporaries,
    sha256_of_file,
    sha256_of_input,
    write_json,
)
from monai_vggunet.errors import OutputWriteError


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


@pytest.mark.parametrize(("name", "ending"), [("mask.nii.gz", ".nii.gz"), ("model.onnx", ".onnx")])
def test_the_temporary_name_has_the_endings_that_writers_look_at(tmp_path: Path, name: str, ending: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name.endswith(ending)
    assert [p.name for p in tmp_path.iterdir()] == [name]


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


def test_a_sparse_file_without_end_is_not_hashed_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a header")
    assert sha256_of_input(path) == sha256_of_file(path)
    os.truncate(path, 10 << 40)
    with pytest.raises(OSError, match="File too large"):
        sha256_of_file(path)
    digests = [sha256_of_input(path), sha256_of_input(path)]
    os.utime(path, ns=(0, 1))
    digests.append(sha256_of_input(path))
    os.truncate(path, 9 << 40)
    os.utime(path, ns=(0, 1))
    digests.append(sha256_of_input(path))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


WRITER = """
import sys
from monai_vggunet.atomic_files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of the ne")
    print(temporary, flush=True)
    sys.stdin.read()
"""


@contextmanager
def writing(target: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process in the middle of writing a file, and its temporary path."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["model.pt", "mask.nii.gz", "history.json"])
def test_temporary_file_of_a_killed_process_goes_when_the_file_is_written_again(tmp_path: Path, name: str) -> None:
    with writing(tmp_path / name) as (process, temporary):
        process.send_signal(signal.SIGKILL)
    assert temporary.is_file()
    with atomic_path(tmp_path / name) as again:
        assert sorted(tmp_path.iterdir()) == [again]
        again.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_temporary_file_of_a_living_process_stays(tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    with writing(target) as (process, temporary):
        remove_stale_temporaries(target)
        with atomic_path(target) as other:
            other.write_bytes(b"ours")
        assert temporary.is_file()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert target.read_bytes() == b"half of the ne"
    assert list(tmp_path.iterdir()) == [target]


def test_only_the_files_own_temporary_names_are_stale(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("model-1.pt", ".model.pt", ".model-1.json", ".models-1.pt", "model.pt")]
    for path in [*kept, tmp_path / ".model-abcdefgh.pt"]:
        path.write_bytes(b"")
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / ".model-link.pt").symlink_to(tmp_path / "elsewhere")
    remove_stale_temporaries(tmp_path / "model.pt")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "elsewhere", tmp_path / ".model-link.pt"])
    remove_stale_temporaries(tmp_path / "missing" / "model.pt")


def test_temporary_file_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its locking another process can take it for a killed one's."""
    lock, taken = files._lock, []

    def taken_first(handle: int) -> bool:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return lock(handle)

    monkeypatch.setattr(files, "_lock", taken_first)
    with atomic_path(tmp_path / "model.pt") as temporary:
        assert temporary.is_file()
        assert temporary not in taken
        temporary.write_bytes(b"whole")
    assert (tmp_path / "model.pt").read_bytes() == b"whole"


def test_without_locks_nothing_is_taken_for_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / ".model-abcdefgh.pt").write_bytes(b"")
    with atomic_path(tmp_path / "model.pt") as temporary:
        temporary.write_bytes(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model-abcdefgh.pt", "model.pt"]
