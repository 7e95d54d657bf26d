"""The errors this package raises: each refines a built-in kind, so a caller can tell a refusal from a crash."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from monai_vggunet.stopping import Stopped

__all__ = [
    "ClickError",
    "ConfigurationError",
    "DatasetError",
    "DicomGeometryError",
    "DicomPixelError",
    "DicomReadError",
    "DicomRefusedError",
    "EngineUnavailableError",
    "ExportError",
    "GridMismatchError",
    "ImageContentError",
    "ImageReadError",
    "IrregularFileError",
    "LabelContentError",
    "ModelMismatchError",
    "OutputWriteError",
    "PacsAccessError",
    "PacsError",
    "PacsLimitError",
    "PacsStoreError",
    "PacsUnavailableError",
    "PretrainedWeightsError",
    "RequestRefusedError",
    "SeriesSelectionError",
    "VGGUNetError",
    "ViewerMissingError",
    "WrongTokenError",
    "as_refusal",
    "handles_headers",
    "quotes_headers",
    "reason_behind",
    "refusal_behind",
]

_WRAPPING = "applying transform"  # how MONAI's message begins
# Code that handles values of DICOM headers: the text of an error that arises there may quote a patient's name.
_HEADER_CODE = tuple(
    f"/{folder}/"
    for folder in (
        "pydicom",
        "highdicom",
        "pynetdicom",
        "dicomweb_client",
        "monai_vggunet/dicom",
        "monai_vggunet/outputs",
        "monai_vggunet/pacs",
    )
)


class VGGUNetError(Exception):
    """Base of every refusal by this package; its text says what was got, what was expected and what to do."""

    def reworded(self, text: str) -> Self:
        """Return the same refusal in other words: of its class, with whatever else it carries."""
        other = type(self).__new__(type(self))  # without `__init__`, which may want more than a text
        other.args = (text,)
        other.__dict__.update(self.__dict__)
        return other


class DatasetError(VGGUNetError, ValueError):
    """A data set's folder or `dataset.json` cannot be turned into cases."""


