from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from monai_vggunet import memory
from monai_vggunet.memory import available_memory, lack_of_memory

GIB = 1 << 30


def machine_with(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": free}))


def container(
    monkeypatch: pytest.MonkeyPatch, root: Path, version: int, groups: dict[str, tuple[str, str, str]]
) -> None:
    """Make control groups: their paths with what they say of limit, use and statistics."""
    kind = "" if version == 2 else "memory"
    _, limit_file, used_file, _ = memory._GROUPS[kind]
    monkeypatch.setitem(memory._GROUPS, kind, (str(root), *memory._GROUPS[kind][1:]))
    for group, (limit, used, statistics) in groups.items():
        folder = root / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((limit_file, limit), (used_file, used), ("memory.stat", statistics)):
            (folder / name).write_text(text + "\n")
    own = root / "own"
    own.write_text({2: "0::/jobs/mine\n", 1: "5:cpu,cpuacct:/x\n4:memory:/jobs/mine\n0::/\n"}[version])
    monkeypatch.setattr(memory, "_OWN_GROUPS", own)


def test_the_machine_bounds_what_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(monkeypatch, 3 * GIB)
    monkeypatch.setattr(memory, "_OWN_GROUPS", Path("/nowhere"))
    assert available_memory() == 3 * GIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_bounds_it_further(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int) -> None:
    machine_with(monkeypatch, 100 * GIB)
    statistics = f"anon 5\n{'total_' if version == 1 else ''}inactive_file {GIB}"
    container(monkeypatch, tmp_path, version, {"jobs/mine": (str(4 * GIB), str(2 * GIB), statistics)})
    assert available_memory() == 3 * GIB  # what the page cache holds is given up when it is needed


def test_a_group_above_bounds_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_with(monkeypatch, 100 * GIB)
    groups = {"jobs": (str(2 * GIB), "0", ""), "jobs/mine": ("max", "0", "")}
    container(monkeypatch, tmp_path, 2, groups)
    assert available_memory() == 2 * GIB


def test_within_a_container_its_own_group_stands_at_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_with(monkeypatch, 100 * GIB)
    container(monkeypatch, tmp_path, 2, {"": (str(GIB), "0", "")})
    assert available_memory() == GIB


def test_a_group_that_holds_more_than_its_limit_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine_with(monkeypatch, 100 * GIB)
    container(monkeypatch, tmp_path, 2, {"jobs/mine": ("5", "9", "")})
    assert available_memory() == 0


def test_the_process_own_limit_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from monai_vggunet.memory import available_memory; print(available_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < GIB


def test_what_is_lacking_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: GIB)
    assert lack_of_memory(GIB) == ""
    assert lack_of_memory(3 * GIB) == "it needs 3.0 GiB of memory, of which 1.0 GiB are free"


def test_little_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: pytest.fail("asked"))
    assert lack_of_memory(1000) == ""
