"""The voxels of a NIfTI file, and no more: what the header promises is checked before anything is inflated."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from monai_vggunet.data.promise import MOST_TIMES_DEFLATED, Promise
from monai_vggunet.dicom.findings import Finding, FindingKind, warning
from monai_vggunet.errors import ImageContentError, ImageReadError
from monai_vggunet.regular_files import read_start

__all__ = ["START_BYTES", "NiftiFile", "doubt_in_nifti", "promised_voxels", "read_nifti_file"]

# Header extensions stand before the voxels; the longest in use, the XML of CIFTI-2, has some megabytes.
LARGEST_OFFSET = 1 << 26

_HEADERS = (Nifti1Header, Nifti2Header)
_BLOCK = 1 << 20  # bytes inflated at once
START_BYTES = 1 << 16  # of a file, in which its header ends, compressed or not


@dataclass(frozen=True)
class NiftiFile:
    """What was read from a file.

    Attributes:
        header: nibabel's, little endian, without the file's extensions.
        array: float32, scaled, of the shape that the header says.
        findings: what a user should know.
    """

    header: Any
    array: np.ndarray
    findings: tuple[Finding, ...]


def read_nifti_file(path: Path, may_be_blank: bool = False) -> NiftiFile:
    """Read a `.nii` or `.nii.gz` file.

    No more is allocated and inflated than the header promises, and only if the file and the memory can hold that much
    and it is plausible for an image. A compressed file's checksum is verified. Extensions of the header are skipped.

    Args:
        path: the file.
        may_be_blank: whether nearly empty content is plausible, as that of a label.

    Raises:
        ImageReadError: not a NIfTI file, truncated, damaged, or with a header that promises the impossible.
        ImageContentError: its values are not scalars.
    """
    try:
        file_bytes = path.stat().st_size
        header = _header_of(path)
        with _opened(path) as stream:
            _require_scalars(header, path.name)
            doubt = _doubt_in(header, file_bytes, _is_compressed(path), may_be_blank)
            if doubt:
                raise ImageReadError(f"{path} {doubt}")
            array = np.asanyarray(ArrayProxy(stream, header), dtype=np.float32)
            more = bool(stream.read(1)) if _is_compressed(path) else file_bytes > _promise_of(header).end
    except (ImageReadError, ImageContentError):
        raise
    except OSError as error:
        if error.errno is None:  # gzip's own, for what it cannot inflate
            raise _damaged(path, error) from error
        raise ImageReadError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # nibabel, gzip and zlib raise all kinds on damaged files
        raise _damaged(path, error) from error
    text = f"{path.name}: there is more data after the voxels that the header promises; it is left out"
    findings = (warning(FindingKind.DATA_LEFT_OUT, text),) if more else ()
    return NiftiFile(header.as_byteswapped("<"), array, findings)


def _damaged(path: Path, error: Exception) -> ImageReadError:
    return ImageReadError(
        f"{path} cannot be read as NIfTI ({type(error).__name__}): a truncated or damaged file; restore it"
    )


def doubt_in_nifti(start: bytes, file_bytes: int, compressed: bool, may_be_blank: bool) -> str:
    """Return why a NIfTI file must not be read; empty if it may be.

    Args:
        start: the file's first bytes, up to `START_BYTES`.
        file_bytes: its size.
        compressed: whether it is called `.nii.gz`.
        may_be_blank: see `Promise.doubt`.
    """
    try:
        return _doubt_in(_header_in(start, compressed), file_bytes, compressed, may_be_blank)
    except Exception:  # nibabel, gzip and zlib raise all kinds on damaged files
        return f"does not begin as a {'compressed ' if compressed else ''}NIfTI file does: restore it"


def promised_voxels(path: Path) -> int:
    """Return how many voxels a file's header promises; 0 if it has no header that could promise any."""
    try:
        return _promise_of(_header_of(path)).voxels
    except Exception:  # the reader says what is wrong with it
        return 0


class _GzipFile(gzip.GzipFile):
    """A gzip file that fills a buffer block by block: Python's own inflates all of it beside the buffer first."""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how many bytes there were."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view):
            block = self.read(min(_BLOCK, len(view) - done))
            if not block:
                break
            view[done : done + len(block)] = block
            done += len(block)
        return done


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _opened(path: Path) -> Any:
    return _GzipFile(path, "rb") if _is_compressed(path) else path.open("rb")


def _header_of(path: Path) -> Any:
    """Return the header that a file begins with, without its extensions.

    No more than the file's start is looked at: behind a short gzip member, Python skips zeros without end.

    Raises:
        ValueError: there is none.
        HeaderDataError: it is damaged.
    """
    return _header_in(read_start(path, START_BYTES), _is_compressed(path))


def _header_in(start: bytes, compressed: bool) -> Any:
    if compressed:
        start = _GzipFile(fileobj=io.BytesIO(start)).read(max(kind.sizeof_hdr for kind in _HEADERS))
    for kind in _HEADERS:
        if kind.may_contain_header(start):
            header = kind(start[: kind.sizeof_hdr])
            stated = kind(start[: kind.sizeof_hdr], check=False)["pixdim"]
            for axis, length in enumerate(header.get_data_shape()[:3], start=1):
                if length > 1 and stated[axis] == 0:  # nibabel puts 1 mm there
                    header["pixdim"][axis] = 0
            return header
    raise ValueError("no header of NIfTI-1 or NIfTI-2")


def _require_scalars(header: Any, name: str) -> None:
    kind = header.get_data_dtype()
    if kind.fields or kind.kind not in "iuf":
        raise ImageContentError(f"{name} holds values of type {kind}; expected numbers, one per voxel")
    if "scl_slope" in header and np.isinf(float(header["scl_slope"])):  # NaN is how nibabel writes "not scaled"
        raise ImageContentError(f"{name} has an infinite scl_slope: a damaged header; restore the file")


def _doubt_in(header: Any, file_bytes: int, compressed: bool, may_be_blank: bool) -> str:
    promise = _promise_of(header)
    if not 0 <= promise.offset <= LARGEST_OFFSET:
        return (
            f"says that its voxels begin at byte {promise.offset:,}; expected one up to {LARGEST_OFFSET:,}: a damaged "
            "header, restore the file"
        )
    return promise.doubt(file_bytes, MOST_TIMES_DEFLATED if compressed else 1, may_be_blank)


def _promise_of(header: Any) -> Promise:
    scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    shape, value_bytes = header.get_data_shape(), header.get_data_dtype().itemsize
    return Promise(tuple(map(int, shape)), value_bytes, int(header.get_data_offset()), scaled)