class DicomRefusedError(Exception):
    """What the refusals of DICOM have in common.

    Attributes:
        kind: why, as a word for programs (`dicom.findings.FindingKind`); empty where there is none.
        instances: SOPInstanceUIDs of the slices concerned, whole; the text shows the end of one at most.
    """

    def __init__(self, text: str, kind: str = "", instances: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.kind = kind
        self.instances = tuple(instances)


class DicomReadError(DicomRefusedError, VGGUNetError, OSError):
    """A DICOM file or folder cannot be read, or holds no image."""


class DicomGeometryError(DicomRefusedError, VGGUNetError, ValueError):
    """A series' slices do not form the volume that was asked for (gap, duplicate, several stacks, ...)."""


class DicomPixelError(DicomRefusedError, VGGUNetError, ValueError):
    """Pixel data that cannot be decoded, or decoded only to a wrong image (color, truncated frame, ...)."""


class SeriesSelectionError(DicomRefusedError, VGGUNetError, ValueError):
    """A folder holds several series and none is the obvious one; the text lists them."""


class GridMismatchError(VGGUNetError, ValueError):
    """Two volumes that must share a grid (image and label, mask and source) do not."""


class ImageContentError(VGGUNetError, ValueError):
    """An image's values or dimensions cannot be used (NaN, four dimensions, wrong number of channels)."""


class ImageReadError(VGGUNetError, OSError):
    """An image file that is not DICOM is missing, truncated or damaged."""


class IrregularFileError(VGGUNetError, OSError):
    """A pipe, a socket or a device where a file was expected: reading it might never end."""


class LabelContentError(VGGUNetError, ValueError):
    """A label, or what a client says of its numbers, does not fit the classes of the model."""


class ClickError(VGGUNetError, ValueError):
    """A click that lies outside the image, or is given to a model that takes no clicks."""


class ConfigurationError(VGGUNetError, ValueError):
    """An argument or a combination of arguments that makes no sense."""


class ModelMismatchError(VGGUNetError, ValueError):
    """A model's files do not belong together, or do not fit what they are asked to segment."""


class EngineUnavailableError(VGGUNetError, RuntimeError):
    """A run-time engine that is not installed, or for which the model has no export."""


class ExportError(VGGUNetError, RuntimeError):
    """An export that does not give the network's own labels, or a quantized one that costs too much; none is left."""


class PretrainedWeightsError(VGGUNetError, RuntimeError):
    """Encoder weights that are not available, or do not fit the encoder."""


class OutputWriteError(VGGUNetError, OSError):
    """A result could not be written; nothing is left under its final name."""


class PacsError(VGGUNetError, OSError):
    """A PACS cannot be reached, refused, or gave something else than was asked for.

    Attributes:
        status: the HTTP status, where there was one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class PacsAccessError(PacsError):
    """A PACS asks for credentials, or rejects the ones given."""


class PacsLimitError(PacsError):
    """A PACS sends more, or more slowly, than the limits allow; the transfer was stopped."""


class PacsUnavailableError(PacsError):
    """A PACS that cannot be reached, breaks off, hangs or is overloaded, after several attempts."""


class PacsStoreError(PacsError):
    """A PACS did not take a result; the file stays where it was written."""


class RequestRefusedError(VGGUNetError, ValueError):
    """A request that the annotation server does not pass on to MONAI Label.

    Attributes:
        status: the HTTP status (RFC 9110).
        headers: further headers of the answer.
    """

    def __init__(self, text: str, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, dict(headers or {})


class WrongTokenError(RequestRefusedError):
    """A request with a token that is not the annotation server's."""


class ViewerMissingError(VGGUNetError, RuntimeError):
    """The reports' viewer could not be fetched; reports are written without it, more plainly."""


def as_refusal(case: str, error: BaseException) -> VGGUNetError:
    """Return whatever stopped one case as an error of this package, so that the other cases go on.

    The text of an unforeseen error may quote a header, so it is left out. A library that tries to end the program
    (`SystemExit`) has failed like any other.

    Args:
        case: its name.
        error: the error as it was caught.

    Raises:
        KeyboardInterrupt, Stopped: passed on, because the user asked for them.
    """
    if isinstance(error, (KeyboardInterrupt, Stopped)):
        raise error
    if isinstance(error, VGGUNetError):
        return error
    if isinstance(error, OSError):
        return DatasetError(f"case {case} cannot be read or written: {error.strerror or type(error).__name__}")
    if isinstance(error, MemoryError):
        return DatasetError(f"case {case} does not fit into memory")
    where = traceback.extract_tb(error.__traceback__)[-1]
    return DatasetError(
        f"case {case} failed in a way nobody foresaw ({type(error).__name__} at {Path(where.filename).name}:"
        f"{where.lineno}): please report it"
    )


def refusal_behind(error: BaseException | None) -> VGGUNetError | None:
    """Return our own error in the chain of causes of another one: MONAI wraps whatever a transform raises."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, VGGUNetError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def reason_behind(error: BaseException) -> str:
    """Return the first line of what made a transform fail, without MONAI's "applying transform <...>" around it.

    For an error that may quote a header, return its class alone.
    """
    seen: set[int] = set()
    while str(error).startswith(_WRAPPING) and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
    text, kind = str(error).strip(), type(error).__name__
    if quotes_headers(error):
        return kind
    if not text or isinstance(error, LookupError):  # "'image'" alone says nothing
        return f"{kind}: {text}" if text else kind
    return text.splitlines()[0]


def quotes_headers(error: BaseException) -> bool:
    """Whether an error's text may quote a DICOM header's value: it is not ours, and arose where headers are handled."""
    if isinstance(error, VGGUNetError) or (isinstance(error, OSError) and error.errno is not None):
        return False
    return any(handles_headers(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def handles_headers(filename: str) -> bool:
    """Whether a source file is part of what reads and writes DICOM headers."""
    return any(folder in filename.replace("\\", "/") for folder in _HEADER_CODE)
