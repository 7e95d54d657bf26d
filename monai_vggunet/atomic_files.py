"""Files that are either whole or not there: written to a temporary name beside the target, then renamed.

The process that writes a temporary file locks it. The lock ends with the process, however that ends, so the leftovers
of a killed process can be told from files that are being written. They go when the same file is written again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from monai_vggunet.errors import OutputWriteError
from monai_vggunet.regular_files import open_regular, read_start
from monai_vggunet.stopping import at_forced_end

try:
    import fcntl
except ImportError:  # Windows has no such locks: temporary files of killed processes stay there
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "PRIVATE",
    "atomic_path",
    "remove_stale_temporaries",
    "sha256_of_file",
    "sha256_of_input",
    "write_json",
]

PRIVATE = 0o600  # mode of a file that its owner alone may read
_READ_BLOCK = 1 << 20  # bytes; large enough that hashing is bound by the disk
# A sparse file may claim any size. Hashing takes minutes up to the first figure, which nothing of ours comes near, and
# seconds up to the second, which few images exceed.
_MOST_HASHED = 1 << 36
_MOST_HASHED_OF_INPUT = 1 << 32
# Characters of the target's name in the temporary one: together they must fit into a file name's 255 bytes.
_LONGEST_PREFIX, _LONGEST_ENDING = 40, 16


@contextmanager
def atomic_path(path: str | os.PathLike[str], mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it becomes the target, on any error it is removed.

    A temporary file of the same target that a killed process left is removed first.

    Args:
        path: the final file. Its folder is made when missing.
        mode: the file's permissions, such as `PRIVATE`, from the moment it is made; None leaves them to the process's
            file mode mask.

    Raises:
        OutputWriteError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(target)
        handle, temporary = _locked_temporary(target)
    except OSError as error:
        raise _not_written(target, error) from error
    no_longer = at_forced_end(lambda: temporary.unlink(missing_ok=True))
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
        os.replace(temporary, target)
    except OutputWriteError:  # raised for a file written on the way to this one: it names that file
        raise
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
        no_longer()
        os.close(handle)  # and with it the lock


def remove_stale_temporaries(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes left of a file; those being written now stay."""
    target = Path(path)
    beginning, ending = _temporary_name(target)
    if not target.parent.is_dir():
        return
    with os.scandir(target.parent) as entries:
        left = [e.path for e in entries if e.name.startswith(beginning) and e.name.endswith(ending)]
    for name in left:
        with suppress(OSError), open_regular(name, follow_link=False) as file:  # another user's, or gone meanwhile
            if _lock(file.fileno()):
                os.unlink(name)


def write_json(path: str | os.PathLike[str], content: Any, mode: int | None = None) -> None:
    r"""Write `content` as indented JSON, whole or not at all; NaN and infinity, which JSON lacks, become null.

    The file is UTF-8. A byte of a path that is not UTF-8 (PEP 383) is escaped as in JSON, `\udce9`, and restored when
    the file is read.

    Args:
        path: the file.
        content: anything that `json` can write.
        mode: see `atomic_path`.

    Raises:
        OutputWriteError: the file cannot be written.
    """
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 as 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read, is not a regular file, or is larger than any that this package reads whole.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_HASHED:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
        while block := file.read(_READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_input(path: str | os.PathLike[str]) -> str:
    """Return a SHA-256 that tells a user's file from others: of its content, unless that is very long.

    Of a very long file, the first bytes count, with its size and the time of its last change: a copy may then count as
    another file, and a changed one as the same only if its size and time are kept.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    status = os.stat(path)
    if status.st_size <= _MOST_HASHED_OF_INPUT:
        return sha256_of_file(path)
    digest = hashlib.sha256(read_start(path, _READ_BLOCK))
    digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _temporary_name(target: Path) -> tuple[str, str]:
    """Return the beginning and the ending of the temporary names of a file."""
    ending = "".join(target.suffixes[-2:])[-_LONGEST_ENDING:]  # writers look at it: `.nii.gz`
    return f".{target.name.split('.')[0][:_LONGEST_PREFIX]}-", ending


def _locked_temporary(target: Path) -> tuple[int, Path]:
    """Make a temporary file and lock it; return the descriptor that holds the lock, and the path."""
    beginning, ending = _temporary_name(target)
    while True:
        handle, name = tempfile.mkstemp(prefix=beginning, suffix=ending, dir=target.parent)
        _lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # before it was locked, another process took the file for a leftover


def _lock(handle: int) -> bool:
    """Lock a file for as long as it is open; False when another process holds its lock, or there are no locks here."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _umask() -> int:
    """Return the process's file mode mask (it can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _not_written(target: Path, error: OSError) -> OutputWriteError:
    return OutputWriteError(
        f"cannot write {target}: {error.strerror or error}; nothing was left under that name. "
        "Free disk space, or choose a folder that you may write to"
    )
