"""Files that are either whole or not there: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

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

__all__ = ["atomic_path", "sha256_of_file", "write_json"]

_READ_BLOCK = 1 << 20  # bytes; large enough that hashing is bound by the disk


@contextmanager
def atomic_path(path: str | os.PathLike[str], suffix: str | None = None) -> Iterator[Path]:
    """Give a temporary path in the target's folder; on success it becomes the target, on any error it is removed.

    Args:
        path: the final file. Its folder is made when missing.
        suffix: ending of the temporary name, for writers that look at it (`.nii.gz`); default: the target's.

    Raises:
        OutputWriteError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    ending = "".join(target.suffixes[-2:]) if suffix is None else suffix
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name.split('.')[0]}-", suffix=ending, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise _not_written(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OutputWriteError:  # of a file written on the way to this one: it names that file
        raise
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all; NaN and infinity, which JSON lacks, become null.

    Raises:
        OutputWriteError: the file cannot be written.
    """
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


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
