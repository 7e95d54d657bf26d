"""How much memory this process may still take, checked before anything is read whose size only a header states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_memory", "lack_of_memory"]

# Any machine that runs this has as much: asking would cost more than it tells.
NEGLIGIBLE_BYTES = 1 << 26
GIB = 1 << 30

# Control groups, with which containers and job schedulers limit memory: version 2, then version 1.
_GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_OWN_GROUPS = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Return the bytes that this process may still take: of the machine, of its container, of its own limit.

    Source: Linux' `Documentation/admin-guide/cgroup-v2.rst` (`memory.max`) and `getrlimit(2)` (`RLIMIT_AS`).
    """
    import psutil  # not at the top: reading headers alone never needs it

    bounds = [int(psutil.virtual_memory().available), *_left_in_control_groups(), *_left_of_own_limit()]
    return max(0, min(bounds))


def lack_of_memory(needed_bytes: int) -> str:
    """Return, as text, how much memory is needed and how much is free; empty if it suffices.

    Example:
        >>> lack_of_memory(1000)
        ''
    """
    if needed_bytes <= NEGLIGIBLE_BYTES:
        return ""
    free = available_memory()
    if needed_bytes <= free:
        return ""
    return f"it needs {needed_bytes / GIB:,.1f} GiB of memory, of which {free / GIB:,.1f} GiB are free"


def _left_in_control_groups() -> Iterator[int]:
    """Yield what each control group that this process is in, and each one above it, leaves free."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:  # another system
        return
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        kind = "memory" if "memory" in controllers.split(",") else controllers
        if kind not in _GROUPS:
            continue
        root, limit_file, used_file, reclaimable = _GROUPS[kind]
        group = Path(root, inner.lstrip("/"))
        # Within a container the path may be the host's; then the container's own group stands at the root.
        for folder in (group, *group.parents):
            limit, used = _number(folder / limit_file), _number(folder / used_file)
            if limit is not None and used is not None:
                yield limit - used + _of_statistics(folder / "memory.stat", reclaimable)
            if folder == Path(root):
                break


def _left_of_own_limit() -> Iterator[int]:
    """Yield what is left of the process's address space, if that is limited (`ulimit -v`)."""
    try:
        import resource
    except ImportError:  # another system
        return
    import psutil

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - int(psutil.Process().memory_info().vms)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or `max`
        return None


def _of_statistics(file: Path, name: str) -> int:
    """Return one figure of a control group's statistics: the page cache counts as used, but is given up on demand."""
    try:
        return next((int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == name), 0)
    except (OSError, ValueError, IndexError):
        return 0
